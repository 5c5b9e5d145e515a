"""Weights that an image does not have but asks for: unpacked once, seen read-only at their place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainload.digest import Digest
from trainload.errors import RunError, Text
from trainload.events import Reporter
from trainload.image.model import Image
from trainload.image.mounts import mounts_of
from trainload.limits import Limits
from trainload.run.model import Mount
from trainload.store.trouble import MissingError

if TYPE_CHECKING:
    from trainload.store.store import Store


def mounted(store: Store, image: Image, reporter: Reporter, limits: Limits) -> tuple[Mount, ...]:
    """What a run of ``image`` sees besides. Call it inside ``store.writing()``.

    Raises :class:`RunError` for weights that are not here, :class:`ImageError` for a nonsensical annotation.
    """
    return tuple(_mount(store, image, path, digest, (reporter, limits)) for path, digest in mounts_of(image))


def _mount(store: Store, image: Image, path: str, digest: Digest, how: tuple[Reporter, Limits]) -> Mount:
    from trainload.run.engines.embedded.site import layers_of
    from trainload.run.flatten import flatten
    from trainload.run.unpack import unpack

    reporter, limits = how
    try:
        store.hold(digest)
        blobs = layers_of(store)(digest)
    except MissingError as error:
        raise RunError(
            Text("the weights for {path} are not here", path=path),
            got=digest,
            hints=[Text("pull the image by its name, or build it again: they come with it")],
        ) from error
    layers = unpack(blobs, store.rootfs, reporter=reporter, limits=limits)
    source = flatten(layers, store.rootfs) / path.strip("/")
    if not source.exists():
        raise RunError(Text("the weights for {path} do not lie there in their artifact", path=path), got=digest)
    return Mount(str(source), path, read_only=True)

"""Weights that an image does not have but asks for: unpacked once, seen read-only at their place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from trainload.digest import Digest
from trainload.errors import ImageError, Place, RunError, Text
from trainload.events import Reporter
from trainload.image.model import MOUNTS, Image
from trainload.limits import Limits
from trainload.run.model import Mount
from trainload.store.trouble import MissingError

if TYPE_CHECKING:
    from trainload.store.store import Store


def mounted(store: Store, image: Image, reporter: Reporter, limits: Limits) -> tuple[Mount, ...]:
    """What a run of ``image`` sees besides. Call it inside ``store.writing()``.

    Raises :class:`RunError` for weights that are not here, :class:`ImageError` for a nonsensical annotation.
    """
    return tuple(_mount(store, image, path, digest, (reporter, limits)) for path, digest in _asked(image))


def _asked(image: Image) -> Iterator[tuple[str, Digest]]:
    said = image.manifest.annotations.get(MOUNTS)
    if said is None:
        return
    try:
        found = json.loads(said)
        pairs = [(one["path"], Digest.parse(one["digest"])) for one in found]
    except (ValueError, TypeError, KeyError) as error:
        raise _nonsense(image, said) from error
    for path, digest in pairs:
        parts = path.split("/") if isinstance(path, str) else []
        if len(parts) < 2 or parts[0] or not {"", ".", ".."}.isdisjoint(parts[1:]) or "\0" in path:
            raise _nonsense(image, said)
        yield path, digest


def _nonsense(image: Image, said: str) -> ImageError:
    text = "what is mounted into the image cannot be understood"
    return ImageError(Text(text), place=Place(str(image.digest), MOUNTS), got=said[:200])


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
        raise _nonsense(image, path)
    return Mount(str(source), path, read_only=True)

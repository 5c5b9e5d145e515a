"""Weights that are mounted into an image, on a host: a store there gets what it lacks, as from a shipment, and the
runner unpacks them once into a folder, whichever engine mounts it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from trainload.digest import Digest
from trainload.errors import RunError, Text
from trainload.image.model import Image
from trainload.image.mounts import mounts_of
from trainload.run.hosts.charge import layers_of
from trainload.run.hosts.line import Line
from trainload.run.model import Mount
from trainload.store.trouble import MissingError

if TYPE_CHECKING:
    from trainload.store.store import Store


def artifacts(store: Store, image: Image) -> tuple[tuple[str, Image], ...]:
    """(path in a run, artifact) of all that ``image`` asks for. Call it inside ``store.writing()``.

    Raises :class:`RunError` for weights that are not here, :class:`ImageError` for a nonsensical annotation.
    """
    return tuple((path, _artifact(store, path, digest)) for path, digest in mounts_of(image))


def _artifact(store: Store, path: str, digest: Digest) -> Image:
    try:
        store.hold(digest)
        return store.image(digest)
    except MissingError as error:
        raise RunError(
            Text("the weights for {path} are not here", path=path),
            got=digest,
            hints=[Text("pull the image by its name, or build it again: they come with it")],
        ) from error


def unpacked(line: Line, path: str, artifact: Image, report: Callable[[Mapping[str, Any]], object]) -> Mount:
    """Its mount there, once the store there has it. Raises :class:`RunError`, :class:`HostError`."""
    folder = None
    for value in line.stream("weights", digest=str(artifact.digest), layers=layers_of(artifact), path=path):
        report(value)
        folder = value.get("folder", folder)
    report({})
    return Mount(str(folder), path, read_only=True)

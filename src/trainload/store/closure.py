"""What an image is made of: the blobs that must be there for a manifest or an index (I3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from trainload.digest import Digest
from trainload.errors import ImageError, Place, Text
from trainload.image.model import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    INDEX,
    MANIFEST,
    UNDISTRIBUTED,
    Descriptor,
    ImageIndex,
    Manifest,
)
from trainload.image.parse import is_image_config, parse_config, parse_manifest
from trainload.limits import DEFAULT

DOCUMENTS = (MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_INDEX)


class Blobs(Protocol):
    """Where documents are read from: the store, or what is on its way into it."""

    def read(self, digest: Digest, limit: int) -> bytes:
        """A document of at most ``limit`` bytes, verified."""

    def has(self, digest: Digest) -> bool:
        """Whether it is there."""

    def path(self, digest: Digest) -> Path:
        """What names it in errors."""


@dataclass(slots=True)
class Closure:
    """Everything reachable from some descriptors."""

    blobs: dict[Digest, int] = field(default_factory=dict)
    """Digest → size in bytes, as their descriptors say."""
    diff_ids: dict[Digest, tuple[Digest, str]] = field(default_factory=dict)
    """Layer blob → digest of its tar stream, and media type."""
    stacks: set[tuple[Digest, ...]] = field(default_factory=set)
    """The diff_ids of each image, base first."""
    uneven: list[Digest] = field(default_factory=list)
    """Manifests of images whose config does not list as many layers (R06)."""
    contradicted: list[Digest] = field(default_factory=list)
    """Blobs of which two documents say different things, a size or what they unpack to: one of them lies."""
    unreadable: list[ImageError] = field(default_factory=list)
    """What is wrong with configs that cannot be read; nothing to those who only move bytes."""


def reach(blobs: Blobs, roots: Iterable[Descriptor]) -> Closure:
    """The closure of ``roots``; layers need not be there, documents must.

    Raises :class:`MissingError`, :class:`DamagedError` or :class:`ImageError` for a document that cannot be read.
    """
    found = Closure()
    for descriptor in _walk(blobs, roots, found):
        if found.blobs.setdefault(descriptor.digest, descriptor.size) != descriptor.size:
            found.contradicted.append(descriptor.digest)
        found.blobs[descriptor.digest] = descriptor.size
    return found


def _walk(blobs: Blobs, roots: Iterable[Descriptor], found: Closure) -> Iterator[Descriptor]:
    """Level by level; a document that several refer to is read once a level: a bomb of them costs nothing."""
    level = {root.digest: root for root in roots}
    for _ in range(DEFAULT.index_depth):
        if not level:
            return
        inner: list[Descriptor] = []
        for descriptor in level.values():
            yield descriptor
            if descriptor.media_type in DOCUMENTS:
                inner += _children(blobs, descriptor, found)
        level = {child.digest: child for child in inner if child.media_type in DOCUMENTS}
        yield from (child for child in inner if child.media_type not in DOCUMENTS)
    if not level:
        return
    raise ImageError(  # R09
        Text("an index of images nests too deep"),
        place=Place(str(blobs.path(next(iter(level))))),
        want=f"at most {DEFAULT.index_depth} levels",
    )


def _children(blobs: Blobs, descriptor: Descriptor, found: Closure) -> tuple[Descriptor, ...]:
    where = str(blobs.path(descriptor.digest))
    data = blobs.read(descriptor.digest, DEFAULT.manifest)
    manifest = parse_manifest(data, where, digest=descriptor.digest, media_type=descriptor.media_type)
    if isinstance(manifest, ImageIndex):
        return manifest.manifests
    if is_image_config(manifest.config.media_type):
        config = blobs.read(manifest.config.digest, DEFAULT.config)
        _add_unpacked(config, manifest, descriptor, where, found)
    kept = [layer for layer in manifest.layers if layer.media_type not in UNDISTRIBUTED or blobs.has(layer.digest)]
    return (manifest.config, *kept)


def _add_unpacked(
    config_bytes: bytes, manifest: Manifest, descriptor: Descriptor, where: str, found: Closure
) -> None:
    """What the layers unpack to; a config that says nothing readable makes no image to run, but loses no blob."""
    try:
        config = parse_config(config_bytes, where)
    except ImageError as error:
        found.unreadable.append(error)
        return
    found.stacks.add(config.diff_ids)
    for layer, diff_id in zip(manifest.layers, config.diff_ids, strict=False):
        if found.diff_ids.get(layer.digest, (diff_id, ""))[0] != diff_id:
            found.contradicted.append(layer.digest)
        found.diff_ids[layer.digest] = (diff_id, layer.media_type)
    if len(manifest.layers) != len(config.diff_ids):
        found.uneven.append(descriptor.digest)

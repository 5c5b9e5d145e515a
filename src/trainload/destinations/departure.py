"""Images on their way out: which are meant, and every blob they are made of, verified while it is read."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from trainload.digest import Digest, canonical_json
from trainload.errors import ImageError, Place, Text
from trainload.image.assemble import document
from trainload.image.model import INDEX, Descriptor, ImageIndex, Manifest
from trainload.image.parse import is_image_config, parse_manifest, select
from trainload.limits import DEFAULT
from trainload.platform import Platform
from trainload.store.closure import reach
from trainload.store.content import CHUNK, damaged, missing
from trainload.store.lookup import find_name, look_up
from trainload.store.store import Store

LAYOUT = canonical_json({"imageLayoutVersion": "1.0.0"})
"""The file ``oci-layout`` (image-layout.md)."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """An image or index that goes out, and its name there."""

    descriptor: Descriptor
    name: str | None
    """None for one that was meant by its digest."""

    def described(self, annotations: Mapping[str, str]) -> dict[str, object]:
        """Its line in an ``index.json``."""
        return document(replace(self.descriptor, annotations=annotations))


def choose(store: Store, texts: Sequence[str], platform: Platform | None = None) -> tuple[Leaving, ...]:
    """The images that ``texts`` mean; with ``platform``, of an index that image alone.

    Raises :class:`MissingError` for what the store has not.
    """
    names = store.names()
    found: dict[tuple[Digest, str | None], Leaving] = {}
    for text in texts:
        entry = look_up(names, text)
        named = find_name(names, text)
        descriptor = entry.descriptor if platform is None else _for_platform(store, entry.descriptor, platform)
        one = Leaving(descriptor, named.name if named else None)
        found[descriptor.digest, one.name] = one
    return tuple(found.values())


def blobs_of(store: Store, leaving: Sequence[Leaving], omit: Collection[Digest] = ()) -> dict[Digest, int]:
    """Every blob of the images with its size, documents before what they name; without those to ``omit``.

    Raises :class:`MissingError` when one is not there: a part of an image never leaves (L04).
    """
    found = reach(store.blobs, [one.descriptor for one in leaving]).blobs
    for digest, size in found.items():
        if digest not in omit and not store.has(digest, size):
            raise missing(digest, store.path(digest))
    return {digest: size for digest, size in found.items() if digest not in omit}


def read_blob(store: Store, digest: Digest) -> Iterator[bytes]:
    """A blob in pieces. Raises :class:`DamagedError` at its end when it is not what its name says (L03)."""
    state = hashlib.sha256()
    with store.blob_file(digest) as file:
        while chunk := file.read(CHUNK):
            state.update(chunk)
            yield chunk
    if state.hexdigest() != digest.hex:
        raise damaged(digest, store.path(digest))


def runnable(store: Store, descriptor: Descriptor) -> Manifest | None:
    """The one image that an engine without platforms takes of ``descriptor``: this machine's, else the first.

    None where there is no image, but another kind of artifact.
    """
    for _ in range(DEFAULT.index_depth):
        found = _read(store, descriptor)
        if isinstance(found, Manifest):
            return found if is_image_config(found.config.media_type) else None
        if not found.manifests:
            return None
        here = Platform.host()
        fitting = [child for child in found.manifests if child.platform == here]
        descriptor = (fitting or found.manifests)[0]
    raise _too_deep(descriptor)


def _for_platform(store: Store, descriptor: Descriptor, platform: Platform) -> Descriptor:
    for _ in range(DEFAULT.index_depth):
        found = _read(store, descriptor)
        if isinstance(found, Manifest):
            return descriptor
        descriptor = select(found, platform)
    raise _too_deep(descriptor)


def _read(store: Store, descriptor: Descriptor) -> Manifest | ImageIndex:
    data = store.read(descriptor.digest)
    return parse_manifest(data, str(store.path(descriptor.digest)), digest=descriptor.digest)


def _too_deep(descriptor: Descriptor) -> ImageError:
    return ImageError(
        Text("an index of images nests too deep"),
        place=Place(str(descriptor.digest)), want=f"at most {DEFAULT.index_depth} levels",
    )  # fmt: skip


def index_document(lines: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """The file ``index.json`` (image-layout.md § index.json file)."""
    return {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(lines)}

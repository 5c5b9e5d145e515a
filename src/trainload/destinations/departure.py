"""Images on their way out into files: which are meant, under which names, each blob verified while it is read."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from trainload.destinations.cargo import Cargo, from_store
from trainload.digest import Digest, canonical_json
from trainload.image.assemble import document
from trainload.image.model import INDEX, Descriptor, ImageIndex, Manifest
from trainload.image.parse import is_image_config, parse_manifest
from trainload.platform import Platform
from trainload.store.content import CHUNK, damaged
from trainload.store.lookup import find_name, look_up
from trainload.store.store import Store

LAYOUT = canonical_json({"imageLayoutVersion": "1.0.0"})
"""The file ``oci-layout`` (image-layout.md)."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """An image or index that goes out, and its name there."""

    cargo: Cargo
    name: str | None
    """None for one that was meant by its digest."""

    @property
    def descriptor(self) -> Descriptor:
        return self.cargo.root.descriptor

    def described(self, annotations: Mapping[str, str]) -> dict[str, object]:
        """Its line in an ``index.json``."""
        return document(replace(self.descriptor, annotations=annotations))

    def runnable(self) -> Manifest | None:
        """The one image that an engine without platforms takes: this machine's, else the first.

        None where there is no image, but another kind of artifact.
        """
        documents = {one.digest: one for one in self.cargo.documents}
        here = self.cargo.root
        while True:
            found = parse_manifest(here.data, str(here.digest), media_type=here.media_type)
            if isinstance(found, Manifest):
                return found if is_image_config(found.config.media_type) else None
            child = _first_for(found, Platform.host())
            if child is None:
                return None
            here = documents[child.digest]


def choose(store: Store, texts: Sequence[str], platform: Platform | None = None) -> tuple[Leaving, ...]:
    """The images that ``texts`` mean, complete; with ``platform``, of an index that image alone.

    Raises :class:`MissingError` for what the store has not, :class:`StoreError` for what is not whole there: a part
    of an image never leaves (L04).
    """
    names = store.names()
    found: dict[tuple[Digest, str | None], Leaving] = {}
    for text in texts:
        entry, named = look_up(names, text), find_name(names, text)
        one = Leaving(from_store(store, entry.digest, platform), named.name if named else None)
        found[one.descriptor.digest, one.name] = one
    return tuple(found.values())


def blobs_of(leaving: Sequence[Leaving], omit: Collection[Digest] = ()) -> dict[Digest, int]:
    """Every blob of the images with its size, documents first; without those to ``omit``."""
    documents = {one.digest: len(one.data) for cargo in _cargos(leaving) for one in reversed(cargo.documents)}
    parts = {part.blob.digest: part.blob.size for cargo in _cargos(leaving) for part in cargo.parts}
    return {digest: size for digest, size in (documents | parts).items() if digest not in omit}


def read_blob(store: Store, digest: Digest) -> Iterator[bytes]:
    """A blob in pieces. Raises :class:`DamagedError` at its end when it is not what its name says (L03)."""
    state = hashlib.sha256()
    with store.blob_file(digest) as file:
        while chunk := file.read(CHUNK):
            state.update(chunk)
            yield chunk
    if state.hexdigest() != digest.hex:
        raise damaged(digest, store.path(digest))


def index_document(lines: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """The file ``index.json`` (image-layout.md § index.json file)."""
    return {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(lines)}


def _cargos(leaving: Sequence[Leaving]) -> Iterator[Cargo]:
    return (one.cargo for one in leaving)


def _first_for(index: ImageIndex, platform: Platform) -> Descriptor | None:
    fitting = [child for child in index.manifests if child.platform == platform]
    return next(iter(fitting or index.manifests), None)

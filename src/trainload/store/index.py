"""``index.json``: which images the store has, under which names (image-layout.md § index.json file).

Changes are pure functions of the document; unknown fields and other tools' annotations are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from trainload.digest import Digest, canonical_json
from trainload.errors import ImageError, Place, StoreError, Text
from trainload.image.model import INDEX, Descriptor
from trainload.image.parse import Node, parse_descriptor
from trainload.image.strict_json import parse_object
from trainload.limits import MiB
from trainload.values import dataclass

REF_NAME = "org.opencontainers.image.ref.name"
LIMIT = 64 * MiB
"""Some 200,000 images."""
SUM = "dev.trainload.sum"
"""Annotation of the whole index: the digest of all the rest, so that a flipped bit in a name is seen (fault 16)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the index; several may name one image."""

    descriptor: Descriptor
    raw: Mapping[str, object]
    """As it stands in the document."""

    @property
    def name(self) -> str | None:
        return self.descriptor.annotations.get(REF_NAME)

    @property
    def digest(self) -> Digest:
        return self.descriptor.digest

    def named(self, name: str | None) -> Entry:
        """The same image under another name, or none."""
        kept = {key: value for key, value in self.descriptor.annotations.items() if key != REF_NAME}
        annotations = {**kept, REF_NAME: name} if name is not None else kept
        raw = {key: value for key, value in self.raw.items() if key != "annotations"}
        if annotations:
            raw["annotations"] = annotations
        old = self.descriptor
        return Entry(Descriptor(old.media_type, old.digest, old.size, annotations, old.urls, old.platform), raw)


@dataclass(frozen=True, slots=True)
class Names:
    """The whole document."""

    document: Mapping[str, object]
    entries: tuple[Entry, ...]
    untouched: bool = True
    """It is as we wrote it; False: another tool wrote it since (its own form of JSON), or it is damaged."""

    def written_as(self, new: Names) -> bool:
        """The file is as we would write ``new``: it need not be written again."""
        return self.untouched and self.to_bytes() == new.to_bytes()

    @classmethod
    def parse(cls, data: bytes, where: str) -> Names:
        """Raises :class:`StoreError` with what to do; the file is left as it is (L02)."""
        try:
            root = Node(parse_object(data, where, limit=LIMIT), where)
            if root.get("schemaVersion").value != 2:
                raise root.get("schemaVersion").refuse("2")
            if not isinstance(root.get("manifests").value, list):
                raise root.get("manifests").refuse("a list")
            entries = tuple(Entry(parse_descriptor(item), item.object()) for item in root.get("manifests").items())
            document = root.object()
            untouched = root.get("annotations").strings().get(SUM) == _sum(document)
            if not untouched and SUM in root.get("annotations").strings() and canonical_json(document) == data:
                raise root.refuse("the sum that is written in it")
        except ImageError as error:
            raise StoreError(
                Text("the list of images in the store cannot be read"),
                place=Place(where),
                got=str(error),
                hints=[
                    Text("the blobs are still there: put back a copy of {file}", file=where),
                    Text("or move {file} away and build again; what is there is not made twice", file=where),
                ],
            ) from error
        return cls(document, entries, untouched)

    def to_bytes(self) -> bytes:
        """Sorted, so that the order of two builds does not show."""
        ordered = sorted(self.entries, key=lambda entry: (entry.name or "", str(entry.digest)))
        document = {**self.document, "manifests": [entry.raw for entry in ordered]}
        return canonical_json({**document, "annotations": {**_annotations(document), SUM: _sum(document)}})

    def find(self, name: str) -> Entry | None:
        return next((entry for entry in self.entries if entry.name == name), None)

    def names_of(self, digest: Digest) -> tuple[str, ...]:
        return tuple(sorted(entry.name for entry in self.entries if entry.digest == digest and entry.name))

    def add(self, descriptor: Descriptor, names: Iterable[str]) -> Names:
        """``descriptor`` under ``names``, which other images lose; an image without a name stays listed."""
        raw = {"mediaType": descriptor.media_type, "digest": str(descriptor.digest), "size": descriptor.size}
        bare = next((e for e in self.entries if e.digest == descriptor.digest), Entry(descriptor, raw)).named(None)
        wanted = sorted(set(names))
        kept = [entry.named(None) if entry.name in wanted else entry for entry in self.entries]
        return self._with([*kept, bare, *(bare.named(name) for name in wanted)])

    def drop_name(self, name: str) -> Names:
        """Without that name; its image goes with its last name."""
        return self._with(entry for entry in self.entries if entry.name != name)

    def drop_images(self, digests: Iterable[Digest]) -> Names:
        """Without those images and all their names."""
        gone = set(digests)
        return self._with(entry for entry in self.entries if entry.digest not in gone)

    def _with(self, entries: Iterable[Entry]) -> Names:
        """One entry per (image, name); an unnamed one only for an image without names."""
        unique = {(entry.digest, entry.name): entry for entry in entries}
        named = {digest for digest, name in unique if name is not None}
        kept = tuple(entry for (digest, name), entry in unique.items() if name is not None or digest not in named)
        return Names(self.document, kept)


def _sum(document: Mapping[str, object]) -> str:
    rest = {key: value for key, value in document.items() if key != "annotations"}
    kept = {key: value for key, value in _annotations(document).items() if key != SUM}
    return str(Digest.sha256(canonical_json({**rest, "annotations": kept})))


def _annotations(document: Mapping[str, object]) -> Mapping[str, object]:
    found = document.get("annotations")
    return found if isinstance(found, dict) else {}


EMPTY = Names.parse(
    canonical_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}), "index.json"
).to_bytes()

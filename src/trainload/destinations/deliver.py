"""Brings a cargo to a repository: what is missing there, blobs before manifests, tags last."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import BinaryIO, cast

from trainload.destinations.cargo import Cargo, Document, Part, is_foreign
from trainload.destinations.together import QUESTIONS, TRANSFERS, Stop, together
from trainload.digest import Digest
from trainload.errors import FetchError, ImageError, RegistryError, Text
from trainload.events import SILENT, Began, Ended, How, Level, Moved, Reporter, Said
from trainload.image.docker import in_docker_types
from trainload.image.model import DOCKER_INDEX, DOCKER_MANIFEST, Descriptor, Manifest
from trainload.image.parse import parse_manifest
from trainload.reference import Reference
from trainload.registry.client import Client
from trainload.registry.protocol import RefusedError
from trainload.values import dataclass, field, replace

_NO_SUCH_TYPE = frozenset({"MANIFEST_INVALID", "UNSUPPORTED"})
"""How registries that do not know OCI's media types say so."""
_LOST = frozenset({"MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN"})
"""How registries say that a manifest names what they do not have."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """What happened at one repository."""

    references: tuple[Reference, ...]
    digest: Digest
    """Of what the tags name there: another one than ours only when the registry takes Docker's types alone."""
    sent: int = 0
    """Bytes that went over the line, or would."""
    mounted: int = 0
    present: int = 0
    missing: tuple[Part, ...] = ()
    """With a dry run: what would be sent or mounted."""


@dataclass(slots=True)
class Delivery:
    """One cargo, one repository."""

    client: Client
    cargo: Cargo
    references: Sequence[Reference]
    """Tags (or none: by digest) of one repository."""
    reporter: Reporter = SILENT
    dry_run: bool = False
    kept: Callable[[Digest], bytes | None] = lambda digest: None
    """A manifest that is here: what it names need not be asked for."""
    _stop: Stop = field(default_factory=Stop)
    _room: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(TRANSFERS))

    def run(self) -> Delivered:
        """Raises :class:`RegistryError`; then no tag was moved."""
        root = self.cargo.root
        for one in self.references:
            if one.tag is None:
                self.reporter.report(
                    Said(Text("{name} is given no tag, so the registry calls it latest", name=one))
                )
        there = {one: self.client.find(one, pushing=True) for one in self.references}
        waiting = [one for one, found in there.items() if found is None or found.digest != root.digest]
        if not waiting:
            for part in self.cargo.parts:
                self.reporter.report(Ended(str(part.blob.digest), part.label, How.PRESENT, part.blob.size))
            return Delivered(tuple(self.references), root.digest, present=self.cargo.size)
        parts = sorted(self.cargo.parts, key=lambda part: -part.blob.size)
        settled = frozenset(self._named_by(there))
        ways = self._brought(parts, settled)
        try:
            digest = root.digest if self.dry_run else self._name(waiting)
        except RefusedError as error:
            if not settled or not {one.code for one in error.complaints} & _LOST:
                raise
            ways = self._brought(parts, frozenset())
            digest = self._name(waiting)
        sizes = {how: sum(p.blob.size for p, way in zip(parts, ways, strict=True) if way is how) for how in How}
        documents = sum(len(document.data) for document in self.cargo.documents)
        missing = tuple(p for p, way in zip(parts, ways, strict=True) if way is How.SENT) if self.dry_run else ()
        return Delivered(
            tuple(self.references), digest, sizes[How.SENT] + documents, sizes[How.MOUNTED], sizes[How.PRESENT],
            missing,
        )  # fmt: skip

    def _named_by(self, there: Mapping[Reference, Descriptor | None]) -> Iterator[tuple[Digest, int]]:
        """Blobs of the images that the tags still stand for: a registry has what its manifests name.

        One question instead of one for each layer, where only the code is another. Most refuse a manifest that
        names what they have lost; then each is asked for after all.
        """
        for digest, one in {found.digest: one for one, found in there.items() if found is not None}.items():
            data = self.kept(digest)
            with suppress(RegistryError, FetchError, ImageError):
                if data is None and len(self.cargo.parts) > QUESTIONS:
                    data = self.client.manifest(replace(one, tag=None, digest=digest), mirrors=False).data
                found = parse_manifest(data, str(one)) if data is not None else None
                if isinstance(found, Manifest):
                    blobs = (found.config, *found.layers)
                    yield from ((blob.digest, blob.size) for blob in blobs if not is_foreign(blob))

    def _brought(self, parts: Sequence[Part], settled: frozenset[tuple[Digest, int]]) -> list[How]:
        """How each part came; those ``settled`` are there."""
        ways = dict.fromkeys((part.blob.digest for part in parts), How.PRESENT)
        asked = [part for part in parts if (part.blob.digest, part.blob.size) not in settled]
        ways |= zip(
            (part.blob.digest for part in asked), together(self._bring, asked, self._stop, QUESTIONS), strict=True
        )
        for part in parts:
            if (part.blob.digest, part.blob.size) in settled:
                self.reporter.report(Ended(str(part.blob.digest), part.label, How.PRESENT, part.blob.size))
        return [ways[part.blob.digest] for part in parts]

    def _bring(self, part: Part) -> How:
        """One blob, unless it is there."""
        self._stop.check()
        target, blob, task = self.references[0], part.blob, str(part.blob.digest)
        if self.client.has(target, blob):
            self.reporter.report(Ended(task, part.label, How.PRESENT, blob.size))
            return How.PRESENT
        if self.dry_run:
            return How.MOUNTED if self.cargo.sources(blob, target) else How.SENT
        with self._room:
            self._stop.check()
            self.reporter.report(Began(task, part.label, blob.size))
            try:
                how = self.client.send(target, blob, lambda: self._counted(part), self.cargo.sources(blob, target))
            except BaseException:
                self.reporter.report(Ended(task, part.label, How.FAILED))
                raise
        self.reporter.report(Ended(task, part.label, how, blob.size))
        return how

    def _counted(self, part: Part) -> BinaryIO:
        counted = _Counted(self.cargo.open(part.blob), str(part.blob.digest), self.reporter, self._stop)
        return cast("BinaryIO", counted)

    def _name(self, references: Sequence[Reference]) -> Digest:
        """The documents, the named one last; Docker's types where the registry refuses OCI's."""
        try:
            return self._put(self.cargo.documents, references)
        except RefusedError as error:
            if error.status != 415 and not {one.code for one in error.complaints} & _NO_SUCH_TYPE:
                raise
            converted = in_docker_types([(one.data, one.media_type) for one in self.cargo.documents])
            if converted is None:
                raise
        documents = tuple(
            Document(data, kind, Digest.sha256(data))
            for data, kind in converted
            if kind in (DOCKER_MANIFEST, DOCKER_INDEX)
        )
        digest = self._put(documents, references)
        self.reporter.report(
            Said(
                Text(
                    "{registry} takes only Docker's media types: there the image is {digest}, of the same layers",
                    registry=references[0].domain, digest=digest,
                ),
                Level.WARNING,
            )
        )  # fmt: skip
        return digest

    def _put(self, documents: Sequence[Document], references: Sequence[Reference]) -> Digest:
        *inner, root = documents
        for document in inner:
            target = replace(references[0], tag=None, digest=document.digest)
            self.client.put_manifest(target, document.data, document.media_type)
        for reference in references:
            self.client.put_manifest(reference, root.data, root.media_type)
        return root.digest


class _Counted:
    """A blob being read, which tells how far it is."""

    def __init__(self, file: BinaryIO, task: str, reporter: Reporter, stop: Stop) -> None:
        self._file, self._task, self._reporter, self._stop = file, task, reporter, stop
        self._done = 0

    def read(self, size: int) -> bytes:
        self._stop.check()
        data = self._file.read(size)
        self._done += len(data)
        self._reporter.report(Moved(self._task, self._done))
        return data

    def seek(self, offset: int) -> int:
        self._done = self._file.seek(offset)
        return self._done

    def __enter__(self) -> _Counted:
        return self

    def __exit__(self, *about: object) -> None:
        self._file.close()


def by_repository(references: Sequence[Reference]) -> list[list[Reference]]:
    """References grouped by their repository, in order."""
    groups: dict[tuple[str, str], list[Reference]] = {}
    for reference in references:
        if reference.digest is not None:
            raise RegistryError(
                Text("an image is pushed to a tag, its digest follows from its bytes"), got=reference,
                want=f"{reference.name}:TAG",
            )  # fmt: skip
        groups.setdefault((reference.domain, reference.path), []).append(reference)
    return list(groups.values())

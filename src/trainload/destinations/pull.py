"""From a registry into the store: verified by digest, only what is missing, named when it is whole."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from trainload.destinations.cargo import Document, Loader, Part, is_foreign
from trainload.destinations.together import Stop, together
from trainload.digest import Digest
from trainload.errors import ImageError, Place, RegistryError, Text
from trainload.events import SILENT, Began, Ended, How, Moved, Reporter
from trainload.image.model import Descriptor, Image, ImageIndex, Manifest
from trainload.image.parse import is_image_config, make_image, parse_manifest, select
from trainload.limits import DEFAULT
from trainload.platform import Platform
from trainload.reference import Reference
from trainload.registry.client import Client
from trainload.registry.protocol import RefusedError
from trainload.store.content import Ingest
from trainload.store.store import Store
from trainload.store.trouble import DamagedError


@dataclass(frozen=True, slots=True)
class Pulled:
    """An image in the store."""

    reference: Reference
    digest: Digest
    """Of the image, or of the index with all platforms."""
    remote: Digest
    """What the registry's tag names: an index, where one platform was taken out of several."""
    fetched: int
    present: int


@dataclass(slots=True)
class Pull:
    """One image on its way here."""

    store: Store
    client: Client
    reference: Reference
    reporter: Reporter = SILENT
    _stop: Stop = field(default_factory=Stop)
    _fetched: list[int] = field(default_factory=list)
    _present: list[int] = field(default_factory=list)
    _seen: set[Digest] = field(default_factory=set)
    """Blobs that were told about."""

    def run(self, platform: Platform | None = None, *, all_platforms: bool = False) -> Pulled:
        """Bring it, for ``platform`` (default: what containers here run as), and name it as the reference does.

        Raises :class:`RegistryError`, :class:`ImageError`, :class:`StoreError`; then no name was moved.
        """
        with self.store.writing():
            found = self.client.find(self.reference)
            if found is None:
                self.client.manifest(self.reference)  # says why
                raise RegistryError(Text("{name} cannot be had", name=str(self.reference)))
            root = self._root(found)
            document = root
            parsed = self._parse(document)
            for _ in range(DEFAULT.index_depth):
                if all_platforms or not isinstance(parsed, ImageIndex):
                    break
                document = self._document(select(parsed, platform or Platform.host()))
                parsed = self._parse(document)
            digest = self._bring(document)
        return Pulled(self.reference, digest, root.digest, sum(self._fetched), sum(self._present))

    def _root(self, found: Descriptor) -> Document:
        """The document the tag names, by the digest it had when we first asked (THREATS R20)."""
        try:
            return self._document(found)
        except RefusedError as error:
            if error.status != 404 or self.reference.digest is not None:
                raise
            now = self.client.find(self.reference)
            raise RegistryError(
                Text("{name} was moved while it was read; run again", name=str(self.reference)),
                got=now.digest if now is not None else None, want=found.digest, retryable=True,
            ) from error  # fmt: skip

    def _document(self, descriptor: Descriptor) -> Document:
        """From the store if it is there, else from the registry; kept in the store."""
        if descriptor.digest.algorithm == "sha256" and self.store.hold(descriptor.digest):
            data, kind = self.store.read(descriptor.digest, DEFAULT.manifest), descriptor.media_type
        else:
            fetched = self.client.manifest(replace(self.reference, digest=descriptor.digest))
            data, kind = fetched.data, fetched.media_type
            self.store.put(data)
        return Document(data, kind, descriptor.digest)

    def _parse(self, document: Document) -> Manifest | ImageIndex:
        return parse_manifest(
            document.data, str(self.reference), digest=document.digest, media_type=document.media_type
        )

    def _bring(self, document: Document) -> Digest:
        """Everything the document needs, then its name."""
        loader = Loader(self._document, self._config, str(self.reference))
        loader.load(document.descriptor)
        parts = sorted(loader.parts.values(), key=lambda part: -part.blob.size)
        together(self._blob, parts, self._stop)
        self.store.whereabouts.learn(self.reference, [part.blob.digest for part in parts])
        name = str(self.reference)
        parsed = self._parse(document)
        if isinstance(parsed, ImageIndex):
            return self.store.commit_index(parsed, [name])
        return self.store.commit_image(self._image(document), [name])

    def _image(self, document: Document) -> Image:
        manifest = parse_manifest(document.data, str(self.reference), media_type=document.media_type)
        if isinstance(manifest, ImageIndex) or not is_image_config(manifest.config.media_type):
            kind = document.media_type if isinstance(manifest, ImageIndex) else manifest.config.media_type
            raise ImageError(Text("{name} is no image that can run", name=str(self.reference)), got=kind)
        return make_image(
            document.data, self.store.read(manifest.config.digest, DEFAULT.config), str(self.reference)
        )

    def _config(self, config: Descriptor) -> bytes:
        if config.size > DEFAULT.config:
            raise ImageError(
                Text("the config of {name} is too large", name=str(self.reference)), got=f"{config.size:,} bytes",
                want=f"at most {DEFAULT.config:,} bytes",
            )  # fmt: skip
        self._blob(Part(config, f"config {config.digest.short}"))
        return self.store.read(config.digest, DEFAULT.config)

    def _blob(self, part: Part) -> None:
        """One blob, unless it is here; another process that brings it is waited for."""
        blob, task = part.blob, str(part.blob.digest)
        with self.store.lock(f"blob-{blob.digest.hex}"):
            if self.store.hold(blob.digest) and self.store.has(blob.digest, blob.size):
                if blob.digest not in self._seen:
                    self._seen.add(blob.digest)
                    self._present.append(blob.size)
                    self.reporter.report(Ended(task, part.label, How.PRESENT, blob.size))
                return
            self._stop.check()
            self.reporter.report(Began(task, part.label, blob.size))
            try:
                self._fetch(part)
            except BaseException:
                self.reporter.report(Ended(task, part.label, How.FAILED))
                raise
        self._seen.add(blob.digest)
        self._fetched.append(blob.size)
        self.reporter.report(Ended(task, part.label, How.FETCHED, blob.size))

    def _fetch(self, part: Part) -> None:
        """Its bytes into the store; wrong ones are asked for once more (THREATS R01)."""
        for last in (False, True):
            with self.store.ingest(part.blob.size) as ingest:
                taken = _Taken(ingest, part, self.reporter, self._stop)
                try:
                    self.client.download(self.reference, part.blob, taken.write, taken.restart)
                    ingest.commit(part.blob.digest, part.blob.size)
                except DamagedError as error:
                    if last:
                        raise _wrong_bytes(f"{self.reference.name}@{part.blob.digest}", error) from error
                except RefusedError as error:
                    if error.status == 404 and is_foreign(part.blob):
                        raise RegistryError(
                            Text("a layer of {name} may not be spread by registries", name=str(self.reference)),
                            got=Text("it is offered elsewhere, and such addresses are not followed"),
                        ) from error
                    raise
                else:
                    return


class _Taken:
    """Passes bytes on and tells how many they are."""

    def __init__(self, ingest: Ingest, part: Part, reporter: Reporter, stop: Stop) -> None:
        self._ingest, self._reporter, self._stop = ingest, reporter, stop
        self._task = str(part.blob.digest)

    def write(self, data: bytes) -> None:
        self._stop.check()
        self._ingest.write(data)
        self._reporter.report(Moved(self._task, self._ingest.size))

    def restart(self) -> None:
        self._ingest.restart()


def _wrong_bytes(where: str, error: DamagedError) -> RegistryError:
    return RegistryError(
        Text("the registry sends other bytes than the image names; they were not kept"),
        place=Place(where),
        got=error.got,
        want=error.want,
        hints=[Text("somebody changed them, or a mirror or proxy is broken: try another network")],
    )

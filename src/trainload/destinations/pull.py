"""From a registry into the store: verified by digest, only what is missing, named when it is whole.

First all documents are read and judged, and nothing is written; then the layers come, and the name is the last.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from trainload.destinations.blobs import Blobs
from trainload.destinations.cargo import Document, Loader, Part, fetch_config, narrow
from trainload.destinations.together import together
from trainload.digest import Digest
from trainload.errors import ImageError, RegistryError, Text
from trainload.events import SILENT, How, Reporter
from trainload.image.model import Descriptor, ImageIndex
from trainload.image.parse import is_image_config, make_image, parse_manifest
from trainload.limits import DEFAULT
from trainload.platform import Platform
from trainload.reference import Reference
from trainload.registry.client import Client
from trainload.registry.protocol import RefusedError
from trainload.store.store import Store


@dataclass(frozen=True, slots=True)
class Pulled:
    """An image in the store."""

    reference: Reference
    digest: Digest
    """Of the image, or of the index with all platforms."""
    remote: Digest
    """What the registry's tag names: an index, where one platform was taken out of several."""
    fetched: int
    """Bytes."""
    present: int


@dataclass(slots=True)
class Pull:
    """One image on its way here."""

    store: Store
    client: Client
    reference: Reference
    reporter: Reporter = SILENT
    _configs: dict[Digest, bytes] = field(default_factory=dict)
    _came: list[int] = field(default_factory=list)
    """Bytes of what was fetched."""
    _blobs: Blobs = field(init=False)

    def __post_init__(self) -> None:
        self._blobs = Blobs(self.store, self.client, self.reporter)

    def run(self, platform: Platform | None = None, *, all_platforms: bool = False) -> Pulled:
        """Bring it, for ``platform`` (default: what containers here run as), and name it as the reference does.

        Raises :class:`RegistryError`, :class:`ImageError`, :class:`StoreError`; then no name was moved.
        """
        root = self._root()
        wanted = None if all_platforms else platform or Platform.host()
        document = narrow(root, wanted, self._document, str(self.reference))
        _check_runs(document, str(self.reference))
        known = {root.digest: root, document.digest: document}
        loader = Loader(lambda one: known.get(one.digest) or self._document(one), self._config, str(self.reference))
        loader.load(document.descriptor)
        loader.check_platform(document.digest, platform)
        with self.store.writing():
            self._bring(loader, document)
        whole = sum(part.blob.size for part in loader.parts.values())
        fetched = sum(self._came)
        return Pulled(self.reference, document.digest, root.digest, fetched, whole - fetched)

    def _root(self) -> Document:
        """The document the tag names, by the digest it had when we first asked (THREATS R20)."""
        found = self.client.find(self.reference)
        if found is None:
            fetched = self.client.manifest(self.reference)  # says why, or a registry that does not know HEAD has it
            return Document(fetched.data, fetched.media_type, fetched.digest)
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
        """From the store if it is there, else from the registry."""
        if self._is_here(descriptor.digest):
            data, kind = self.store.read(descriptor.digest, DEFAULT.manifest), descriptor.media_type
        else:
            fetched = self.client.manifest(replace(self.reference, digest=descriptor.digest))
            data, kind = fetched.data, fetched.media_type
        return Document(data, kind, descriptor.digest)

    def _config(self, config: Descriptor) -> bytes:
        """As :meth:`_document`; whoever parses it compares the digest."""
        if self._is_here(config.digest):
            return self.store.read(config.digest, DEFAULT.config)
        data = fetch_config(self.client, self.reference, config)
        self._configs[config.digest] = data
        return data

    def _is_here(self, digest: Digest) -> bool:
        return digest.algorithm == "sha256" and self.store.blobs.sound(digest)

    def _bring(self, loader: Loader, document: Document) -> None:
        """Everything the document needs, then its name."""
        parts = sorted(loader.parts.values(), key=lambda part: -part.blob.size)
        for data in self._configs.values():
            self._came.append(len(data))
            self.store.put(data)
        together(self._blob, [part for part in parts if part.blob.digest not in self._configs], self._blobs.stop)
        for one in loader.documents.values():
            self.store.put(one.data)
        self.store.whereabouts.learn(self.reference, [part.blob.digest for part in parts])
        where, name = str(self.reference), [str(self.reference)]
        parsed = parse_manifest(document.data, where, media_type=document.media_type)
        if isinstance(parsed, ImageIndex):
            self.store.commit_index(parsed, name)
        else:
            config = self.store.read(parsed.config.digest, DEFAULT.config)
            self.store.commit_image(make_image(document.data, config, where), name)

    def _blob(self, part: Part) -> None:
        if self._blobs.bring(self.reference, part) is How.FETCHED:
            self._came.append(part.blob.size)


def _check_runs(document: Document, name: str) -> None:
    """Raises :class:`ImageError` for an artifact that is no image."""
    parsed = parse_manifest(document.data, name, media_type=document.media_type)
    if not isinstance(parsed, ImageIndex) and not is_image_config(parsed.config.media_type):
        raise ImageError(Text("{name} is no image that can run", name=name), got=parsed.config.media_type)

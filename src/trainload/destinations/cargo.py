"""What travels: an image or index with everything it needs, complete before the first byte moves (THREATS L04)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import BinaryIO

from trainload.digest import Digest
from trainload.errors import ImageError, Place, StoreError, Text
from trainload.image.history import steps
from trainload.image.model import WEIGHTS, Descriptor, Image, ImageIndex, Manifest
from trainload.image.parse import is_image_config, make_image, parse_manifest, select
from trainload.limits import DEFAULT
from trainload.platform import Platform
from trainload.reference import Reference
from trainload.registry.client import Client
from trainload.store.store import Store
from trainload.values import dataclass, field

_NOTHING: Mapping[Digest, Reference] = MappingProxyType({})
_FOREIGN = ("foreign", "nondistributable")
"""In the media types of layers whose makers forbid spreading them."""


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest or index."""

    data: bytes
    media_type: str
    digest: Digest

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(self.media_type, self.digest, len(self.data))


@dataclass(frozen=True, slots=True)
class Part:
    """A blob, and what people call it."""

    blob: Descriptor
    label: str


@dataclass(frozen=True, slots=True)
class Cargo:
    """An image or index on its way to registries."""

    documents: tuple[Document, ...]
    """What others name comes first; the last is the one that gets the tags."""
    parts: tuple[Part, ...]
    """Configs and layers, each once."""
    open: Callable[[Descriptor], BinaryIO]
    sources: Callable[[Descriptor, Reference], Sequence[Reference]] = lambda blob, target: ()
    """Repositories beside the target's that may have a blob."""
    elsewhere: Mapping[Digest, Reference] = field(default_factory=dict)
    """Layers that are not here, and the repositories they lie in."""

    @property
    def root(self) -> Document:
        return self.documents[-1]

    @property
    def size(self) -> int:
        """Bytes of all blobs and documents."""
        return sum(part.blob.size for part in self.parts) + sum(len(document.data) for document in self.documents)


class Loader:
    """Collects documents and blobs from wherever ``read`` finds documents and ``config`` the configs."""

    def __init__(
        self, read: Callable[[Descriptor], Document], config: Callable[[Descriptor], bytes], where: str
    ) -> None:
        self._read, self._config, self._where = read, config, where
        self.documents: dict[Digest, Document] = {}
        self.platforms: dict[Digest, Platform] = {}
        """Of each image."""
        self.parts: dict[Digest, Part] = {}

    def load(self, descriptor: Descriptor, depth: int = 0) -> None:
        """Everything below ``descriptor`` and itself. Raises :class:`ImageError` (THREATS R04–R09)."""
        if depth >= DEFAULT.index_depth:
            raise _too_deep(self._where)
        if descriptor.digest in self.documents:
            return
        document = self._read(descriptor)
        found = parse_manifest(document.data, self._where, media_type=document.media_type)
        if isinstance(found, ImageIndex):
            for child in found.manifests:
                self.load(child, depth + 1)
        else:
            self._blobs(document, found)
        self.documents[document.digest] = document

    def check_platform(self, digest: Digest, want: Platform | None) -> None:
        """Raises :class:`ImageError` when the image ``digest`` is made for another platform."""
        made_for = self.platforms.get(digest)
        if want is not None and made_for is not None and made_for != want:
            raise ImageError(
                Text("the image is not made for {platform}", platform=want), place=Place(self._where), got=made_for
            )

    def _blobs(self, document: Document, manifest: Manifest) -> None:
        labels: dict[Digest, str] = {}
        if is_image_config(manifest.config.media_type):
            image = make_image(document.data, self._config(manifest.config), self._where)
            labels = titles(image)
            self.platforms[document.digest] = image.config.platform
        self._add(manifest.config, f"config {manifest.config.digest.short}")
        for layer in manifest.layers:
            self._add(layer, labels.get(layer.digest) or layer.digest.short)

    def _add(self, blob: Descriptor, label: str) -> None:
        self.parts.setdefault(blob.digest, Part(blob, label))


def narrow(
    root: Document, platform: Platform | None, read: Callable[[Descriptor], Document], where: str
) -> Document:
    """Of an index the image for ``platform`` (None: the whole index); of an image itself.

    Raises :class:`ImageError` for a platform it is not made for, and for an index that nests too deep (R09).
    """
    document = root
    for _ in range(DEFAULT.index_depth):
        found = parse_manifest(document.data, where, media_type=document.media_type or None)
        if platform is None or not isinstance(found, ImageIndex):
            return Document(document.data, found.media_type, document.digest)
        chosen = select(found, platform)
        if (
            all(one.artifact_type == WEIGHTS for one in found.manifests if one is not chosen)
            and found.manifests[1:]
        ):
            return Document(document.data, found.media_type, document.digest)  # what is mounted into it goes along
        document = read(chosen)
    raise _too_deep(where)


def _too_deep(where: str) -> ImageError:
    return ImageError(
        Text("an index of images nests too deep"), place=Place(where), want=f"at most {DEFAULT.index_depth} levels"
    )


def titles(image: Image) -> dict[Digest, str]:
    """Layer → what we say it holds; layers of other builders have no such title."""
    return {step.layer.digest: step.title for step in steps(image) if step.layer is not None and step.recipe}


def from_store(
    store: Store,
    digest: Digest,
    platform: Platform | None = None,
    elsewhere: Mapping[Digest, Reference] = _NOTHING,
) -> Cargo:
    """The image or index ``digest`` of the store, or of an index only the image for ``platform``.

    ``elsewhere``: layers that need not be here, and the repositories they lie in. Raises :class:`StoreError` naming
    every other blob that is not there or not whole (THREATS L04).
    """
    where = str(store.path(digest))
    root = narrow(_stored(store, Descriptor("", digest, 0)), platform, lambda one: _stored(store, one), where)
    loader = Loader(lambda one: _stored(store, one), lambda one: store.read(one.digest, DEFAULT.config), where)
    loader.load(root.descriptor)
    loader.check_platform(root.digest, platform)
    parts = tuple(loader.parts.values())
    _check_complete(store, [part for part in parts if part.blob.digest not in elsewhere])
    documents = tuple(loader.documents.values())
    return Cargo(documents, parts, lambda blob: store.blob_file(blob.digest), elsewhere=elsewhere)


def fetch_config(client: Client, source: Reference, config: Descriptor) -> bytes:
    """A config from a registry; wrong bytes are asked for once more (THREATS R01). Raises :class:`ImageError`."""
    if config.size > DEFAULT.config:
        raise ImageError(
            Text("the config of {name} is too large", name=source),
            got=f"{config.size:,} bytes",
            want=f"at most {DEFAULT.config:,} bytes",
        )
    parts = bytearray()
    for _ in range(2):
        parts.clear()
        client.download(source, config, parts.extend, parts.clear)
        if Digest.sha256(parts) == config.digest:
            break
    return bytes(parts)


def is_foreign(blob: Descriptor) -> bool:
    """Whether a layer may be kept from registries (THREATS R10)."""
    return any(word in blob.media_type for word in _FOREIGN)


def _stored(store: Store, one: Descriptor) -> Document:
    return Document(store.read(one.digest, DEFAULT.manifest), one.media_type, one.digest)


def _check_complete(store: Store, parts: Iterable[Part]) -> None:
    missing = [
        f"{part.label} ({part.blob.digest.short})"
        for part in parts
        if not store.blobs.sound(part.blob.digest, part.blob.size)
    ]
    if missing:
        raise StoreError(
            Text("the image is not complete in the store"),
            got=Text("missing or damaged: {parts}", parts=", ".join(missing[:20])),
            hints=[Text("build or pull the image again: only what is missing is made")],
        )

"""Images as immutable values: raw bytes beside parsed views (OCI image-spec manifest.md, config.md).

A digest is of the bytes that came in; unknown fields are kept because nothing is ever re-serialised.
"""

from __future__ import annotations

from collections.abc import Mapping

from trainload.digest import Digest
from trainload.plan.model import RuntimeConfig
from trainload.platform import Platform
from trainload.values import dataclass, field

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
UNDISTRIBUTED = (
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
)
"""Layers that their owner's servers hand out; a registry or store need not have them (layer.md)."""
RECIPE = "dev.trainload.recipe"
"""Annotation of a layer in a manifest: the key of the recipe it was made of."""

BASE_NAME, BASE_DIGEST = "org.opencontainers.image.base.name", "org.opencontainers.image.base.digest"
"""Annotations of a manifest: the image that its lowest layers are (annotations.md)."""
WEIGHTS = "application/vnd.trainload.weights.v1"
"""Artifact type: layers that are mounted read-only into a run of the images that ask for them."""
MOUNTS = "dev.trainload.mounts"
"""Annotation of a manifest: which of them, where (JSON)."""
UNRECORDED = "dev.trainload.unrecorded"
"""Annotation of a layer that only ``--allow-unrecorded`` makes: nobody else may find it by its recipe."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a blob is: type, digest and size in bytes (descriptor.md)."""

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    urls: tuple[str, ...] = ()
    """Other places a layer may be had from; never followed unless asked (THREATS R10)."""
    platform: Platform | None = None
    """In an index: what the image is for."""
    artifact_type: str | None = None
    """In an index: what kind of thing it is, when it is no image."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer that exists: its blob, the digest of its tar stream, and what its history says."""

    descriptor: Descriptor
    diff_id: Digest
    unpacked: int
    """Bytes of the uncompressed tar stream."""


@dataclass(frozen=True, slots=True)
class History:
    """What one step did; ``empty``: it made no layer (config.md § history)."""

    created_by: str = ""
    comment: str = ""
    created: str | None = None
    empty: bool = False


@dataclass(frozen=True, slots=True)
class Manifest:
    """The parsed view of a manifest's bytes (manifest.md)."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)
    artifact_type: str = ""
    """What it is when it is no image; the config's media type says it when this is empty."""
    subject: Descriptor | None = None
    """The manifest this one is attached to: a signature, a list of contents."""


@dataclass(frozen=True, slots=True)
class Config:
    """The parsed view of an image config's bytes (config.md)."""

    platform: Platform
    created: str | None
    runtime: RuntimeConfig
    diff_ids: tuple[Digest, ...]
    history: tuple[History, ...]


@dataclass(frozen=True, slots=True)
class Image:
    """One image for one platform: the bytes that are stored and sent, and what they say."""

    manifest_bytes: bytes
    config_bytes: bytes
    manifest: Manifest
    config: Config

    @property
    def digest(self) -> Digest:
        """Of the manifest: the image's identity."""
        return Digest.sha256(self.manifest_bytes)

    @property
    def descriptor(self) -> Descriptor:
        """How an index or a registry refers to this image."""
        return Descriptor(self.manifest.media_type, self.digest, len(self.manifest_bytes))

    @property
    def size(self) -> int:
        """Bytes that are stored and sent: manifest, config and layers."""
        layers = sum(layer.size for layer in self.manifest.layers)
        return len(self.manifest_bytes) + len(self.config_bytes) + layers


@dataclass(frozen=True, slots=True)
class ImageIndex:
    """Images of one name for several platforms (image-index.md)."""

    raw: bytes
    media_type: str
    manifests: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)
    artifact_type: str = ""
    subject: Descriptor | None = None

    @property
    def digest(self) -> Digest:
        return Digest.sha256(self.raw)

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(self.media_type, self.digest, len(self.raw))

"""Images as immutable values: raw bytes beside parsed views (OCI image-spec manifest.md, config.md).

A digest is of the bytes that came in; unknown fields are kept because nothing is ever re-serialised.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trainload.digest import Digest

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


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a blob is: type, digest and size in bytes (descriptor.md)."""

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer that exists: its blob, the digest of its tar stream, and what its history says."""

    descriptor: Descriptor
    diff_id: Digest
    unpacked: int
    """Bytes of the uncompressed tar stream."""

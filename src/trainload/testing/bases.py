"""Base images made by hand, and a registry in memory that has them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from trainload.digest import Digest
from trainload.errors import RegistryError
from trainload.image.model import (
    CONFIG,
    DOCKER_CONFIG,
    DOCKER_INDEX,
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    INDEX,
    LAYER_GZIP,
    MANIFEST,
    Descriptor,
)
from trainload.platform import Platform
from trainload.reference import Reference
from trainload.registry.client import Fetched
from trainload.testing.tars import TarEntry, folder, tar

OS_RELEASE = b'PRETTY_NAME="Ubuntu 22.04.4 LTS"\nID=ubuntu\nVERSION_CODENAME=jammy\n'
PASSWD = b"root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1::/usr/sbin:/usr/sbin/nologin\n"
GROUP = b"root:x:0:\ndaemon:x:1:\nshadow:x:42:\n"
LIBC = b"\x7fELF\0GNU C Library (Ubuntu GLIBC 2.35-0ubuntu3) stable release version 2.35.\n\0"


def program(version: str) -> bytes:
    """What a program or library of CPython has of its version."""
    return b"\x7fELF\0Python \0" + version.encode() + b"\0main\0"


def system(*more: TarEntry, status: bytes = b"") -> tuple[TarEntry, ...]:
    """A small jammy: what says so, accounts, a C library; ``more`` after it."""
    return (
        folder("etc"), folder("home"), folder("opt"), folder("usr"), folder("usr/bin"), folder("usr/lib"),
        TarEntry("usr/lib/os-release", OS_RELEASE), TarEntry("etc/passwd", PASSWD), TarEntry("etc/group", GROUP),
        folder("usr/lib/x86_64-linux-gnu"), TarEntry("usr/lib/x86_64-linux-gnu/libc.so.6", LIBC, mode=0o755),
        folder("var"), folder("var/lib"), folder("var/lib/dpkg"), TarEntry("var/lib/dpkg/status", status),
        *more,
    )  # fmt: skip


def distribution(folder_: str, name: str, version: str, *requires: str) -> TarEntry:
    """The METADATA of an installed Python distribution."""
    lines = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"]
    lines += [f"Requires-Dist: {requirement}\n" for requirement in requires]
    path = f"{folder_}/{name.replace('-', '_')}-{version}.dist-info/METADATA"
    return TarEntry(path, ("".join(lines) + "\nName: not this one\n").encode())


@dataclass(frozen=True, slots=True)
class MadeImage:
    """An image for one platform: manifest, config and layer blobs."""

    manifest: bytes
    media_type: str
    blobs: Mapping[Digest, bytes]
    platform: Platform

    @property
    def digest(self) -> Digest:
        return Digest.sha256(self.manifest)


def image(
    *layers: Sequence[TarEntry],
    config: Mapping[str, object] | None = None,
    history: Sequence[Mapping[str, object]] | None = None,
    platform: Platform = Platform("linux", "amd64"),  # noqa: B008  # a constant
    docker: bool = False,
) -> MadeImage:
    """An image of these layers; ``docker``: in Docker's media types (schema 2) instead of OCI's."""
    streams = [tar(*entries) for entries in layers]
    blobs = [gzip.compress(stream, 1, mtime=0) for stream in streams]
    document = {
        "os": platform.os,
        "architecture": platform.architecture,
        "config": dict(config or {}),
        "rootfs": {"type": "layers", "diff_ids": [str(Digest.sha256(stream)) for stream in streams]},
        "history": list(history if history is not None else [{"created_by": "made by hand"}] * len(layers)),
    }
    config_bytes = json.dumps(document).encode()
    layer_type, config_type = (DOCKER_LAYER_GZIP, DOCKER_CONFIG) if docker else (LAYER_GZIP, CONFIG)
    kind = DOCKER_MANIFEST if docker else MANIFEST
    manifest = {
        "schemaVersion": 2,
        "mediaType": kind,
        "config": _descriptor(config_type, config_bytes),
        "layers": [_descriptor(layer_type, blob) for blob in blobs],
    }
    everything = {Digest.sha256(data): data for data in (config_bytes, *blobs)}
    return MadeImage(json.dumps(manifest).encode(), kind, everything, platform)


def _descriptor(media_type: str, data: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": str(Digest.sha256(data)), "size": len(data)}


@dataclass(slots=True)
class MemoryRegistry:
    """Images by reference; counts what is asked of it."""

    manifests: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    """``name:tag`` and ``name@digest`` → bytes and media type."""
    blobs: dict[Digest, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def add(self, name: str, *images: MadeImage, docker: bool = False) -> Digest:
        """Publish one image, or an index of several, as ``name:tag``; returns the digest that it then means."""
        repository = Reference.parse(name).name
        for made in images:
            self.blobs.update(made.blobs)
            self.manifests[f"{repository}@{made.digest}"] = made.manifest, made.media_type
        top, kind = images[0].manifest, images[0].media_type
        if len(images) > 1:
            kind = DOCKER_INDEX if docker else INDEX
            rows = [
                _descriptor(made.media_type, made.manifest)
                | {"platform": {"os": made.platform.os, "architecture": made.platform.architecture}}
                for made in images
            ]
            top = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": rows}).encode()
        digest = Digest.sha256(top)
        self.manifests[name] = self.manifests[f"{repository}@{digest}"] = top, kind
        return digest

    def manifest(self, reference: Reference, /) -> Fetched:
        self.asked.append(f"manifest {reference}")
        found = self._found(reference)
        if found is None:
            raise RegistryError("the registry has no such image", got=str(reference))
        return Fetched(found[0], found[1], Digest.sha256(found[0]))

    def find(self, reference: Reference, /) -> Descriptor | None:
        self.asked.append(f"find {reference}")
        found = self._found(reference)
        return Descriptor(found[1], Digest.sha256(found[0]), len(found[0])) if found else None

    def download(
        self,
        reference: Reference,
        blob: Descriptor,
        write: Callable[[bytes], object],
        restart: Callable[[], object],
        /,
    ) -> int:
        self.asked.append(f"blob {blob.digest.short}")
        data = self.blobs[blob.digest]
        write(data[:7])
        restart()  # a connection that was cut
        write(data)
        return len(data)

    def _found(self, reference: Reference) -> tuple[bytes, str] | None:
        key = f"{reference.name}@{reference.digest}" if reference.digest else f"{reference.name}:{reference.tag}"
        return self.manifests.get(key)

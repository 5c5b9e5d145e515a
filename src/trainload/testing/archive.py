"""A small distribution archive with a key of its own: files by path, to be served on loopback."""

from __future__ import annotations

import hashlib
import lzma
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from trainload.lock.distribution.profiles import PROFILES
from trainload.lock.distribution.suites import SUITES, Pocket
from trainload.resolve.signatures import Trust

NOW = datetime(2035, 1, 15, 12, tzinfo=UTC)
"""When tests of an archive take place."""
_CONTENT = {"python3": "Depends: python3.11, libc6", "libc6": "Priority: required"}


def stanza(name: str, version: str = "1.0-1", *lines: str, **fields: str) -> str:
    """A package of an index; ``fields`` with ``_`` for ``-`` are added or replace the usual ones."""
    usual = {
        "Package": name,
        "Version": version,
        "Architecture": "amd64",
        "Priority": "optional",
        "Filename": f"pool/main/{name[0]}/{name}/{name}_{version.replace(':', '%3a')}_amd64.deb",
        "Size": "1000",
        "SHA256": hashlib.sha256(f"{name} {version}".encode()).hexdigest(),
        "Installed-Size": "10",
    }
    usual.update({key.replace("_", "-"): value for key, value in fields.items()})
    return "".join(f"{line}\n" for line in [*(f"{k}: {v}" for k, v in usual.items() if v), *lines])


def base(*more: str) -> str:
    """An index that has what every profile asks for (python3 is 3.11, libc6 2.36), and ``more`` stanzas."""
    names = sorted({name for contents in PROFILES.values() for name in contents.packages} | {"python3.11"})
    stanzas = [stanza(name, "1.0-1", *filter(None, [_CONTENT.get(name)])) for name in names]
    return "\n".join([*stanzas, stanza("libc6", "2.36-9"), *more])


@dataclass(slots=True)
class Key:
    """A signing key."""

    user: str = "Test archive <test@archive.example>"
    validity: int | None = 3600 * 24 * 365 * 50
    """Seconds; None: for ever."""
    _secret: object = None

    def trust(self) -> Trust:
        certificate = self._key().extract_certificate()  # type: ignore[attr-defined]
        return Trust(bytes(certificate), frozenset({certificate.fingerprint.upper()}))

    def sign(self, text: bytes) -> bytes:
        import pysequoia

        signer = self._key().signer()  # type: ignore[attr-defined]
        return bytes(pysequoia.sign(signer, text, mode=pysequoia.SignatureMode.CLEAR))

    def _key(self) -> object:
        import pysequoia

        if self._secret is None:
            self._secret = pysequoia.Tsk.generate(user_id=self.user, validity_seconds=self.validity)
        return self._secret


@dataclass(frozen=True, slots=True)
class Publication:
    """One signed index and the files it names."""

    pocket: Pocket
    files: Mapping[str, bytes]
    date: datetime = NOW - timedelta(days=1)
    valid_until: datetime | None = None
    hashes: tuple[str, ...] = ("MD5Sum", "SHA256")
    suite: str | None = None
    """What it calls itself, if not by its pocket's name."""
    sign: Callable[[bytes], bytes] | None = None
    """Instead of the archive's key."""


@dataclass(slots=True)
class Archive:
    """Several archives on one server: ``debian/dists/…``, ``debian-security/dists/…``."""

    key: Key = field(default_factory=Key)
    files: dict[str, bytes] = field(default_factory=dict)

    def publish_suite(self, name: str, packages: str) -> None:
        """A whole release: ``packages`` in its first pocket for every architecture, the rest empty."""
        suite = SUITES[name]
        architectures = ("amd64", "arm64")
        for pocket in {pocket for a in architectures for pocket in suite.pockets_for(a)}:
            indexes = {
                f"{component}/binary-{a}/Packages.xz": lzma.compress(
                    packages.replace("amd64", a).encode() if (pocket.suite, component) == (name, "main") else b""
                )
                for component in suite.components
                for a in architectures
                if pocket in suite.pockets_for(a)
            }
            self.publish(Publication(pocket, indexes))

    def publish(self, what: Publication) -> None:
        """Add one signed index and the files it names."""
        folder = f"{what.pocket.archive}/dists/{what.pocket.suite}"
        lines = [
            "Origin: Test",
            f"Suite: {what.suite or what.pocket.suite}",
            f"Codename: {what.suite or what.pocket.suite}",
            f"Date: {_written(what.date)}",
            *([f"Valid-Until: {_written(what.valid_until)}"] if what.valid_until else []),
            "Acquire-By-Hash: yes",
            "Architectures: amd64 arm64",
            "Components: main universe",
        ]
        for name in what.hashes:
            lines.append(f"{name}:")
            algorithm = {"MD5Sum": "md5", "SHA1": "sha1", "SHA256": "sha256"}[name]
            for path, data in what.files.items():
                digest = hashlib.new(algorithm, data, usedforsecurity=False).hexdigest()
                lines.append(f" {digest} {len(data)} {path}")
        for path, data in what.files.items():
            self.files[f"{folder}/{path}"] = data
            by_hash = f"{path.rpartition('/')[0]}/by-hash/SHA256/{hashlib.sha256(data).hexdigest()}"
            self.files[f"{folder}/{by_hash}"] = data
        text = ("\n".join(lines) + "\n").encode()
        self.files[f"{folder}/InRelease"] = (what.sign or self.key.sign)(text)


def _written(date: datetime) -> str:
    return date.strftime("%a, %d %b %Y %H:%M:%S UTC")

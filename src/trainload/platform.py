"""Target platforms: what the image is for, never the machine we run on."""

from __future__ import annotations

import platform as _host

from trainload.errors import ConfigError, Text
from trainload.values import dataclass

_ALIASES = {
    "amd64": "amd64", "x86_64": "amd64", "x86-64": "amd64",
    "arm64": "arm64", "aarch64": "arm64",
}  # fmt: skip
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True, slots=True, order=True)
class Platform:
    """An operating system and architecture in Go's words, as OCI uses them (image-index.md)."""

    os: str = "linux"
    architecture: str = "amd64"

    @classmethod
    def parse(cls, text: str) -> Platform:
        """``linux/amd64``, ``arm64``, ``x86_64`` … Raises :class:`ConfigError` for a platform we cannot build."""
        os, _, architecture = text.rpartition("/")
        known = _ALIASES.get(architecture.lower())
        if os not in ("", "linux") or known is None:
            raise ConfigError(
                Text("{platform} is not a platform Trainload builds for", platform=text),
                want="linux/amd64 or linux/arm64",
            )
        return cls("linux", known)

    @classmethod
    def host(cls) -> Platform:
        """What containers on this machine run as (a Mac's engine runs linux)."""
        return cls("linux", _ALIASES.get(_host.machine().lower(), "amd64"))

    @property
    def machine(self) -> str:
        """The kernel's and wheel tags' word: ``x86_64``, ``aarch64``."""
        return _MACHINES[self.architecture]

    @property
    def multiarch(self) -> str:
        """Debian's multiarch triplet, as in ``/usr/lib/x86_64-linux-gnu``."""
        return f"{self.machine}-linux-gnu"

    def __str__(self) -> str:
        return f"{self.os}/{self.architecture}"

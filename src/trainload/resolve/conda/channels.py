"""Where conda channels are. A lock names a channel and a path in it, so that any mirror may serve the bytes.

The address that a channel's bare name means is configuration, or what rattler itself takes (conda's own); nothing
of it is written here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from trainload.errors import ConfigError
from trainload.lock.model import ChannelPath
from trainload.project.model import CondaSettings

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_DEFAULTS = {"defaults": ("main", "r")}
"""What ``defaults`` is made of, as its channels are called beside all others."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel."""

    name: str
    """As people write it; of an address its last part is no name, so it is the address itself."""
    address: str
    """Canonical, without credentials and without a slash at its end."""


def channels_of(names: Sequence[str], settings: CondaSettings) -> tuple[Channel, ...]:
    """The channels that ``names`` mean, by priority. Raises :class:`ConfigError` for what is none."""
    wanted = [part for name in names for part in _DEFAULTS.get(name, (name,))]
    return tuple(dict.fromkeys(_channel(name.rstrip("/"), settings) for name in wanted))


def _channel(name: str, settings: CondaSettings) -> Channel:
    if not _ADDRESS.match(name):
        if name.startswith((".", "/", "~")):
            return Channel(name, name)  # a folder of the project, or of this machine
        if not re.fullmatch(r"[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)*", name):
            raise ConfigError(
                "this is not a channel", got=name[:80], want="a name such as conda-forge, or an address"
            )
        return Channel(name, f"{_alias(settings)}/{name}")
    parts = urlsplit(name)
    if parts.scheme not in ("https", "http", "file") or "@" in parts.netloc or parts.query or parts.fragment:
        raise ConfigError("this is not a channel", got=name[:80].rpartition("@")[2], want="an https address")
    return Channel(name, name)


def _alias(settings: CondaSettings) -> str:
    if settings.channel_alias is not None:
        return settings.channel_alias.rstrip("/")
    from trainload.resolve.conda.rattler import usual_alias

    return usual_alias()


@dataclass(frozen=True, slots=True)
class Channels:
    """Addresses of channels: mirrors first, then the channel's own."""

    root: Path
    """The project's folder, which paths are relative to."""
    mirrors: tuple[str, ...] = ()

    def addresses(self, name: str, address: str) -> tuple[str, ...]:
        """Where the channel may be asked, the best first, without a slash at the end."""
        found = [self._mirrored(mirror, name, address) for mirror in self.mirrors]
        return tuple(dict.fromkeys(_plain(self.root, each) for each in [*found, address]))

    def urls(self, location: ChannelPath) -> tuple[str, ...]:
        """Where a package may be had."""
        found = self.addresses(location.channel, location.address)
        return tuple(f"{address}/{quote(location.path, safe='/!+')}" for address in found)

    def _mirrored(self, mirror: str, name: str, address: str) -> str:
        path = name
        if _ADDRESS.match(name):
            path = urlsplit(name).path.strip("/")
        elif name.startswith((".", "/", "~")):
            path = name.rstrip("/").rpartition("/")[2]
        if "{channel}" in mirror:
            return mirror.replace("{channel}", path)
        return f"{mirror.rstrip('/')}/{path}"


def _plain(root: Path, address: str) -> str:
    """``address`` as a URL: a path becomes a ``file:`` one."""
    if _ADDRESS.match(address):
        return address.rstrip("/")
    return (root / Path(address).expanduser()).resolve().as_uri()

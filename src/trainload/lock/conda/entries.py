"""What a lock of a conda environment says, whichever tool made it: addresses and hashes for each platform."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from trainload.errors import LockError, Place, Text
from trainload.lock.grammar import CONDA_PATH
from trainload.lock.model import ChannelPath

_URL = re.compile(r"(?P<channel>(?:https?|file)://\S+?)/(?P<path>(?:noarch|linux-64|linux-aarch64)/[^/\s]+)")
_TOKEN = re.compile(r"://[^/]*@|/t/[^/]+(?:/|$)")
SUBDIRS = ("linux-64", "linux-aarch64")


@dataclass(frozen=True, slots=True)
class CondaEntry:
    """One conda package."""

    location: ChannelPath
    sha256: str = ""
    """Hexadecimal; empty: the lock has none."""
    md5: str = ""
    size: int | None = None
    depends: tuple[str, ...] | None = None
    """None: the lock does not say; the package itself is asked."""
    constrains: tuple[str, ...] = ()
    noarch: str | None = None
    """``python``, ``generic`` or empty; None: the package itself is asked."""

    @property
    def identity(self) -> tuple[str, str, str]:
        """Name, version and build, which the file's name has (CEP 26)."""
        name, version, build = re.sub(r"\.(conda|tar\.bz2)$", "", self.location.path.rpartition("/")[2]).rsplit(
            "-", 2
        )
        return name, version, build


@dataclass(frozen=True, slots=True)
class WheelEntry:
    """One wheel that pip puts beside them."""

    name: str
    version: str
    url: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Entries:
    """Of one platform."""

    conda: tuple[CondaEntry, ...]
    wheels: tuple[WheelEntry, ...] = ()


def located(url: str, place: Place) -> ChannelPath:
    """The channel and the path in it that ``url`` names. Raises :class:`LockError` (THREATS C05, C09, F03)."""
    if _TOKEN.search(url):
        raise LockError(
            "the address carries a password or token",
            place=place,
            hints=[Text("write it without; give the whole address in TRAINLOAD_MIRRORS_CONDA")],
        )
    match = _URL.fullmatch(url)
    path = unquote(match["path"]) if match else ""
    if match is None or not CONDA_PATH.fullmatch(path) or path.count("-") < 2:
        raise LockError(
            "this is not the address of a conda package", place=place, got=url[:200],
            want="https://…/CHANNEL/linux-64/NAME-VERSION-BUILD.conda",
        )  # fmt: skip
    address = match["channel"]
    parts = urlsplit(address)
    if parts.query or parts.fragment or (parts.scheme == "file" and parts.netloc not in ("", "localhost")):
        raise LockError("this is not the address of a conda package", place=place, got=url[:200])
    name = parts.path.strip("/") if parts.scheme != "file" else ""
    return ChannelPath(name or address, path, address)

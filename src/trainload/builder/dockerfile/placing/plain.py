"""Pages of plain links, and indexes that tell no hashes: what pip takes on trust is hashed as it comes, and locked.

uv would fetch a wheel without a hash, unpack it to hash it, and throw it away: so uv is given a copy of the page on
which each has a stand-in, and what it chose is fetched once, into the store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from trainload.builder.dockerfile.placing.unhashed import Unhashed
from trainload.destinations.together import together
from trainload.dockerfile.understand.parts import Beyond
from trainload.errors import FetchError, Text
from trainload.events import Level, Said
from trainload.limits import DEFAULT
from trainload.lock.model import File, PythonFile, PythonPackage, Url
from trainload.resolve.linked import copy_page
from trainload.system.http import Cut, Http
from trainload.system.metadata import MetadataServer
from trainload.system.wire import chunks
from trainload.values import dataclass, replace

_PIECE = 1 << 16


@dataclass(frozen=True, slots=True)
class Pages:
    """Pages of links as uv is given them."""

    links: tuple[str, ...]
    stand_ins: frozenset[str] = frozenset()
    """What stands on them in place of a sha256."""
    server: MetadataServer | None = None
    """Where some of their links lead."""

    def bare(self, package: PythonPackage) -> PythonPackage:
        """``package`` with no hash where none is known, and with the addresses the pages had."""
        return replace(package, wheels=tuple(map(self._bare, package.wheels)))

    def _bare(self, wheel: File) -> File:
        if wheel.sha256 not in self.stand_ins:
            return wheel
        location = wheel.location
        if self.server is not None and isinstance(location, Url):
            location = Url(self.server.meant(location.url))
        return replace(wheel, sha256="", location=location)


def copied(addresses: Sequence[str], http: Http, folder: Path, server: MetadataServer | None = None) -> Pages:
    """Copies of the pages at ``addresses`` in ``folder``; one that cannot be had simply is left to uv.

    With a ``server``, links to wheels on servers that send no parts of files lead there.
    """
    asked: dict[str, bool] = {}

    def through(address: str) -> str | None:
        parts = urlsplit(address)
        if server is None or not parts.path.endswith(".whl"):
            return None
        if parts.netloc not in asked:
            asked[parts.netloc] = _sends_parts(address, http)
        return None if asked[parts.netloc] else server.link(address)

    links, stand_ins = [], set[str]()
    for number, address in enumerate(addresses):
        data = _read(address, http)
        if data is None:
            links.append(address)
            continue
        page = folder / f"page{number}.html"
        stand_ins |= copy_page(page, data, address, through)
        links.append(page.as_uri())
    return Pages(tuple(links), frozenset(stand_ins), server)


def _sends_parts(address: str, http: Http) -> bool:
    """Whether the server of this file sends parts of it, or cannot be asked."""
    try:
        response = http.exchange("HEAD", address, {})
    except (Cut, FetchError):
        return True
    response.close()
    return response.status != 200 or "bytes" in response.headers.get("Accept-Ranges", "")


def _read(address: str, http: Http) -> bytes | None:
    """A page that is there without a password or a redirect, of which its links would not be known."""
    if "@" in urlsplit(address).netloc:
        return None
    try:
        response = http.exchange("GET", address, {"Accept": "text/html"})
    except (Cut, FetchError):
        return None
    try:
        if response.status != 200 or "html" not in response.headers.get("Content-Type", ""):
            return None
        data = bytearray()
        for piece in chunks(response, _PIECE):
            data += piece
            if len(data) > DEFAULT.document:
                return None
        return bytes(data)
    except Cut:
        return None
    finally:
        response.close()


def with_hashes(
    chosen: Sequence[PythonFile], given: Mapping[str, Mapping[str, str]], unhashed: Unhashed
) -> tuple[PythonFile, ...]:
    """``chosen``, those without a hash with that of what came. ``given``: their hashes of other kinds.

    pip takes what an index tells no sha256 of, and so do we. Raises :class:`Beyond` where another hash is known,
    :class:`FetchError`.
    """
    bare = [package for package in chosen if not package.file.sha256]
    for package in bare:
        if given.get(package.file.name) or not isinstance(package.file.location, Url):
            raise Beyond(Text("{file}, of which another hash than its sha256 is known", file=package.file.name))
    came = dict(zip(bare, together(partial(_taken, unhashed=unhashed), bare, unhashed.stop), strict=True))
    names = [package.file.name for package in bare if _address(package) in unhashed.fetched]
    if names:
        text = Text(
            "{files}: taken on trust, the lock has no sha256 of the publisher; what came now is locked",
            files=", ".join(names),
        )
        unhashed.reporter.report(Said(text, Level.WARNING))
    return tuple(came.get(package, package) for package in chosen)


def _taken(package: PythonFile, unhashed: Unhashed) -> PythonFile:
    file = package.file
    sha256, size = unhashed.take(_address(package), file.name, file.size)
    return replace(package, file=replace(file, sha256=sha256, size=size))


def _address(package: PythonFile) -> str:
    assert isinstance(package.file.location, Url)
    return package.file.location.url

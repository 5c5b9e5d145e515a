"""Pages of plain links, and indexes that tell no hashes: what pip takes on trust is hashed as it comes, and locked.

uv would fetch a wheel without a hash, unpack it to hash it, and throw it away: so uv is given a copy of the page on
which each has a stand-in, and what it chose is fetched once, into the store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from trainload.builder.dockerfile.bench import Bench
from trainload.destinations.together import Stop, together
from trainload.dockerfile.understand.parts import Beyond
from trainload.errors import FetchError, Text
from trainload.events import Began, Ended, How, Level, Moved, Said
from trainload.limits import DEFAULT
from trainload.lock.model import PythonFile, PythonPackage, Url
from trainload.resolve.linked import copy_page
from trainload.resolve.services import Services
from trainload.system.http import Cut, Http
from trainload.values import dataclass, replace


@dataclass(frozen=True, slots=True)
class Pages:
    """Pages of links as uv is given them."""

    links: tuple[str, ...]
    stand_ins: frozenset[str] = frozenset()
    """What stands on them in place of a sha256."""

    def bare(self, package: PythonPackage) -> PythonPackage:
        """``package`` with no hash where none is known."""
        wheels = tuple(
            replace(wheel, sha256="") if wheel.sha256 in self.stand_ins else wheel for wheel in package.wheels
        )
        return replace(package, wheels=wheels)


def copied(addresses: Sequence[str], http: Http, folder: Path) -> Pages:
    """Copies of the pages at ``addresses`` in ``folder``; one that cannot be had simply is left to uv."""
    links, stand_ins = [], set[str]()
    for number, address in enumerate(addresses):
        data = _read(address, http)
        if data is None:
            links.append(address)
            continue
        page = folder / f"page{number}.html"
        stand_ins |= copy_page(page, data, address)
        links.append(page.as_uri())
    return Pages(tuple(links), frozenset(stand_ins))


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
        data = response.read(DEFAULT.document + 1)
        return data if len(data) <= DEFAULT.document else None
    except OSError:
        return None
    finally:
        response.close()


def with_hashes(
    chosen: Sequence[PythonFile], given: Mapping[str, Mapping[str, str]], bench: Bench, services: Services
) -> tuple[PythonFile, ...]:
    """``chosen``, those without a hash with that of what came now. ``given``: their hashes of other kinds.

    pip takes what an index tells no sha256 of, and so do we. Raises :class:`Beyond` where another hash is known,
    :class:`FetchError`.
    """
    rest = [package for package in chosen if not package.file.sha256]
    for package in rest:
        if given.get(package.file.name) or not isinstance(package.file.location, Url):
            raise Beyond(Text("{file}, of which another hash than its sha256 is known", file=package.file.name))
    stop = Stop()
    work = partial(_fetched, bench=bench, services=services, stop=stop)
    fetched = dict(zip(rest, together(work, rest, stop), strict=True))
    if rest:
        text = Text(
            "{files}: taken on trust, the lock has no sha256 of the publisher; what came now is locked",
            files=", ".join(package.file.name for package in rest),
        )
        services.reporter.report(Said(text, Level.WARNING))
    return tuple(fetched.get(package, package) for package in chosen)


def _fetched(package: PythonFile, bench: Bench, services: Services, stop: Stop) -> PythonFile:
    """``package`` with its file in the store."""
    file = package.file
    assert isinstance(file.location, Url)
    task, limit = f"unhashed:{file.name}", bench.shop.limits.unpacked
    services.reporter.report(Began(task, file.name, file.size))
    try:
        with bench.shop.store.files.ingest() as ingest:

            def write(data: bytes) -> None:
                stop.check()
                ingest.write(data)
                services.reporter.report(Moved(task, ingest.size))

            services.http.download(file.location.url, write, limit=limit, restart=ingest.restart)
            digest, size = ingest.commit()
    except BaseException:
        services.reporter.report(Ended(task, file.name, How.FAILED))
        raise
    services.reporter.report(Ended(task, file.name, How.FETCHED, size))
    return replace(package, file=replace(file, sha256=digest.hex, size=size))

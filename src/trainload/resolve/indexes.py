"""A distribution's signed indexes: fetched, verified, reduced to records.

The chain of THREATS D11 to D14: a pinned key signs InRelease, InRelease names each Packages file by SHA256,
Packages names each package by SHA256. A mirror that is broken, stale or hostile is passed over for the next
one; when none is left, the gravest reason is told. Everything of one lock comes from one snapshot of each suite.
"""

from __future__ import annotations

import hashlib
import lzma
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

from trainload.errors import FetchError, LockError, Place, SignatureError, Text
from trainload.events import SILENT, Ended, How, Reporter, Said
from trainload.limits import MiB
from trainload.lock.distribution import release as releases
from trainload.lock.distribution import stanzas
from trainload.lock.distribution.index import Records
from trainload.lock.distribution.release import Hashed, Release
from trainload.lock.distribution.suites import Pocket
from trainload.lock.model import ReleaseFile
from trainload.resolve.archives import Archives, Root
from trainload.resolve.signatures import Trust, shipped, signed_part
from trainload.system.http import Http, Retry
from trainload.values import dataclass, replace

INRELEASE_LIMIT = 16 * MiB
"""The largest real one has 270 KB."""
PACKAGES_LIMIT = 512 * MiB
"""Unpacked; the largest real one has 73 MB."""
_BLOCK = MiB
_SKEW = timedelta(days=1)


class RecordCache(Protocol):
    """Keeps what can be made again; keys are safe file names."""

    def get(self, key: str, /) -> bytes | None: ...

    def put(self, key: str, data: bytes, /) -> object: ...


@dataclass(frozen=True, slots=True)
class Services:
    """What resolving a distribution needs of the world."""

    http: Http
    archives: Archives
    cache: RecordCache
    now: datetime
    """Aware, UTC."""
    previous: Sequence[ReleaseFile] = ()
    """Indexes of the last lock: older ones are refused (THREATS D12)."""
    allow_stale: bool = False
    """Accept an index that is past its Valid-Until, older than the last one, or signed by a key expired since."""
    trust: Callable[[str], Trust] = shipped
    """Distribution → keys that may sign it."""
    reporter: Reporter = SILENT


@dataclass(frozen=True, slots=True)
class Opened:
    """A verified index."""

    pocket: Pocket
    root: Root
    release: Release
    data: bytes
    """As it was signed."""

    @property
    def locked(self) -> ReleaseFile:
        date = self.release.date.strftime("%Y-%m-%dT%H:%M:%SZ")
        return ReleaseFile(self.pocket.archive, self.pocket.suite, date, hashlib.sha256(self.data).hexdigest())


def open_pocket(pocket: Pocket, trust: Trust, services: Services) -> Opened:
    """The verified InRelease of ``pocket`` from the first archive that has a good one.

    Raises :class:`SignatureError` (the gravest, if any archive answers) or :class:`FetchError`.
    """
    if services.http.offline:
        return _kept(pocket, trust, services)
    roots = services.archives.of(pocket.archive)
    quick = replace(services.http, retry=Retry(tries=2, first=0.2), connect_timeout=5.0)
    refused: SignatureError | None = None
    failed: FetchError | None = None
    for client, root in [*((quick, root) for root in roots), (services.http, roots[0])]:
        if client is services.http and (refused or (failed and not failed.retryable)):
            break
        try:
            return _open(pocket, root, trust, replace(services, http=client))
        except SignatureError as error:
            refused = refused or error
        except FetchError as error:
            failed = failed or error
    if refused is not None:
        raise refused
    assert failed is not None
    raise FetchError(
        Text("no mirror of the {archive} archive has {suite}", archive=pocket.archive, suite=pocket.suite),
        got=str(failed.text) if failed.got is None else f"{failed.text}: {failed.got}",
        hints=[Text("check the network, or set a mirror in [tool.trainload.mirrors] or TRAINLOAD_MIRRORS_APT")],
        retryable=failed.retryable,
    )


def _kept(pocket: Pocket, trust: Trust, services: Services) -> Opened:
    """The index that was seen last, judged as if it came now: offline a choice is as good as what is known."""
    data = services.cache.get(_key(pocket))
    if data is None:
        raise _unknown_offline(pocket)
    root = services.archives.of(pocket.archive)[0]
    opened = verified(data, (pocket, root, _address(pocket, root)), trust, services)
    date = f"{opened.release.date:%Y-%m-%d %H:%M} UTC"
    text = Text("{suite}: chosen offline from the index of {date}", suite=pocket.suite, date=date)
    services.reporter.report(Said(text))
    return opened


def remember(opened: Iterable[Opened], services: Services) -> None:
    """Keep indexes that were good for a choice, for a choice that is made offline."""
    for one in opened:
        services.cache.put(_key(one.pocket), one.data)


def _unknown_offline(pocket: Pocket) -> FetchError:
    return FetchError(
        Text("the packages of {suite} cannot be chosen offline", suite=pocket.suite),
        hints=[Text("run `trainload lock` once with a network")],
    )


def _key(pocket: Pocket) -> str:
    return "release-" + re.sub("[^a-z0-9]", "-", f"{pocket.archive}-{pocket.suite}")


def _open(pocket: Pocket, root: Root, trust: Trust, services: Services) -> Opened:
    url = _address(pocket, root)
    return verified(services.http.get(url, limit=INRELEASE_LIMIT), (pocket, root, url), trust, services)


def _address(pocket: Pocket, root: Root) -> str:
    return f"{root.url}/dists/{pocket.suite}/InRelease"


def verified(data: bytes, came: tuple[Pocket, Root, str], trust: Trust, services: Services) -> Opened:
    """The index ``data``, which ``came`` from an address. Raises :class:`SignatureError`.

    A suite that is a folder (``/``) has no name that could be compared.
    """
    pocket, root, url = came
    now = None if services.allow_stale else services.now
    release = releases.parse(signed_part(data, trust, url, now), url)
    if not pocket.suite.endswith("/") and not release.is_of(pocket.suite):
        raise SignatureError(
            Text("the signed index at this address is of another suite"),
            place=Place(url),
            got=release.fields.get("codename") or release.fields.get("suite"),
            want=pocket.suite,
        )
    if not services.allow_stale:
        _check_age(pocket, root, release, url, services)
    return Opened(pocket, root, release, data)


def _check_age(pocket: Pocket, root: Root, release: Release, url: str, services: Services) -> None:
    until = release.valid_until
    if until is not None and until < services.now and root.check_valid_until:
        raise SignatureError(
            Text("the index of {suite} is stale", suite=pocket.suite),
            place=Place(url),
            got=f"valid until {until:%Y-%m-%d %H:%M} UTC",
            want=f"valid at {services.now:%Y-%m-%d %H:%M} UTC",
            hints=["use a mirror that is up to date", "--allow-stale accepts it, for a snapshot that is meant"],
        )
    if release.date > services.now + _SKEW:
        raise SignatureError(
            Text("the index of {suite} comes from the future", suite=pocket.suite),
            place=Place(url),
            got=f"{release.date:%Y-%m-%d %H:%M} UTC",
            hints=["check this machine's clock", "--allow-stale accepts it"],
        )
    for last in services.previous:
        if (last.archive, last.suite) != (pocket.archive, pocket.suite):
            continue
        seen = datetime.fromisoformat(last.date)
        if release.date < (seen if seen.tzinfo else seen.replace(tzinfo=UTC)):
            raise SignatureError(
                Text("the index of {suite} is older than the one the lock was made from", suite=pocket.suite),
                place=Place(url),
                got=f"{release.date:%Y-%m-%d %H:%M} UTC",
                want=f"{seen:%Y-%m-%d %H:%M} UTC or newer",
                hints=["the mirror is behind, or plays back old packages; use another", "--allow-stale accepts it"],
            )


class Moved(SignatureError):
    """A file is not what the signed index names: the mirror changes right now, or lies (THREATS D13, D14)."""


def records(opened: Opened, component: str, architecture: str, services: Services) -> list[Records]:
    """The packages of one component, from the cache or the archive. Raises :class:`Moved`, :class:`LockError`."""
    names = [architecture, "all"] if opened.release.separate_all else [architecture]
    found: list[Records] = []
    for name in names:
        hashed = _listed(opened, component, name)
        if hashed is not None:
            data = _cached(opened, hashed, services)
            found.append(Records(opened.pocket.archive, opened.pocket.suite, data))
    return found


def _listed(opened: Opened, component: str, architecture: str) -> Hashed | None:
    path = f"{component}/binary-{architecture}/Packages.xz"
    if path in opened.release.files:
        return opened.release.files[path]
    if architecture == "all":
        return None
    suite = opened.pocket.suite
    raise LockError(
        Text("the index of {suite} has no packages for {architecture}", suite=suite, architecture=architecture),
        place=Place(opened.root.url),
        want=path,
    )


def _cached(opened: Opened, hashed: Hashed, services: Services) -> bytes:
    key = f"packages-{stanzas.FORMAT}-{hashed.sha256}"
    kept = services.cache.get(key)
    if kept is not None:
        try:
            return zlib.decompress(kept)  # its checksum notices a spoiled entry
        except zlib.error:
            pass
    if services.http.offline:
        raise _unknown_offline(opened.pocket)
    label = f"{opened.pocket.suite} {hashed.path.removesuffix('/Packages.xz')}"
    packed = _fetch(opened, hashed, services)
    data = b"".join(stanzas.compact(unpacked(packed, hashed.path), f"{opened.pocket.suite}/{hashed.path}"))
    services.cache.put(key, zlib.compress(data, 1))
    services.reporter.report(Ended(key, label, How.FETCHED, size=len(packed)))
    return data


def _fetch(opened: Opened, hashed: Hashed, services: Services) -> bytes:
    """The file that the signed index names, by hash first, so that a changing mirror does not matter."""
    folder = f"dists/{opened.pocket.suite}"
    by_hash = f"{folder}/{hashed.path.rpartition('/')[0]}/by-hash/SHA256/{hashed.sha256}"
    paths = [by_hash, f"{folder}/{hashed.path}"] if opened.release.by_hash else [f"{folder}/{hashed.path}"]
    moved: Moved | None = None
    failed: FetchError | None = None
    for root in services.archives.prefer(opened.pocket.archive, opened.root).of(opened.pocket.archive):
        for path in paths:
            url = f"{root.url}/{path}"
            try:
                data = services.http.get(url, limit=max(hashed.size, 1))
            except FetchError as error:
                failed = failed or error
                continue
            got = hashlib.sha256(data).hexdigest()
            if len(data) == hashed.size and got == hashed.sha256:
                return data
            moved = moved or Moved(
                Text("a file is not the one that the signed index names"),
                place=Place(url),
                got=f"{len(data)} bytes, sha256 {got}",
                want=f"{hashed.size} bytes, sha256 {hashed.sha256}",
                hints=["the mirror may be changing right now; try again, or use another mirror"],
                retryable=True,
            )
    if moved is not None:
        raise moved
    assert failed is not None
    raise failed


def unpacked(packed: bytes, file: str) -> Iterator[bytes]:
    """The xz file in blocks; it may be several streams (xz-file-format 2), at most ``PACKAGES_LIMIT`` bytes."""
    total = 0
    data = packed
    try:
        while data:
            decompressor = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=256 * MiB)
            while not decompressor.eof:
                block = decompressor.decompress(data, _BLOCK)
                data = b""
                total += len(block)
                if not block and decompressor.needs_input:
                    raise LockError("an index is cut", place=Place(file))
                if total > PACKAGES_LIMIT:
                    raise LockError(
                        "an index is too large", place=Place(file), want=f"at most {PACKAGES_LIMIT} bytes"
                    )
                yield block
            data = decompressor.unused_data
    except lzma.LZMAError as error:
        raise LockError("an index cannot be unpacked", place=Place(file), got=error) from error

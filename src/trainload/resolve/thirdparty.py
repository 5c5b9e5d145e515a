"""Archives beside the distribution's own, as an image's apt knows them: signed by keys that the image names.

Nothing is weaker than with the image's own apt: only keys it trusts for that archive count, under the rules that
hold for the distribution's indexes (THREATS D11 to D14). An archive without a signed index is refused.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote, urlsplit

from trainload.errors import FetchError, LockError, Place, Text
from trainload.lock.distribution import stanzas
from trainload.lock.distribution.index import Records, Stanza
from trainload.lock.distribution.pins import Pin, Priorities, Told
from trainload.lock.distribution.release import Hashed, Release
from trainload.lock.distribution.suites import Pocket
from trainload.resolve.archives import Root
from trainload.resolve.indexes import INRELEASE_LIMIT, PACKAGES_LIMIT, Moved, Opened, Services, unpacked, verified
from trainload.resolve.signatures import Trust
from trainload.values import dataclass, field

_ENDINGS = (".xz", ".gz", "")


@dataclass(frozen=True, slots=True)
class OwnArchive:
    """An archive with one suite."""

    address: str
    suite: str
    """A folder with a slash at its end holds the index itself (``/``: the address)."""
    components: tuple[str, ...]
    certificates: bytes
    """OpenPGP, of the keys that may sign it."""
    is_first: bool = False
    """It stands before the distribution's own."""

    @property
    def folder(self) -> str:
        """Where its InRelease lies."""
        if self.suite.endswith("/"):
            return f"{self.address}/{self.suite.strip('/')}".rstrip("/")
        return f"{self.address}/dists/{self.suite}"


@dataclass(frozen=True, slots=True)
class Setup:
    """What an image's apt has beside the usual."""

    archives: tuple[OwnArchive, ...] = ()
    pins: tuple[Pin, ...] = ()
    hosts: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """Archive and suite of the distribution → the host that the image takes them from."""
    components: tuple[str, ...] = ()
    """Of the distribution's archives, beside those that always are."""


USUAL = Setup()


@dataclass(frozen=True, slots=True)
class Loaded:
    """The packages of archives, and what the archives say of themselves."""

    before: tuple[Records, ...] = ()
    after: tuple[Records, ...] = ()
    told: Mapping[tuple[str, str], Told] = field(default_factory=dict)

    def priorities(self, setup: Setup, opened: Iterable[Opened]) -> Priorities:
        """For these archives and the distribution's ``opened`` ones."""
        said = dict(self.told)
        for one in opened:
            at = one.pocket.archive, one.pocket.suite
            said[at] = Told(setup.hosts.get(at, ""), one.release.fields)
        return Priorities(setup.pins, lambda archive, suite: said.get((archive, suite), Told()))


def load(setup: Setup, architecture: str, services: Services) -> Loaded:
    """Raises :class:`SignatureError`, :class:`FetchError`, :class:`LockError`."""
    found: dict[bool, list[Records]] = {True: [], False: []}
    told: dict[tuple[str, str], Told] = {}
    for archive in setup.archives:
        try:
            release, files = _read(archive, architecture, services)
        except Moved:
            release, files = _read(archive, architecture, services)
        found[archive.is_first] += files
        host = urlsplit(archive.address).hostname or ""
        told[archive.address, archive.suite] = Told(host, release.fields)
    return Loaded(tuple(found[True]), tuple(found[False]), told)


def address_of(stanza: Stanza) -> str | None:
    """Where a package of such an archive lies; None for one of the distribution's."""
    return f"{stanza.archive}/{quote(stanza['Filename'])}" if "://" in stanza.archive else None


def _read(archive: OwnArchive, architecture: str, services: Services) -> tuple[Release, list[Records]]:
    if services.http.offline:
        raise FetchError(
            Text("the packages of {suite} cannot be chosen offline", suite=archive.address),
            hints=[Text("run `trainload lock` once with a network")],
        )
    import pysequoia

    try:
        certificates = pysequoia.Cert.split_bytes(archive.certificates)
    except (RuntimeError, ValueError, OSError) as error:
        raise LockError("keys of the image cannot be read", place=Place(archive.address)) from error
    trust = Trust(archive.certificates, frozenset(cert.fingerprint.upper() for cert in certificates))
    url = f"{archive.folder}/InRelease"
    data = services.http.get(url, limit=INRELEASE_LIMIT)
    pocket = Pocket(archive.address, archive.suite)
    opened = verified(data, (pocket, Root(archive.address), url), trust, services)
    return opened.release, [
        Records(archive.address, archive.suite, _records(archive, hashed, services))
        for hashed in _listed(archive, opened.release, architecture)
    ]


def _listed(archive: OwnArchive, release: Release, architecture: str) -> Iterator[Hashed]:
    names = [architecture, "all"] if release.separate_all else [architecture]
    folders = [f"{component}/binary-{name}/" for component in archive.components for name in names]
    for folder in folders if archive.components else [""]:
        found = [release.files[path] for end in _ENDINGS if (path := f"{folder}Packages{end}") in release.files]
        if found:
            yield found[0]
        elif not folder.endswith("binary-all/"):
            raise LockError(
                Text("the index of {suite} has no packages for {architecture}", suite=archive.suite,
                     architecture=architecture),
                place=Place(archive.address), want=f"{folder}Packages",
            )  # fmt: skip


def _records(archive: OwnArchive, hashed: Hashed, services: Services) -> bytes:
    key = f"packages-own-{stanzas.FORMAT}-{hashed.sha256}"
    kept = services.cache.get(key)
    if kept is not None:
        try:
            return zlib.decompress(kept)
        except zlib.error:
            pass
    url = f"{archive.folder}/{hashed.path}"
    packed = services.http.get(url, limit=max(hashed.size, 1))
    if len(packed) != hashed.size or hashlib.sha256(packed).hexdigest() != hashed.sha256:
        raise Moved(
            Text("a file is not the one that the signed index names"), place=Place(url),
            hints=["the mirror may be changing right now; try again, or use another mirror"], retryable=True,
        )  # fmt: skip
    text = b"".join(_plain(packed, hashed.path, url))
    text = re.sub(rb"^(Filename:[ \t]*)(?:\./)+", rb"\1", text, flags=re.MULTILINE)
    data = b"".join(stanzas.compact([text], url))
    services.cache.put(key, zlib.compress(data, 1))
    return data


def _plain(packed: bytes, path: str, url: str) -> Iterator[bytes]:
    if path.endswith(".xz"):
        yield from unpacked(packed, url)
    elif path.endswith(".gz"):
        plain = zlib.decompressobj(wbits=31)
        try:
            yield plain.decompress(packed, PACKAGES_LIMIT)
        except zlib.error as error:
            raise LockError("an index cannot be unpacked", place=Place(url), got=error) from error
        if plain.unconsumed_tail or not plain.eof:
            raise LockError("an index is too large", place=Place(url), want=f"at most {PACKAGES_LIMIT} bytes")
    else:
        yield packed

"""Files that a lock names without a sha256: taken on trust, once and by request (THREATS F01).

Each is read now, and what came is locked: whoever builds later gets these bytes or none. Hashes of other kinds that
the lock has must hold. The lock lists the files, so that nobody takes their hashes for the publisher's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from trainload.errors import FetchError, LockError, Place, Text
from trainload.events import SILENT, Began, Ended, How, Level, Reporter, Said
from trainload.limits import DEFAULT
from trainload.lock.model import ChannelPath, File, Found, Location, Lock, PythonPackage, Url
from trainload.system.http import Http, origin
from trainload.values import dataclass, replace

if TYPE_CHECKING:
    from trainload.lock.adopt import Adopted

_AT_ONCE = 4
_CHUNK = 1 << 20
_KINDS = ("md5", "sha1", "sha224", "sha384", "sha512", "sha3_256", "sha3_512", "blake2b", "blake2s")
"""What may stand in a lock (hashlib's names) beside a sha256."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Where bytes without a hash may come from."""

    http: Http
    folders: Sequence[Path] = ()
    """The find-links folders."""
    credentials: Mapping[tuple[str, str, int], str] | None = None
    """Origin → the ``Authorization`` header it gets."""
    reporter: Reporter = SILENT
    channels: Callable[[ChannelPath], Sequence[str]] = lambda location: ()
    """Addresses of a conda package, the best first."""


def pinned(
    adopted: Adopted, trust: Trust, previous: Lock | None
) -> tuple[tuple[PythonPackage, ...], tuple[str, ...]]:
    """The packages with the sha256 of what is there now, and the names of the files it was asked of, sorted.

    What ``previous`` took on trust is trusted still. Raises :class:`FetchError`, and :class:`LockError` for bytes
    that are not those of a hash the lock has.
    """
    missing = {file: None for package in adopted.packages for file in _files(package) if not file.sha256}
    known = _known(previous)
    fresh = [file for file in missing if (file.name, file.location) not in known]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = {
            (file.name, file.location): made
            for file, made in zip(
                fresh, pool.map(lambda file: _read(file, adopted.unhashed[file.name], trust), fresh), strict=True
            )
        }
    known.update(found)

    def told(file: File) -> File:
        return file if file.sha256 else known[file.name, file.location]

    packages = tuple(
        replace(
            package,
            wheels=tuple(told(wheel) for wheel in package.wheels),
            sdist=told(package.sdist) if package.sdist is not None else None,
        )
        for package in adopted.packages
    )
    names = tuple(sorted({file.name for file in missing}))
    if names:
        text = Text(
            "{files}: taken on trust, the lock has no sha256 of the publisher; what came now is locked",
            files=", ".join(names),
        )
        trust.reporter.report(Said(text, Level.WARNING))
    return packages, names


def on_trust(given: Mapping[File, Mapping[str, str]], trust: Trust) -> dict[File, File]:
    """Each file with the sha256 of what is there now; ``given``: its hashes of other kinds, which must hold.

    Raises as :func:`pinned` does.
    """
    files = list(given)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        read = dict(zip(files, pool.map(lambda file: _read(file, given[file], trust), files), strict=True))
    text = Text(
        "{files}: taken on trust, the lock has no sha256 of the publisher; what came now is locked",
        files=", ".join(file.name for file in files),
    )
    trust.reporter.report(Said(text, Level.WARNING))
    return read


def _files(package: PythonPackage) -> tuple[File, ...]:
    return (*package.wheels, *(() if package.sdist is None else (package.sdist,)))


def _known(previous: Lock | None) -> dict[tuple[str, Location], File]:
    if previous is None:
        return {}
    files = (file for package in previous.packages for file in _files(package))
    return {(file.name, file.location): file for file in files if file.name in previous.unhashed}


def _read(file: File, given: Mapping[str, str], trust: Trust) -> File:
    task = f"unhashed:{file.name}"
    trust.reporter.report(Began(task, file.name, file.size))
    digests = _Digests({"sha256", *(kind for kind in given if kind in _KINDS)})
    try:
        match file.location:
            case Url(url):
                secret = (trust.credentials or {}).get(origin(url))
                headers = {"Authorization": secret} if secret is not None else {}
                trust.http.download(
                    url,
                    digests.write,
                    limit=DEFAULT.unpacked,
                    restart=digests.restart,
                    headers=headers,
                    size=file.size,
                )
            case Found(name):
                _read_here(name, trust.folders, digests)
            case ChannelPath():
                _read_channel(file, trust, digests)
            case _:
                raise AssertionError("a Python file does not come from a distribution's archive")
        _check(file, given, digests)
    except BaseException:
        trust.reporter.report(Ended(task, file.name, How.FAILED))
        raise
    trust.reporter.report(Ended(task, file.name, How.FETCHED, digests.size))
    return replace(file, sha256=digests.hex("sha256"), size=digests.size)


def _read_channel(file: File, trust: Trust, digests: _Digests) -> None:
    """From the first address that has it."""
    assert isinstance(file.location, ChannelPath)
    addresses = trust.channels(file.location)
    for number, url in enumerate(addresses):
        try:
            digests.restart()
            if url.startswith("file:"):
                with Path(unquote(urlsplit(url).path)).open("rb") as stream:
                    while chunk := stream.read(_CHUNK):
                        digests.write(chunk)
            else:
                trust.http.download(
                    url, digests.write, limit=DEFAULT.unpacked, restart=digests.restart, size=file.size
                )
        except (FetchError, OSError) as error:
            if number + 1 < len(addresses):
                continue
            if isinstance(error, FetchError):
                raise
            raise FetchError(Text("{path} cannot be read", path=url), got=error.strerror) from error
        return


def _read_here(name: str, folders: Sequence[Path], digests: _Digests) -> None:
    for folder in folders:
        try:
            with (folder / name).open("rb") as stream:
                while chunk := stream.read(_CHUNK):
                    digests.write(chunk)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise FetchError(
                "the wheel cannot be read", place=Place(str(folder / name)), got=error.strerror
            ) from error
        return
    raise FetchError(Text("{file} is in none of the find-links folders", file=name))


def _check(file: File, given: Mapping[str, str], digests: _Digests) -> None:
    for kind, want in given.items():
        if kind in _KINDS and digests.hex(kind) != want.lower():
            raise LockError(
                Text("{file} is not the file the lock means", file=file.name),
                got=f"{kind}:{digests.hex(kind)}",
                want=f"{kind}:{want}",
            )


class _Digests:
    """Several hashes of one stream."""

    def __init__(self, kinds: set[str]) -> None:
        self._kinds = kinds
        self.restart()

    def restart(self) -> None:
        self._hashes = {kind: hashlib.new(kind, usedforsecurity=False) for kind in self._kinds}
        self.size = 0

    def write(self, data: bytes) -> None:
        self.size += len(data)
        for each in self._hashes.values():
            each.update(data)

    def hex(self, kind: str) -> str:
        return self._hashes[kind].hexdigest()

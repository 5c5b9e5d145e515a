"""Locked files by their exact bytes: from find-links folders, the file cache, mirrors, or their own address.

Nothing is trusted but the lock's sha256: a broken or hostile mirror costs a moment, never a wrong byte.
"""

from __future__ import annotations

import base64
import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from trainload.digest import Digest
from trainload.errors import FetchError, Problems, Text, TrainloadError
from trainload.events import SILENT, Began, Ended, How, Moved, Reporter
from trainload.limits import DEFAULT, Limits
from trainload.lock.model import ArchivePath, File, Found, Made, Url
from trainload.resolve import interpreter
from trainload.store.content import Ingest
from trainload.store.files import FileCache
from trainload.store.trouble import DamagedError
from trainload.system.http import Http, Retry, StatusError, origin, shown

_AT_ONCE = 4  # small against what a mirror allows per client; more does not fill a link any further
_QUICK = Retry(tries=2, first=0.2)
"""For an address that has others after it."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where locked files may be had on this machine and from it."""

    folders: tuple[Path, ...] = ()
    """The find-links folders, absolute."""
    mirrors: tuple[str, ...] = ()
    """Mirrors of the package index, ``https://mirror.example/pypi/simple``; asked before the file's own address."""
    interpreters: tuple[str, ...] = ()
    """URL patterns of mirrors of python-build-standalone; asked before the file's own address."""
    archive_urls: Callable[[ArchivePath], Sequence[str]] = lambda location: ()
    """Addresses of a distribution's file, the best first."""
    credentials: Mapping[tuple[str, str, int], str] = field(default_factory=dict)
    """Origin → the ``Authorization`` header it gets (THREATS D8)."""


class Fetcher:
    """Gives locked files as verified local files (:class:`trainload.layers.model.Sources`); safe for threads."""

    def __init__(
        self,
        cache: FileCache,
        http: Http,
        places: Places,
        *,
        offline: bool = False,
        reporter: Reporter = SILENT,
        limits: Limits = DEFAULT,
    ) -> None:
        self._cache = cache
        self._http = http
        self._places = places
        self._offline = offline
        self._reporter = reporter
        self._limits = limits
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()
        self._hashed: dict[tuple[int, int, int, int], str] = {}
        """(device, inode, bytes, mtime) → sha256 of files in find-links folders, hashed once per process."""
        self._stopped = threading.Event()
        """Set when the work was given up: downloads under way end at their next bytes."""
        self._dead: set[tuple[str, str, int]] = set()
        """Origins that did not answer; asked last from then on."""

    def open(self, file: File, /) -> BinaryIO:
        """``file`` as a seekable file on disk whose size and sha256 were verified; the caller closes it.

        Raises :class:`FetchError` when it cannot be had, or is not the file that was locked (THREATS W32).
        """
        if isinstance(file.location, Found):
            return self._find(file).open("rb")
        with self._lock(file.sha256):
            cached = self._cache.open(file.sha256, file.size)
            if cached is None:
                self._fetch(file)
                cached = self._cache.open(file.sha256, file.size)
        if cached is None:
            raise FetchError(
                Text("{file} vanished from the store while it was used", file=file.name), retryable=True
            )
        return cached

    def missing(self, files: Sequence[File]) -> tuple[File, ...]:
        """Those that would have to be fetched over the network."""
        return tuple(
            file
            for file in files
            if not isinstance(file.location, Found) and self._cache.find(file.sha256, file.size) is None
        )

    def prefetch(self, files: Sequence[File]) -> None:
        """Fetch what is not here yet, several at once, the largest first.

        Raises the first :class:`FetchError`, or all of them together; what came whole is kept.
        """
        problems = Problems()
        order = sorted(dict.fromkeys(files), key=lambda file: -(file.size or 0))
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            try:
                for error in pool.map(self._try, order):
                    if error is not None:
                        problems.add(error)
            except BaseException:  # an interrupt: leaving waits for the threads, so they are told to end
                self._stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        problems.check()

    def _try(self, file: File) -> TrainloadError | None:
        try:
            if isinstance(file.location, Found):
                path = self._find(file)
                self._reporter.report(Ended(file.sha256, file.name, How.PRESENT, path.stat().st_size))
                return None
            with self._lock(file.sha256):
                path_or_none = self._cache.find(file.sha256, file.size)
                if path_or_none is None:
                    self._fetch(file)
                else:
                    size = path_or_none.stat().st_size
                    self._reporter.report(Ended(file.sha256, file.name, How.PRESENT, size))
        except TrainloadError as error:
            return error
        return None

    def _lock(self, sha256: str) -> threading.Lock:
        with self._guard:
            return self._locks.setdefault(sha256, threading.Lock())

    def _find(self, file: File) -> Path:
        """``file`` in a find-links folder; another file of its name is refused."""
        wrong: tuple[Path, str] | None = None
        for folder in self._places.folders:
            path = folder / file.name
            if path.is_file():
                got = self._sha256(path)
                if got == file.sha256:
                    return path
                wrong = wrong or (path, got)
        hints = [Text("lock again: trainload lock"), Text("or put the locked file into a find-links folder")]
        if wrong is not None:
            text = Text("{path} is not the file that was locked", path=wrong[0])
            raise FetchError(text, got=f"sha256:{wrong[1]}", want=f"sha256:{file.sha256}", hints=hints)
        raise FetchError(
            Text("{file} lies in none of the find-links folders", file=file.name),
            got=", ".join(str(folder) for folder in self._places.folders) or "no folder",
            want=f"sha256:{file.sha256}",
            hints=hints,
        )

    def _sha256(self, path: Path) -> str:
        try:
            with path.open("rb") as opened:
                state = os.fstat(opened.fileno())
                key = (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)
                if key not in self._hashed:
                    self._hashed[key] = hashlib.file_digest(opened, "sha256").hexdigest()
        except OSError as error:
            raise FetchError(Text("{path} cannot be read", path=path), got=error.strerror) from error
        return self._hashed[key]

    def _fetch(self, file: File) -> None:
        """``file`` into the cache, from the first address that has its bytes."""
        if isinstance(file.location, Made):
            raise FetchError(
                Text("{file}, built from source, vanished from the store while it was used", file=file.name),
                hints=[Text("build again: it is made anew")],
                retryable=True,
            )
        if self._offline:
            raise FetchError(
                Text("{file} is not here, and nothing is fetched offline", file=file.name),
                hints=[Text("run once with a network: trainload build fetches all that is locked")],
            )
        addresses = self._addresses(file)
        self._reporter.report(Began(file.sha256, file.name, file.size))
        failures: list[FetchError] = []
        for index, url in enumerate(addresses):
            last = index + 1 == len(addresses)
            http = self._http if last else replace(self._http, retry=_QUICK, connect_timeout=5.0)
            try:
                size = self._download(file, url, http)
            except FetchError as error:
                failures.append(error)
                if error.retryable and not isinstance(error, WrongBytesError):
                    self._dead.add(origin(url))
            else:
                self._reporter.report(Ended(file.sha256, file.name, How.FETCHED, size))
                return
        self._reporter.report(Ended(file.sha256, file.name, How.FAILED))
        raise _worst(file, failures)

    def _addresses(self, file: File) -> list[str]:
        """Where the bytes may be had: mirrors first, silent hosts last."""
        match file.location:
            case Url(url):
                found = [
                    *(mirrored(url, mirror) for mirror in self._places.mirrors),
                    *interpreter.mirrored(file.name, self._places.interpreters),
                    url,
                ]
            case ArchivePath():
                found = list(self._places.archive_urls(file.location))
            case Found() | Made():
                found = []
        addresses = list(dict.fromkeys(address for address in found if address is not None))
        return sorted(addresses, key=lambda address: origin(address) in self._dead)

    def _download(self, file: File, url: str, http: Http) -> int:
        secret = self._places.credentials.get(origin(url))
        headers = {"Authorization": secret} if secret is not None else {}
        with self._cache.ingest(file.size) as ingest:
            progress = _Progress(ingest, file.sha256, self._reporter, self._stopped)
            http.download(
                url,
                progress.write,
                limit=self._limits.unpacked,
                restart=progress.restart,
                headers=headers,
                size=file.size,
            )
            try:
                return ingest.commit(Digest("sha256", file.sha256), file.size)[1]
            except DamagedError as error:
                raise WrongBytesError(file, url, str(error.got)) from error


class WrongBytesError(FetchError):
    """The bytes are not the ones that were locked; they were not kept (THREATS W32, D13)."""

    def __init__(self, file: File, url: str, got: str) -> None:
        super().__init__(
            Text("{file} is not the file that was locked; it was not kept", file=file.name),
            got=f"{got} from {shown(url)}",
            want=f"sha256:{file.sha256}",
            hints=[
                Text("somebody changed the file, or a mirror or proxy is broken: try another network or mirror"),
                Text("only if you trust the new file, lock it: trainload lock"),
            ],
        )


class _Progress:
    """Passes bytes on and tells how many they are."""

    def __init__(self, ingest: Ingest, task: str, reporter: Reporter, stopped: threading.Event) -> None:
        self._stopped = stopped
        self._ingest = ingest
        self._task = task
        self._reporter = reporter
        self._done = 0

    def write(self, data: bytes) -> None:
        if self._stopped.is_set():
            raise FetchError("fetching was stopped")
        self._ingest.write(data)
        self._done += len(data)
        self._reporter.report(Moved(self._task, self._done))

    def restart(self) -> None:
        self._ingest.restart()
        self._done = 0


def link_folders(root: Path, find_links: Sequence[str]) -> tuple[Path, ...]:
    """The find-links that are folders, absolute; addresses are left out."""
    return tuple((root / link).resolve() for link in find_links if "://" not in link)


def mirrored(url: str, mirror: str) -> str | None:
    """Where a mirror of the package index keeps the file at ``url``; None when it cannot be told.

    The index and its mirrors keep files under ``…/packages/`` with one layout, beside ``…/simple``; so
    ``https://mirror.example/pypi/simple`` has them at ``https://mirror.example/pypi/packages/…``.
    """
    path = urlsplit(url).path
    if not path.startswith("/packages/") or urlsplit(url).query:
        return None
    return mirror.rstrip("/").removesuffix("/simple") + path


def credentials(indexes: Sequence[str]) -> dict[tuple[str, str, int], str]:
    """The ``Authorization`` header for each origin among ``indexes`` that is written with a user and password."""
    return dict(_credentials(indexes))


def _credentials(indexes: Sequence[str]) -> Iterator[tuple[tuple[str, str, int], str]]:
    for index in indexes:
        parts = urlsplit(index)
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            yield origin(index), f"Basic {base64.b64encode(pair.encode()).decode()}"


def _worst(file: File, failures: Sequence[FetchError]) -> FetchError:
    """What to tell of several failures: wrong bytes first, then what the file's own address said."""
    if not failures:
        return FetchError(
            Text("no address of {file} is known", file=file.name),
            hints=[Text("set a mirror in [tool.trainload.mirrors]")],
        )
    for error in failures:
        if isinstance(error, WrongBytesError):
            return error
    last = failures[-1]
    if isinstance(last, StatusError) and last.status in (404, 410):
        return FetchError(
            Text("{file} is no longer where it was locked; its project may have withdrawn it", file=file.name),
            got=f"{last.text}: {last.got}",
            hints=[
                Text("take another version of it: trainload lock --upgrade NAME"),
                Text("or put the locked file into a find-links folder, if you still have it"),
            ],
        )
    return last

"""Locked files by their exact bytes: from find-links folders, the file cache, mirrors, or their own address.

Nothing is trusted but the lock's sha256: a broken or hostile mirror costs a moment, never a wrong byte.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote, urlsplit

from trainload.digest import Digest
from trainload.errors import FetchError, Problems, StoreError, Text, TrainloadError
from trainload.events import SILENT, Began, Ended, How, Moved, Reporter
from trainload.limits import DEFAULT, Limits
from trainload.lock.model import ArchivePath, ChannelPath, Commit, File, Found, HubPath, InProject, Made, Url
from trainload.resolve import interpreter
from trainload.resolve.failures import WrongBytesError, worst
from trainload.resolve.places import Places
from trainload.store.files import FileCache
from trainload.store.ingest import Ingest
from trainload.store.trouble import DamagedError
from trainload.system.http import CHUNK, Http, Retry, Transfer, origin
from trainload.system.wire import UnreachedError

if TYPE_CHECKING:
    from trainload.resolve.pour import Pouring

_AT_ONCE = 4  # small against what a mirror allows per client; more does not fill a link any further
_QUICK = Retry(tries=2, first=0.2)
"""For an address that has others after it."""


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
        self._wrong: set[tuple[str, str]] = set()
        """(address, sha256) of files that turned out to be others there."""
        self._silent: dict[frozenset[tuple[str, str, int]], FetchError] = {}
        """Origins none of which could be reached: what lies only there is not asked for any more."""
        self._stuck: StoreError | None = None
        """Why the store takes no file, such as a full disk."""
        self._failed: dict[str, FetchError] = {}
        """sha256 → why a file cannot be had: whoever waited for it need not try once more."""
        self._fetched: set[str] = set()
        """sha256 of what was fetched here: that it is present is no news."""

    def open(self, file: File, /) -> BinaryIO:
        """``file`` as a seekable file on disk whose size and sha256 were verified; the caller closes it.

        Raises :class:`FetchError` when it cannot be had, or is not the file that was locked (THREATS W32).
        """
        if isinstance(file.location, InProject):
            return self._of_project(file, file.location)
        with self._lock(file.sha256):
            if isinstance(file.location, Found):
                return self._find(file).open("rb")
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
            if not isinstance(file.location, Found | InProject) and self._cache.find(file.sha256, file.size) is None
        )

    def prefetch(self, files: Sequence[File]) -> None:
        """Fetch what is not here yet, several at once, the largest first. Who opens one meanwhile waits for it.

        Raises the first :class:`FetchError`, or all of them together; what came whole is kept. A network or a disk
        that fails for one file fails for all, so that is told once, and the rest is not tried.
        """
        problems = Problems()
        self._silent.clear()
        self._stuck = None
        order = sorted(dict.fromkeys(files), key=lambda file: -(file.size or 0))
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            try:
                for error in pool.map(self._try, order):
                    if error is not None and not any(_same(error, told) for told in problems.found):
                        problems.add(error)
            except BaseException:  # an interrupt: leaving waits for the threads, so they are told to end
                self._stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        problems.check()

    def pour(self, file: File, write: Callable[[bytes], object], earlier: Iterable[bytes] = ()) -> None:
        """Give the bytes of ``file`` to ``write`` in order, without keeping a copy; verified once the last came.

        A cut is gone on from, also at another address. ``earlier``: its first bytes, as a process before left them.
        Raises :class:`FetchError`; after :class:`WrongBytesError` what was written is worth nothing, and if it says
        so another call, without ``earlier``, may do better.
        """
        if (
            isinstance(file.location, Found | InProject | Commit)
            or self._cache.find(file.sha256, file.size) is not None
        ):
            with self.open(file) as stream:
                while data := stream.read(CHUNK):
                    write(data)
            return
        from trainload.resolve.pour import Pouring

        addresses = [url for url in self._reachable(file) if (url, file.sha256) not in self._wrong]
        self._reporter.report(Began(file.sha256, file.name, file.size))
        pouring = Pouring(file, write, self._reporter, self._stopped, self._limits.unpacked)
        pouring.begin(earlier)
        failures: list[FetchError] = []
        for index, url in enumerate(addresses):
            last = index + 1 == len(addresses)
            http = self._http if last else replace(self._http, retry=_QUICK, connect_timeout=5.0)
            try:
                pouring.go_on(http, url, self._headers(url), self._cache.tags)
            except FetchError as error:
                failures.append(error)
            else:
                self._end_of(file, url, pouring, others=not last)
                return
        self._reporter.report(Ended(file.sha256, file.name, How.FAILED))
        raise worst(file, failures)

    def _end_of(self, file: File, url: str, pouring: Pouring, *, others: bool) -> None:
        """Whether what came is the file."""
        self._cache.tags.forget(file.sha256)
        if pouring.sha256 == file.sha256:
            self._reporter.report(Ended(file.sha256, file.name, How.FETCHED, pouring.done))
            return
        self._reporter.report(Ended(file.sha256, file.name, How.FAILED))
        if not pouring.begun:  # else the fault may be in what was left here
            self._wrong.add((url, file.sha256))
        raise WrongBytesError(file, url, f"sha256:{pouring.sha256}", others=others or pouring.begun)

    def _try(self, file: File) -> TrainloadError | None:
        if self._stuck is not None:
            return self._stuck
        try:
            if isinstance(file.location, InProject):
                self._of_project(file, file.location).close()
                return None
            with self._lock(file.sha256):
                if isinstance(file.location, Found):
                    path = self._find(file)
                    self._reporter.report(Ended(file.sha256, file.name, How.PRESENT, path.stat().st_size))
                    return None
                path_or_none = self._cache.find(file.sha256, file.size)
                if path_or_none is None:
                    self._fetch(file)
                elif file.sha256 not in self._fetched:
                    size = path_or_none.stat().st_size
                    self._reporter.report(Ended(file.sha256, file.name, How.PRESENT, size))
        except StoreError as error:
            self._stuck = error
            return error
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
        cached = self._cache.find(file.sha256, file.size)  # of a folder of an image
        if cached is not None:
            return cached
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

    def _of_project(self, file: File, location: InProject) -> BinaryIO:
        found = self._places.local(location.path)
        if found is not None and found[1] == file.sha256:
            return found[0]
        if found is not None:
            found[0].close()
        raise FetchError(
            Text("{path} is not the file that was locked", path=location.path),
            got=f"sha256:{found[1]}" if found is not None else "no such file",
            want=f"sha256:{file.sha256}",
            hints=[Text("lock again: trainload lock")],
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
        """``file`` into the cache, from the first address that has its bytes. Called with its lock held."""
        if file.sha256 in self._failed:
            raise self._failed[file.sha256]
        if isinstance(file.location, Commit):
            self._of_repository(file, file.location)
            return
        addresses = self._reachable(file)
        origins = frozenset(map(origin, addresses))
        if origins in self._silent:
            raise self._silent[origins]
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
                self._fetched.add(file.sha256)
                self._reporter.report(Ended(file.sha256, file.name, How.FETCHED, size))
                return
        self._reporter.report(Ended(file.sha256, file.name, How.FAILED))
        told = worst(file, failures)
        if failures and all(isinstance(each, UnreachedError) for each in failures):
            told = self._silent.setdefault(origins, told)
        self._failed[file.sha256] = told
        raise told

    def _of_repository(self, file: File, location: Commit) -> None:
        from trainload.resolve.repository import Repositories, keep

        made = keep(Repositories(self._places.git, self._offline), location, self._cache, self._reporter)
        if made.sha256 != file.sha256:
            raise FetchError(
                Text("what {url} has for the commit is not what was locked", url=location.url),
                got=f"sha256:{made.sha256}", want=f"sha256:{file.sha256}",
                hints=[Text("lock again: trainload lock")],
            )  # fmt: skip

    def _reachable(self, file: File) -> list[str]:
        """Its addresses. Raises :class:`FetchError` when it is not to be had from anywhere."""
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
        return self._addresses(file)

    def _headers(self, url: str) -> dict[str, str]:
        secret = self._places.credentials.get(origin(url))
        return {**self._places.headers(url), **({"Authorization": secret} if secret is not None else {})}

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
            case ChannelPath():
                found = list(self._places.channel_urls(file.location))
            case HubPath():
                found = list(self._places.hub_urls(file.location))
            case Found() | Made() | InProject() | Commit():
                found = []
        addresses = list(dict.fromkeys(address for address in found if address is not None))
        return sorted(addresses, key=lambda address: origin(address) in self._dead)

    def _download(self, file: File, url: str, http: Http) -> int:
        if url.startswith("file:"):
            return self._copy(file, url)
        from trainload.resolve.tagged import tagged

        with self._cache.ingest(file.size, file.sha256) as ingest:
            while True:
                begun = ingest.adopt()
                progress = _Progress(ingest, file.sha256, self._reporter, self._stopped)
                if begun == 0 or begun != file.size:
                    transfer = Transfer(
                        url, progress.write, progress.restart, self._limits.unpacked, file.size, done=begun
                    )
                    http.bring(tagged(transfer, file, self._cache.tags), self._headers(url))
                self._cache.tags.forget(file.sha256)
                try:
                    return ingest.commit(Digest("sha256", file.sha256), file.size)[1]
                except DamagedError as error:
                    ingest.restart()
                    if not begun:  # else the fault may be in what was left here
                        raise WrongBytesError(file, url, str(error.got)) from error

    def _copy(self, file: File, url: str) -> int:
        """A file of this machine, which a mirror may be."""
        path = Path(unquote(urlsplit(url).path))
        try:
            with path.open("rb") as opened, self._cache.ingest(file.size) as ingest:
                progress = _Progress(ingest, file.sha256, self._reporter, self._stopped)
                while data := opened.read(1 << 20):
                    progress.write(data)
                try:
                    return ingest.commit(Digest("sha256", file.sha256), file.size)[1]
                except DamagedError as error:
                    raise WrongBytesError(file, url, str(error.got)) from error
        except OSError as error:
            raise FetchError(Text("{path} cannot be read", path=path), got=error.strerror) from error


def _same(one: TrainloadError, other: TrainloadError) -> bool:
    return one is other or (isinstance(one, StoreError) and one.text == other.text)


class _Progress:
    """Passes bytes on and tells how many they are."""

    def __init__(self, ingest: Ingest, task: str, reporter: Reporter, stopped: threading.Event) -> None:
        self._stopped = stopped
        self._ingest = ingest
        self._task = task
        self._reporter = reporter
        self._done = ingest.size

    def write(self, data: bytes) -> None:
        if self._stopped.is_set():
            raise FetchError("fetching was stopped")
        self._ingest.write(data)
        self._done += len(data)
        self._reporter.report(Moved(self._task, self._done))

    def restart(self) -> None:
        self._ingest.restart()
        self._done = 0


def mirrored(url: str, mirror: str) -> str | None:
    """Where a mirror of the package index keeps the file at ``url``; None when it cannot be told.

    The index and its mirrors keep files under ``…/packages/`` with one layout, beside ``…/simple``; so
    ``https://mirror.example/pypi/simple`` has them at ``https://mirror.example/pypi/packages/…``.
    """
    path = urlsplit(url).path
    if not path.startswith("/packages/") or urlsplit(url).query:
        return None
    return mirror.rstrip("/").removesuffix("/simple") + path

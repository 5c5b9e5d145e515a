"""Files of which nobody tells a hash: each comes once, into the store, and what came is what is locked."""

from __future__ import annotations

import threading
from pathlib import PurePosixPath
from types import TracebackType
from urllib.parse import unquote, urlsplit

from trainload.destinations.together import Stop
from trainload.digest import Digest
from trainload.errors import FetchError, Text
from trainload.events import Began, Ended, How, Moved, Reporter
from trainload.layers.wheel import read_metadata
from trainload.limits import Limits
from trainload.store.store import Store
from trainload.system.http import Http
from trainload.system.transfer import Transfer
from trainload.system.wire import version_of

Came = tuple[str, int]
"""The sha256 of a file, and its bytes."""


class Unhashed:
    """Brings files by their addresses, for several threads; used as a context manager, it stops them at its end."""

    def __init__(self, store: Store, http: Http, reporter: Reporter, limits: Limits) -> None:
        self.store, self.http, self.reporter = store, http, reporter
        self.limits = limits
        self.fetched: set[str] = set()
        """Addresses of what came now. The other files were here, and their servers say that they are the same."""
        self.stop = Stop()
        self._guard = threading.Lock()
        self._guards: dict[str, threading.Lock] = {}
        self._took: dict[str, Came] = {}

    def __enter__(self) -> Unhashed:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop.event.set()

    def take(self, url: str, name: str, size: int | None = None) -> Came:
        """The file at ``url``, which is in the store then; it comes once. Raises :class:`FetchError`."""
        with self._guard:
            guard = self._guards.setdefault(url, threading.Lock())
        with guard:
            if url not in self._took:
                self._took[url] = self._same(url) or self._fetch(url, name, size)
            return self._took[url]

    def metadata(self, url: str) -> bytes:
        """METADATA of the wheel at ``url``. Raises :class:`FetchError`, :class:`LayerError`."""
        name = unquote(PurePosixPath(urlsplit(url).path).name)
        sha256, size = self.take(url, name)
        stream = self.store.files.open(sha256, size)
        if stream is None:
            raise FetchError(Text("{file} was taken away", file=name))
        with stream:
            return read_metadata(stream, name, self.limits)

    def _same(self, url: str) -> Came | None:
        """What came from there before, if the server says it is still what is there, and it is here."""
        version = self.http.version(url)
        known = None if version is None else self.store.facts.said(_statement(url, version))
        if known is None:
            return None
        sha256, size = known.decode().split()
        return None if self.store.files.find(sha256, int(size)) is None else (sha256, int(size))

    def _fetch(self, url: str, name: str, size: int | None) -> Came:
        task = f"unhashed:{name}"
        versions: list[str | None] = []
        self.reporter.report(Began(task, name, size))
        try:
            with self.store.files.ingest() as ingest:

                def write(data: bytes) -> None:
                    self.stop.check()
                    ingest.write(data)
                    self.reporter.report(Moved(task, ingest.size))

                transfer = Transfer(url, write, ingest.restart, self.limits.unpacked, None)
                self.http.bring(transfer, told=lambda headers: versions.append(version_of(headers)))
                digest, size = ingest.commit()
            if len(versions) == 1 and versions[0] is not None:  # of several answers the rest may be another's
                self.store.facts.note(_statement(url, versions[0]), f"{digest.hex} {size}".encode())
        except BaseException:
            self.reporter.report(Ended(task, name, How.FAILED))
            raise
        self.reporter.report(Ended(task, name, How.FETCHED, size))
        self.fetched.add(url)
        return digest.hex, size


def _statement(url: str, version: str) -> Digest:
    return Digest.of(f"what came from {url} as {version}".encode())

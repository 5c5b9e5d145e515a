"""A file on its way to where it is needed, with no copy kept: it goes on where it stopped, at whichever address."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping

from trainload.errors import FetchError
from trainload.events import Moved, Reporter
from trainload.lock.model import File
from trainload.resolve.tagged import tagged
from trainload.store.parts import Tags
from trainload.system.http import Http, Transfer


class Pouring:
    """The bytes of one file, in order and each once, whatever servers send again."""

    def __init__(
        self,
        file: File,
        write: Callable[[bytes], object],
        reporter: Reporter,
        stopped: threading.Event,
        limit: int,
    ) -> None:
        self._file = file
        self._write = write
        self._reporter = reporter
        self._stopped = stopped
        self._limit = limit
        self._hash = hashlib.sha256()
        self._again = 0
        """Bytes that were passed on already and come once more, from a server that knows no ranges."""
        self.done = 0
        """Bytes passed on."""
        self.begun = False
        """Some of them are what an earlier process left."""

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    @property
    def whole(self) -> bool:
        return self.done > 0 and self.done == self._file.size

    def begin(self, earlier: Iterable[bytes]) -> None:
        """Take what an earlier process left: its first bytes."""
        for data in earlier:
            self._take(data[: (self._file.size or 0) - self.done])
        self.begun = self.done > 0

    def go_on(self, http: Http, url: str, headers: Mapping[str, str], tags: Tags) -> None:
        """Take the rest from ``url``. Raises :class:`FetchError`; another address may have what is missing then."""
        if self.whole:
            return
        self._again = 0
        transfer = Transfer(url, self._take, self._from_the_first, self._limit, self._file.size, done=self.done)
        http.bring(tagged(transfer, self._file, tags), headers)

    def _take(self, data: bytes) -> None:
        if self._stopped.is_set():
            raise FetchError("fetching was stopped")
        if self._again:
            known = min(self._again, len(data))
            self._again -= known
            data = data[known:]
        if data:
            self._hash.update(data)
            self._write(data)
            self.done += len(data)
            self._reporter.report(Moved(self._file.sha256, self.done))

    def _from_the_first(self) -> None:
        """What was passed on cannot be taken back, and is checked by the hash of the whole in the end."""
        self._again = self.done

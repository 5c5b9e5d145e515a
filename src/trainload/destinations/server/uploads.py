"""Blobs on their way in: sessions that outlive a connection, so that a client whose connection was cut goes on.

Each session has a lease of its own in the store, so gc leaves its bytes alone; it ends with the blob in its place,
when it is cancelled, after an hour without a request, or with the server. A ``kill -9`` frees the lease as for any
process.
"""

from __future__ import annotations

import secrets
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from trainload.destinations.server.messages import refuse
from trainload.digest import Digest
from trainload.store.ingest import Ingest
from trainload.store.store import Store

IDLE = 3600.0
"""Seconds without a request after which a session is given up."""
MOST = 256
"""Sessions at once: each has two open files."""
_PATIENCE = 10.0
"""Seconds an interrupted request has to let go."""


class Upload:
    """One blob on its way into a repository."""

    def __init__(self, session: str, repository: str, store: Store, ingest: Ingest) -> None:
        self.session = session
        self.repository = repository
        self.store = store
        self.ingest = ingest
        self.touched = time.monotonic()
        self.over = False
        self._turn = threading.Lock()
        self._guard = threading.Lock()
        self._interrupt: Callable[[], object] | None = None

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self.ingest.size

    @contextmanager
    def turn(self, interrupt: Callable[[], object]) -> Iterator[None]:
        """One request at a time adds bytes. A new one ends the one before: its client gave up on that connection.

        ``interrupt`` ends the request that now begins. Raises :class:`Refusal` when the session is over.
        """
        with self._guard:
            before, self._interrupt = self._interrupt, interrupt
        if before is not None:
            before()
        if not self._turn.acquire(timeout=_PATIENCE):
            raise refuse(409, "BLOB_UPLOAD_INVALID", "another request is still sending to this upload")
        try:
            if self.over:
                raise unknown(self.session)
            yield
        finally:
            self.touched = time.monotonic()
            with self._guard:
                if self._interrupt is interrupt:
                    self._interrupt = None
            self._turn.release()

    def end(self) -> None:
        """Give back what was not committed, and the lease; the caller has the turn, or nobody else can."""
        self.over = True
        self.ingest.drop()
        self.store.close()

    def stop(self) -> None:
        """End it from outside, whatever it is at."""
        with self._guard:
            before = self._interrupt
        if before is not None:
            before()
        with self._turn:
            if not self.over:
                self.end()


class Uploads:
    """All sessions of a server; safe for threads."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._guard = threading.Lock()
        self._open: dict[str, Upload] = {}

    def start(self, repository: str, algorithm: str = "sha256", size: int | None = None) -> Upload:
        """A new session; ``size``: bytes to come, if known.

        Raises :class:`Refusal` for too many, :class:`StoreError` for a disk that is full.
        """
        self.expire()
        with self._guard:
            if len(self._open) >= MOST:
                raise refuse(429, "TOOMANYREQUESTS", f"{MOST} uploads are going on", Retry_After="30")
            session = str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))
            store = Store.open(self._home)
            try:
                upload = Upload(session, repository, store, store.begin(size, algorithm))
            except BaseException:
                store.close()
                raise
            self._open[session] = upload
        return upload

    def find(self, repository: str, session: str) -> Upload:
        """Raises :class:`Refusal` when the repository has no such session."""
        upload = self._open.get(session)
        if upload is None or upload.repository != repository:
            raise unknown(session)
        return upload

    def commit(self, upload: Upload, want: Digest) -> int:
        """Put the bytes into the store as ``want``, which gc leaves alone until :meth:`end`; returns their number.

        Raises :class:`DamagedError` for bytes that have another digest.
        """
        return upload.ingest.commit(want)[1]

    def end(self, upload: Upload) -> None:
        """Forget a session; the caller has the turn."""
        with self._guard:
            self._open.pop(upload.session, None)
        upload.end()

    def expire(self) -> None:
        """Give up sessions that nobody asked about for an hour."""
        before = time.monotonic() - IDLE
        with self._guard:
            old = [one for one in self._open.values() if one.touched < before]
            for upload in old:
                del self._open[upload.session]
        for upload in old:
            upload.stop()

    def close(self) -> None:
        """Give up all sessions."""
        with self._guard:
            left = list(self._open.values())
            self._open.clear()
        for upload in left:
            upload.stop()


def unknown(session: str) -> Exception:
    return refuse(404, "BLOB_UPLOAD_UNKNOWN", f"there is no upload {session[:100]}")

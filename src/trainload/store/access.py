"""Write access to a store: one lease for all threads, taken with the first write, given back at the end."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainload.store.content import sync_folder
from trainload.store.index import EMPTY
from trainload.store.layout import MARKER, OCI_LAYOUT, Layout, check_readable
from trainload.store.locks import index_lock
from trainload.store.session import Session
from trainload.store.trouble import told


class Access:
    """May be opened and closed again and again; safe for threads."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._guard = threading.RLock()
        self._open: Session | None = None

    def is_open(self) -> bool:
        """Whether there is a lease."""
        return self._open is not None

    def session(self) -> Session:
        """The lease; the first call takes it, and makes the store if it is new.

        Raises :class:`StoreError` when the store may not be written or belongs to another user.
        """
        with self._guard:
            if self._open is None:
                check_readable(self._layout)
                session = Session.start(self._layout)
                try:
                    self._finish_making(session)
                except BaseException:
                    session.end()
                    raise
                self._open = session
            return self._open

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A lease while inside; whoever is outermost gives it back."""
        with self._guard:
            outer = self._open is None
            self.session()
        try:
            yield
        finally:
            if outer:
                self.close()

    def close(self) -> None:
        """Give the lease back, if there is one."""
        with self._guard:
            session, self._open = self._open, None
        if session is not None:
            session.end()

    def _finish_making(self, session: Session) -> None:
        """The files that make a folder an OCI image layout and a store; the marker is the last."""
        layout = self._layout
        if layout.marker.exists():
            return
        with index_lock(layout):
            for path, content in (
                (layout.oci_layout, OCI_LAYOUT), (layout.index, EMPTY), (layout.marker, MARKER)
            ):  # fmt: skip
                if not path.exists():
                    put_in_place(layout, session, path, content)


def put_in_place(layout: Layout, session: Session, path: Path, data: bytes) -> None:
    """Put ``data`` in the place of ``path`` in one step, durably."""
    temporary = session.temporary()
    with told(layout.home, need=len(data)):
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            try:
                os.fchmod(fd, 0o644)
                view = memoryview(data)
                while view:
                    view = view[os.write(fd, view) :]
                os.fsync(fd)
            finally:
                os.close(fd)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)

"""Locks that the kernel frees when their holder dies: ``flock`` on small files under ``locks/``."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from trainload.errors import StoreError, Text
from trainload.store.layout import Layout
from trainload.store.trouble import told

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


def open_lock(path: Path) -> int:
    """A descriptor of the lock file ``path``, made when it is missing; usable whatever the umask."""
    fd = os.open(path, _FLAGS, 0o600)
    if os.fstat(fd).st_mode & 0o600 != 0o600:
        os.fchmod(fd, 0o600)
    return fd


def try_lock(fd: int, *, shared: bool = False) -> bool:
    """Whether the lock was free and is ours now."""
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def index_lock(layout: Layout) -> Iterator[None]:
    """Only one process changes ``index.json`` (I4)."""
    with _locked(layout, "index", fcntl.LOCK_EX):
        yield


@contextmanager
def against_gc(layout: Layout) -> Iterator[None]:
    """gc waits while we look whether a blob is there and write down that we need it (I5); held for microseconds."""
    with _locked(layout, "gc", fcntl.LOCK_SH):
        yield


@contextmanager
def for_gc(layout: Layout) -> Iterator[None]:
    """Nobody starts to need a blob while gc decides what nobody needs."""
    with _locked(layout, "gc", fcntl.LOCK_EX):
        yield


@contextmanager
def named_lock(layout: Layout, name: str, waiting: Callable[[], object] | None = None) -> Iterator[None]:
    """Only one process and thread does the work called ``name``; ``waiting`` is called when another does it now.

    The lock file is removed by its holder; whoever got hold of a removed one tries again.
    """
    path = layout.locks / f"work-{hashlib.sha256(name.encode()).hexdigest()[:32]}"
    with told(layout.home):
        fd = _acquire(path, waiting)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(fd)


def is_free(path: Path, *, remove: bool = False) -> bool:
    """Whether nobody holds the lock file ``path``, or it is not there; a free one is removed if asked."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return True
    try:
        if not try_lock(fd):
            return False
        if remove and still_there(path, fd):
            path.unlink()
        return True
    finally:
        os.close(fd)


def check_locks_work(layout: Layout) -> None:
    """Raises :class:`StoreError` on a file system whose locks do not hold (fault 6: some network mounts)."""
    with told(layout.home):
        first = open_lock(layout.locks / "index")
        try:
            second = open_lock(layout.locks / "index")
            try:
                works = not (try_lock(first) and try_lock(second))
            except OSError:
                works = False
            finally:
                os.close(second)
        finally:
            os.close(first)
    if not works:
        raise StoreError(
            Text("the file system under the store {home} does not support locks", home=layout.home),
            hints=[Text("set TRAINLOAD_HOME to a folder on a local disk")],
        )


@contextmanager
def _locked(layout: Layout, name: str, how: int) -> Iterator[None]:
    with told(layout.home):
        fd = open_lock(layout.locks / name)
    try:
        with told(layout.home):
            fcntl.flock(fd, how)
        yield
    finally:
        os.close(fd)


def _acquire(path: Path, waiting: Callable[[], object] | None) -> int:
    while True:
        fd = open_lock(path)
        try:
            if not try_lock(fd):
                if waiting is not None:
                    waiting()
                    waiting = None
                fcntl.flock(fd, fcntl.LOCK_EX)
            if still_there(path, fd):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def still_there(path: Path, fd: int) -> bool:
    """Whether ``path`` still names the file that ``fd`` is."""
    try:
        there = path.lstat()
    except FileNotFoundError:
        return False
    ours = os.fstat(fd)
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)

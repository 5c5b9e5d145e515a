"""Blobs on their way in: what is there, what is there in part, and the store's recipe for the rest.

Bytes that came stay in ``incoming/HEX`` when the connection ends, and are hashed again before anything is added to
them. A complete blob is hashed, synced and only then renamed to where it counts (THREATS S04).
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from trainload.runner.home import Home, sync, try_lock
from trainload.runner.trouble import Trouble, trouble_of

SEALED = 1_000_000_000
"""Modification time of a committed blob, in nanoseconds (trainload.store.content)."""
_PIECE = 1 << 20
_OPEN = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_TRIES, _PAUSE = 20, 0.1
"""Times and seconds to wait for the runner of a connection that was just cut."""


class Incoming:
    """A blob that is not whole yet."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd
        self._hash = hashlib.sha256()
        self.size = 0

    def hash_again(self) -> str:
        """Read what is there; its hash."""
        os.lseek(self._fd, 0, os.SEEK_SET)
        while True:
            piece = os.read(self._fd, _PIECE)
            if not piece:
                return self._hash.hexdigest()
            self._hash.update(piece)
            self.size += len(piece)

    def restart(self) -> None:
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> None:
        """Raises :class:`Trouble` when the disk refuses; what came is removed then (THREATS S06)."""
        view = memoryview(data)
        try:
            while view:
                done = os.write(self._fd, view)
                self._hash.update(view[:done])
                self.size += done
                view = view[done:]
        except OSError as error:
            self.drop()
            raise trouble_of(error) from error

    def commit(self, home: Home, digest: str, size: int) -> None:
        """Raises :class:`Trouble` when it is not what was promised; it is removed then."""
        if self.size != size or self._hash.hexdigest() != digest.split(":")[1]:
            got = f"sha256:{self._hash.hexdigest()}"
            self.drop()
            raise Trouble("bytes", digest=digest, said=got)
        try:
            os.fchmod(self._fd, 0o444)
            os.utime(self._fd, ns=(SEALED, SEALED))
            os.fsync(self._fd)
            with home.lock("gc", shared=True):
                home.hold(digest)
                self.path.rename(home.blobs / digest.split(":")[1])
        except OSError as error:
            self.drop()
            raise trouble_of(error) from error
        self.close()

    def drop(self) -> None:
        if self.path.exists():
            self.path.unlink()
        self.close()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Blobs:
    """What a store has of the blobs that are asked for."""

    def __init__(self, home: Home, *, writing: bool) -> None:
        self._home = home
        self._writing = writing
        self._partial: dict[str, Incoming] = {}

    def look(self, wanted: Iterable[Any]) -> dict[str, object]:
        """Digests that are here, whole and unchanged; of others, what came of them: bytes and their hash."""
        have: list[str] = []
        partial: dict[str, tuple[int, str]] = {}
        for digest, size in wanted:
            if self._is_here(digest, size):
                have.append(digest)
                continue
            path = self._home.incoming / digest.split(":")[1]
            if not self._writing:
                if path.exists() and path.stat().st_size <= size:
                    partial[digest] = (path.stat().st_size, "")
                continue
            if path.exists():
                known = self._taken_up(digest)
                hashed = known.hash_again()
                if 0 < known.size <= size:
                    partial[digest] = (known.size, hashed)
        return {"have": have, "partial": partial, "free": self._free()}

    def receive(self, digest: str, size: int, offset: int, pieces: Callable[[], bytes]) -> None:
        """Take a blob's bytes from ``offset`` on; ``pieces`` gives the next ones. Raises :class:`Trouble`."""
        incoming = self._partial.pop(digest, None) or self._taken_up(digest, keep=False)
        try:
            if offset == 0:
                incoming.restart()
            elif offset != incoming.size:
                raise Trouble("bytes", digest=digest, said=f"{incoming.size} bytes")
            while incoming.size < size:
                incoming.write(pieces())
            incoming.commit(self._home, digest, size)
        finally:
            incoming.close()

    def need(self, wanted: Iterable[Any]) -> dict[str, int]:
        """Hold all these blobs, and make their names durable; the caller has the gc lock.

        Raises :class:`Trouble` for one that is not here.
        """
        sizes = {}
        for digest, size in wanted:
            path = self._home.blobs / digest.split(":")[1]
            if not path.is_file() or path.lstat().st_size != size:
                raise Trouble("missing", digest=digest)
            self._home.hold(digest)
            sizes[digest] = path.lstat().st_size
        sync(self._home.blobs)
        return sizes

    def clear(self) -> None:
        """Remove parts that nobody is at: an image is in, and most likely they were of the one before it."""
        with self._home.lock("gc"):  # nobody takes one up meanwhile
            for name in os.listdir(self._home.incoming):
                path = self._home.incoming / name
                fd = os.open(str(path), os.O_RDONLY | os.O_NOFOLLOW)
                try:
                    if try_lock(fd):
                        path.unlink()
                finally:
                    os.close(fd)

    def empty(self) -> None:
        """Remove all that came, unless somebody else is at it too; who goes last does. Our lease ends by it."""
        with self._home.lock("gc"):
            self._home.end()
            if self._home.is_alone():
                for folder in (self._home.blobs, self._home.incoming):
                    for name in os.listdir(folder):
                        (folder / name).unlink()

    def close(self) -> None:
        for incoming in self._partial.values():
            incoming.close()

    def _is_here(self, digest: str, size: int) -> bool:
        """Whether it is committed; gc leaves it alone from now on."""
        path = self._home.blobs / digest.split(":")[1]
        if not self._writing:
            return _sound(path, digest, size)
        with self._home.lock("gc", shared=True):
            if not path.exists():
                return False
            self._home.hold(digest)
        return _sound(path, digest, size)

    def _taken_up(self, digest: str, *, keep: bool = True) -> Incoming:
        """The blob's file, which nobody else writes to meanwhile; another one when somebody does."""
        path = self._home.incoming / digest.split(":")[1]
        for _ in range(_TRIES):
            with self._home.lock("gc", shared=True):
                fd = os.open(str(path), _OPEN, 0o600)
                if try_lock(fd):
                    break
                os.close(fd)
            time.sleep(_PAUSE)
        else:
            path = self._home.temporary()
            fd = os.open(str(path), _OPEN, 0o600)
        incoming = Incoming(path, fd)
        if keep:
            self._partial[digest] = incoming
        return incoming

    def _free(self) -> int:
        """Bytes that can still be written."""
        folder = self._home.path
        while not folder.exists():
            folder = folder.parent
        state = os.statvfs(str(folder))
        return state.f_bavail * state.f_frsize


def _sound(path: Path, digest: str, size: int) -> bool:
    """A regular file of that size that nobody wrote to since it was committed; where its time moved, it is read."""
    try:
        state = path.lstat()
    except OSError:
        return False
    if not stat.S_ISREG(state.st_mode) or state.st_size != size:
        return False
    if state.st_mtime_ns == SEALED:
        return True
    hashed = hashlib.sha256()
    with path.open("rb") as file:
        for piece in iter(lambda: file.read(_PIECE), b""):
            hashed.update(piece)
    return hashed.hexdigest() == digest.split(":")[1]

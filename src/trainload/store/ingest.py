"""Bytes on their way into the store: hashed as they come, on the disk before their digest names them."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from trainload.digest import Digest
from trainload.errors import Text
from trainload.limits import KiB, MiB
from trainload.store.layout import Layout
from trainload.store.locks import against_gc
from trainload.store.parts import WORTH, Earlier, Part
from trainload.store.session import Session
from trainload.store.trouble import DamagedError, told
from trainload.store.writeback import begin_writeback
from trainload.values import dataclass

_CHUNK = 1 << 20
_PIECE, _LARGE = 256 * KiB, 64 * KiB
"""Hashed and written at once: what was just received or made is still in the processor's cache."""
_WRITEBACK = 8 * MiB
SEALED = 1_000_000_000
"""Nanoseconds since the epoch: one second, as in the Nix store; 0 is taken for "unknown" by some tools."""
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Way:
    """Where bytes go."""

    layout: Layout
    session: Session
    target: Callable[[Digest], Path]
    """What a digest's file is called."""


class Ingest:
    """Bytes on their way in; a :class:`trainload.layers.model.ByteSink`. For one thread."""

    def __init__(self, way: Way, size: int | None, algorithm: str, part: Part | None = None) -> None:
        self._layout = layout = way.layout
        self._session = way.session
        self._target = way.target
        self._expected, self._algorithm = size, algorithm
        self._part = part
        self._path = way.session.temporary() if part is None else part.path
        self._there = 0 if part is None else part.size
        """Bytes in the file from an earlier try; what is written must be the same, or goes over them."""
        self._hash = hashlib.new(algorithm)
        self._waiting = bytearray()
        self._size = 0
        self._begun = 0
        """Bytes whose way to the disk has begun."""
        with told(layout.home, need=size):
            self._fd = (
                os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                if part is None
                else part.fd
            )

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._size + len(self._waiting)

    def write(self, data: bytes | bytearray | memoryview, /) -> int:
        """Take the next bytes. Raises :class:`StoreError` when the disk is full."""
        if len(data) >= _LARGE:
            self.flush()
            self._out(data)
        else:
            self._waiting += data
            if len(self._waiting) >= _PIECE:
                self.flush()
        return len(data)

    def adopt(self) -> int:
        """Take what an earlier try left as written; bytes written by now."""
        with told(self._layout.home), open(self._fd, "rb", closefd=False) as file:
            file.seek(0)
            while self._size < self._there and (chunk := file.read(min(_CHUNK, self._there - self._size))):
                self._hash.update(chunk)
                self._size += len(chunk)
            os.lseek(self._fd, self._size, os.SEEK_SET)
        self._begun = self._size
        return self._size

    def earlier(self) -> Earlier | None:
        """What an earlier try left, for reading while the same is written again; the caller closes it."""
        return Earlier(self._path, self._there) if self._there else None

    def restart(self) -> None:
        """Forget everything written so far: the same bytes come again from the first one."""
        with told(self._layout.home):
            os.ftruncate(self._fd, 0)
            os.lseek(self._fd, 0, os.SEEK_SET)
        self._hash = hashlib.new(self._algorithm)
        self._waiting = bytearray()
        self._size = self._begun = self._there = 0

    def seal(self, want: Digest | None = None, size: int | None = None) -> tuple[Digest, int]:
        """End the writing, with nothing committed yet; returns digest and number of bytes.

        The file is closed, so that thousands can wait for the last of them: ``open`` reads what waits, ``commit``
        commits it. Raises :class:`DamagedError` when it is not ``size`` bytes or not ``want``.
        """
        digest = self._finished(want, size)
        self._close()
        return digest, self._size

    def open(self) -> BinaryIO:
        """What was sealed, for reading; the caller closes it."""
        with told(self._layout.home):
            return os.fdopen(os.open(self._path, READ), "rb")

    def commit(self, want: Digest | None = None, size: int | None = None) -> tuple[Digest, int]:
        """Put the bytes under their digest; returns it and their number.

        They are on the disk then; their name is, at the latest, when an image is named that needs them.
        Raises :class:`DamagedError` when they are not ``size`` bytes or not ``want``, :class:`StoreError` when the
        disk fails; then nothing is kept.
        """
        digest = self._finished(want, size)
        target = self._target(digest)
        with told(self._layout.home, need=self._expected):
            if self._fd < 0:
                self._fd = os.open(self._path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            os.fchmod(self._fd, 0o444)
            os.utime(self._fd, ns=(SEALED, SEALED))
            if not _same(target, self._size):
                os.fsync(self._fd)
        with against_gc(self._layout):
            self._session.hold(digest)
            with told(self._layout.home):
                if _same(target, self._size):
                    self._path.unlink()
                else:
                    self._path.replace(target)
        self._close()  # only now: until then the lock on a part keeps others away from it
        return digest, self._size

    def drop(self) -> None:
        """Remove what was not committed, unless it is a part that is worth keeping; harmless afterwards."""
        if self._part is None:
            self._path.unlink(missing_ok=True)
        elif self._fd >= 0 and os.fstat(self._fd).st_size < WORTH:
            self._path.unlink(missing_ok=True)  # while it is ours: later it may be somebody else's
        self._close()
        self._waiting = bytearray()

    def _finished(self, want: Digest | None, size: int | None) -> Digest:
        """The digest of all that was written, which must be what was promised."""
        self.flush()
        if self._size < self._there:
            with told(self._layout.home):
                os.ftruncate(self._fd, self._size)
        if want is not None and want.algorithm != self._algorithm:
            self._hash_with(want.algorithm)
        digest = Digest(self._algorithm, self._hash.hexdigest())
        if size is not None and size != self._size:
            raise _not_promised(f"{self._size:,} bytes", f"{size:,} bytes")
        if want is not None and want != digest:
            raise _not_promised(str(digest), str(want))
        return digest

    def flush(self) -> None:
        """Give what waits in memory to the file: before a pause."""
        if self._waiting:
            self._out(self._waiting)
            self._waiting = bytearray()

    def _hash_with(self, algorithm: str) -> None:
        """Nobody said that the digest would be of another kind: read the bytes again."""
        with told(self._layout.home), open(self._fd, "rb", closefd=False) as file:
            file.seek(0)
            self._hash = hashlib.file_digest(file, algorithm)
        self._algorithm = algorithm

    def _out(self, data: bytes | bytearray | memoryview) -> None:
        self._hash.update(data)
        view = memoryview(data)
        need = max(self._expected or 0, self._size + len(data))
        with told(self._layout.home, need=need):
            if self._size < self._there:
                view = self._unknown(view)
            self._size += len(data)
            while view:
                view = view[os.write(self._fd, view) :]
        if self._size - self._begun >= _WRITEBACK:
            begin_writeback(self._fd, self._begun, self._size - self._begun)
            self._begun = self._size

    def _unknown(self, view: memoryview) -> memoryview:
        """What of it does not lie there already."""
        old = os.pread(self._fd, min(len(view), self._there - self._size), self._size)
        same = len(old) if view[: len(old)] == old else 0
        if not same:
            os.ftruncate(self._fd, self._size)
            self._there = self._size
        os.lseek(self._fd, self._size + same, os.SEEK_SET)
        return view[same:]

    def _close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


def _not_promised(got: str, want: str) -> DamagedError:
    return DamagedError(Text("the bytes are not the ones that were promised"), got=got, want=want, retryable=True)


def _same(target: Path, size: int) -> bool:
    """Whether a sealed file of that size lies there; anything else is replaced by the bytes we just hashed."""
    try:
        state = target.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(state.st_mode) and state.st_size == size and state.st_mtime_ns == SEALED

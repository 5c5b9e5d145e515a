"""Files named by the hash of their bytes, a folder for each algorithm, and the one way in (THREATS §4).

A committed file is 0444 and its modification time is :data:`SEALED`: whatever was written to it afterwards
moved that time, so it is hashed again before it is used (L03, I11). Bytes that rotted below the file system
keep their time; they are found by every read of the whole and by ``verify --full``.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from trainload.digest import Digest
from trainload.errors import Place, StoreError, Text
from trainload.limits import KiB, MiB
from trainload.store.layout import Layout, kind_of
from trainload.store.locks import against_gc
from trainload.store.session import Session
from trainload.store.trouble import DamagedError, MissingError, free_bytes, full, told
from trainload.store.writeback import begin_writeback

CHUNK = 1 << 20
_PIECE, _LARGE = 256 * KiB, 64 * KiB
"""Hashed and written at once: what was just received or made is still in the processor's cache."""
_WRITEBACK = 8 * MiB
SEALED = 1_000_000_000
"""Nanoseconds since the epoch: one second, as in the Nix store; 0 is taken for "unknown" by some tools."""
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Content:
    """Committed files; ``folders``: algorithm → ``blobs/sha256``, ``blobs/sha512`` or ``files/sha256``."""

    def __init__(self, layout: Layout, folders: Mapping[str, Path], session: Callable[[], Session]) -> None:
        self._layout = layout
        self.folders = folders
        self._session = session

    def path(self, digest: Digest) -> Path:
        """Where ``digest`` lies or would lie. Raises :class:`StoreError` for an algorithm we do not store."""
        folder = self.folders.get(digest.algorithm)
        if folder is None:
            raise StoreError(
                Text("the store does not keep files by this kind of digest"),
                got=digest, want=", ".join(sorted(self.folders)),
            )  # fmt: skip
        return folder / digest.hex

    def has(self, digest: Digest, size: int | None = None) -> bool:
        """Whether it lies here as a regular file (of ``size`` bytes); its bytes are not looked at."""
        try:
            state = self.path(digest).lstat()
        except OSError:
            return False
        return stat.S_ISREG(state.st_mode) and size in (None, state.st_size)

    def open(self, digest: Digest) -> BinaryIO:
        """The file for reading; the caller closes it and checks what it reads.

        Raises :class:`MissingError`; :class:`DamagedError` for anything but a regular file (L01).
        """
        path = self.path(digest)
        try:
            fd = os.open(path, _READ)
        except FileNotFoundError:
            raise missing(digest, path) from None
        except OSError as error:
            if path.is_symlink():
                raise _not_regular(path, path.lstat().st_mode) from error
            with told(self._layout.home):
                raise
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode):
            os.close(fd)
            raise _not_regular(path, mode)
        return os.fdopen(fd, "rb")

    def read(self, digest: Digest, limit: int) -> bytes:
        """Its bytes, hashed. Raises also :class:`DamagedError`, and :class:`StoreError` beyond ``limit`` bytes."""
        with self.open(digest) as file, told(self._layout.home):
            data = file.read(limit + 1)
        if len(data) > limit:
            raise StoreError(
                Text("the blob {digest} is larger than it may be", digest=digest.short),
                place=Place(str(self.path(digest))),
                want=f"at most {limit:,} bytes",
            )
        if not digest.matches(data):
            raise damaged(digest, self.path(digest))
        return data

    def sound(self, digest: Digest, size: int | None = None) -> bool:
        """Whether it lies here, has ``size`` bytes and was not written to since it was committed.

        A file whose time moved (somebody wrote to it, or copied the store) is hashed.
        """
        try:
            state = self.path(digest).lstat()
        except OSError:
            return False
        if not stat.S_ISREG(state.st_mode) or size not in (None, state.st_size):
            return False
        return state.st_mtime_ns == SEALED or self.matches(digest)

    def matches(self, digest: Digest) -> bool:
        """Whether its bytes have the digest of its name: every byte is read."""
        state = hashlib.new(digest.algorithm)
        with self.open(digest) as file, told(self._layout.home):
            while chunk := file.read(CHUNK):
                state.update(chunk)
        return state.hexdigest() == digest.hex

    def held(self, digest: Digest, size: int | None = None) -> bool:
        """As :meth:`sound`, and from now on gc leaves it alone while our session lasts; damage is put aside."""
        session = self._session()
        with against_gc(self._layout):
            if not self.has(digest):
                return False
            session.hold(digest)
        if not self.sound(digest):
            self.put_aside(digest)
            return False
        self._seal_again(digest)
        return self.has(digest, size)

    def put_aside(self, digest: Digest) -> None:
        """Move a damaged file out of the way, so that it is made or fetched again (I11)."""
        with told(self._layout.home):
            if not self._layout.damaged.is_dir():
                self._layout.damaged.mkdir(exist_ok=True)
                self._layout.damaged.chmod(0o755)
            self.path(digest).replace(self._layout.damaged / digest.hex)

    @contextmanager
    def ingest(self, size: int | None = None) -> Iterator[Ingest]:
        """A new file: ``write`` its bytes, then ``commit`` it; left without commit, nothing remains.

        ``size``: bytes to come, if known; a disk that cannot hold them is told before the first byte.
        """
        ingest = self.begin(size)
        try:
            yield ingest
        finally:
            ingest.drop()

    def begin(self, size: int | None = None, algorithm: str = "sha256") -> Ingest:
        """As :meth:`ingest`, for bytes that come in several goes; the caller ends it with ``commit`` or ``drop``.

        ``algorithm``: the one the digest will probably have; its hash is made on the way.
        """
        self.check_room(size)
        return Ingest(self, self._layout, self._session(), size, algorithm)

    def check_room(self, size: int | None) -> None:
        """Raises :class:`StoreError` when the disk cannot hold ``size`` more bytes."""
        self._session()  # makes the folder
        free = free_bytes(self._layout.temporary) if size else None
        if size is not None and free is not None and free < size:
            raise full(self._layout.home, size)

    def _seal_again(self, digest: Digest) -> None:
        path = self.path(digest)
        with told(self._layout.home):
            if path.lstat().st_mtime_ns != SEALED:
                os.utime(path, ns=(SEALED, SEALED), follow_symlinks=False)


class Ingest:
    """Bytes on their way in; a :class:`trainload.layers.model.ByteSink`. For one thread."""

    def __init__(
        self, content: Content, layout: Layout, session: Session, size: int | None, algorithm: str
    ) -> None:
        self._content = content
        self._layout = layout
        self._session = session
        self._expected = size
        self._path = session.temporary()
        self._algorithm = algorithm
        self._hash = hashlib.new(algorithm)
        self._waiting = bytearray()
        self._size = 0
        self._begun = 0
        """Bytes whose way to the disk has begun."""
        with told(layout.home, need=size):
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

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

    def restart(self) -> None:
        """Forget everything written so far: the same bytes come again from the first one."""
        with told(self._layout.home):
            os.ftruncate(self._fd, 0)
            os.lseek(self._fd, 0, os.SEEK_SET)
        self._hash = hashlib.new(self._algorithm)
        self._waiting = bytearray()
        self._size = self._begun = 0

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
            return os.fdopen(os.open(self._path, _READ), "rb")

    def commit(self, want: Digest | None = None, size: int | None = None) -> tuple[Digest, int]:
        """Put the bytes under their digest; returns it and their number.

        They are on the disk then; their name is, at the latest, when an image is named that needs them.
        Raises :class:`DamagedError` when they are not ``size`` bytes or not ``want``, :class:`StoreError` when the
        disk fails; then nothing is kept.
        """
        digest = self._finished(want, size)
        target = self._content.path(digest)
        with told(self._layout.home, need=self._expected):
            if self._fd < 0:
                self._fd = os.open(self._path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            os.fchmod(self._fd, 0o444)
            os.utime(self._fd, ns=(SEALED, SEALED))
            if not _same(target, self._size):
                os.fsync(self._fd)
            self._close()
        with against_gc(self._layout):
            self._session.hold(digest)
            with told(self._layout.home):
                if _same(target, self._size):
                    self._path.unlink()
                else:
                    self._path.replace(target)
        return digest, self._size

    def drop(self) -> None:
        """Remove what was not committed; harmless afterwards."""
        self._close()
        self._waiting = bytearray()
        self._path.unlink(missing_ok=True)

    def _finished(self, want: Digest | None, size: int | None) -> Digest:
        """The digest of all that was written, which must be what was promised."""
        self.flush()
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
        self._size += len(data)
        view = memoryview(data)
        need = max(self._expected or 0, self._size)
        with told(self._layout.home, need=need):
            while view:
                view = view[os.write(self._fd, view) :]
        if self._size - self._begun >= _WRITEBACK:
            begin_writeback(self._fd, self._begun, self._size - self._begun)
            self._begun = self._size

    def _close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def missing(digest: Digest, path: Path) -> MissingError:
    return MissingError(
        Text("the blob {digest} is not in the store", digest=digest.short),
        place=Place(str(path)),
        hints=[Text("build or pull the image again: only what is missing is made")],
    )


def damaged(digest: Digest, path: Path) -> DamagedError:
    return DamagedError(
        Text("the blob {digest} is damaged: its bytes are not the ones its name promises", digest=digest.short),
        place=Place(str(path)),
        hints=[
            Text("`trainload verify --repair` puts it aside; then build or pull the image again"),
            Text("check the disk: bytes of a committed blob never change"),
        ],
    )


def _not_promised(got: str, want: str) -> DamagedError:
    return DamagedError(Text("the bytes are not the ones that were promised"), got=got, want=want, retryable=True)


def _not_regular(path: Path, mode: int) -> DamagedError:
    return DamagedError(
        Text("a blob of the store is not a regular file"),
        place=Place(str(path)),
        got=kind_of(mode),
        want="a regular file",
        hints=[Text("remove it, then build or pull the image again")],
    )


def _same(target: Path, size: int) -> bool:
    """Whether a sealed file of that size lies there; anything else is replaced by the bytes we just hashed."""
    try:
        state = target.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(state.st_mode) and state.st_size == size and state.st_mtime_ns == SEALED

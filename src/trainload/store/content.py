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
from trainload.store.ingest import READ, SEALED, Ingest, Way
from trainload.store.layout import Layout, kind_of
from trainload.store.locks import against_gc
from trainload.store.parts import LEAST, take_up
from trainload.store.session import Session
from trainload.store.trouble import DamagedError, MissingError, free_bytes, full, told

CHUNK = 1 << 20


class Content:
    """Committed files; ``folders``: algorithm → ``blobs/sha256``, ``blobs/sha512`` or ``files/sha256``."""

    def __init__(self, layout: Layout, folders: Mapping[str, Path], session: Callable[[], Session]) -> None:
        self.layout = layout
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
            fd = os.open(path, READ)
        except FileNotFoundError:
            raise missing(digest, path) from None
        except OSError as error:
            if path.is_symlink():
                raise _not_regular(path, path.lstat().st_mode) from error
            with told(self.layout.home):
                raise
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode):
            os.close(fd)
            raise _not_regular(path, mode)
        return os.fdopen(fd, "rb")

    def read(self, digest: Digest, limit: int) -> bytes:
        """Its bytes, hashed. Raises also :class:`DamagedError`, and :class:`StoreError` beyond ``limit`` bytes."""
        with self.open(digest) as file, told(self.layout.home):
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
        with self.open(digest) as file, told(self.layout.home):
            while chunk := file.read(CHUNK):
                state.update(chunk)
        return state.hexdigest() == digest.hex

    def held(self, digest: Digest, size: int | None = None) -> bool:
        """As :meth:`sound`, and from now on gc leaves it alone while our session lasts; damage is put aside."""
        session = self._session()
        with against_gc(self.layout):
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
        with told(self.layout.home):
            if not self.layout.damaged.is_dir():
                self.layout.damaged.mkdir(exist_ok=True)
                self.layout.damaged.chmod(0o755)
            self.path(digest).replace(self.layout.damaged / digest.hex)

    @contextmanager
    def ingest(self, size: int | None = None, part: str = "") -> Iterator[Ingest]:
        """A new file: ``write`` its bytes, then ``commit`` it; left without commit, nothing remains.

        ``size``: bytes to come, if known; a disk that cannot hold them is told before the first byte. ``part``: a
        large file by a name that says what it will be; what came of it remains, for whoever tries next.
        """
        ingest = self.begin(size, part=part)
        try:
            yield ingest
        finally:
            ingest.drop()

    def begin(self, size: int | None = None, algorithm: str = "sha256", part: str = "") -> Ingest:
        """As :meth:`ingest`, for bytes that come in several goes; the caller ends it with ``commit`` or ``drop``.

        ``algorithm``: the one the digest will probably have; its hash is made on the way.
        """
        session = self._session()
        taken = take_up(self.layout, part) if part and (size or 0) >= LEAST else None
        try:
            self.check_room(size - min(size, taken.size) if size is not None and taken is not None else size)
        except BaseException:
            if taken is not None:
                os.close(taken.fd)
            raise
        return Ingest(Way(self.layout, session, self.path), size, algorithm, taken)

    def check_room(self, size: int | None) -> None:
        """Raises :class:`StoreError` when the disk cannot hold ``size`` more bytes."""
        self._session()  # makes the folder
        free = free_bytes(self.layout.temporary) if size else None
        if size is not None and free is not None and free < size:
            raise full(self.layout.home, size)

    def _seal_again(self, digest: Digest) -> None:
        path = self.path(digest)
        with told(self.layout.home):
            if path.lstat().st_mtime_ns != SEALED:
                os.utime(path, ns=(SEALED, SEALED), follow_symlinks=False)


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


def _not_regular(path: Path, mode: int) -> DamagedError:
    return DamagedError(
        Text("a blob of the store is not a regular file"),
        place=Place(str(path)),
        got=kind_of(mode),
        want="a regular file",
        hints=[Text("remove it, then build or pull the image again")],
    )

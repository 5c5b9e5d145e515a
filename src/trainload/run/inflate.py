"""A layer blob as its tar stream: inflated in one thread, hashed in a second, read in the caller's.

What compresses a blob is seen from its first bytes; what it must hold is said by the diff_id alone, so a
wrong media type cannot make a difference. Both C libraries and hashlib let go of the interpreter's lock.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path
from types import TracebackType

from trainload.digest import Digest
from trainload.errors import LayerError, Place, Text
from trainload.limits import DEFAULT, Limits

_CHUNK = 1 << 19
_AHEAD = 16  # chunks between the threads: 8 MiB per layer
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = range(0x184D2A50, 0x184D2A60)  # RFC 8878 § 3.1.2


def inflated(file: BufferedReader, *, limits: Limits = DEFAULT) -> Iterator[bytes]:
    """The tar stream of an open layer blob in chunks.

    gzip of one or many members, zstd of one or many frames, or plain. Raises :class:`OSError`,
    :class:`EOFError` or the zstd library's error for a broken stream (THREATS L14).
    """
    magic = file.peek(4)[:4]
    if magic.startswith(_GZIP):
        return _gunzip(file)
    if magic == _ZSTD or int.from_bytes(magic, "little") in _SKIPPABLE:
        return _unzstd(file, limits)
    return iter(lambda: file.read(_CHUNK), b"")


def _gunzip(file: BufferedReader) -> Iterator[bytes]:
    from isal import igzip

    with igzip.IGzipFile(fileobj=file, mode="rb") as stream:  # type: ignore[no-untyped-call]
        while chunk := stream.read(_CHUNK):
            yield chunk


def _unzstd(file: BufferedReader, limits: Limits) -> Iterator[bytes]:
    import sys

    if sys.version_info >= (3, 14):
        from compression.zstd import DecompressionParameter, ZstdFile
    else:
        from backports.zstd import DecompressionParameter, ZstdFile

    options = {int(DecompressionParameter.window_log_max): limits.zstd_window.bit_length() - 1}
    with ZstdFile(file, "rb", options=options) as stream:
        while chunk := stream.read(_CHUNK):
            yield chunk


def _broken() -> tuple[type[Exception], ...]:
    """What the libraries raise for a broken stream."""
    import sys
    import zlib

    if sys.version_info >= (3, 14):
        from compression.zstd import ZstdError
    else:
        from backports.zstd import ZstdError

    from isal import isal_zlib

    isal_error: type[Exception] = isal_zlib.error  # type: ignore[assignment]
    return (OSError, EOFError, ZstdError, zlib.error, isal_error)


class TarStream:
    """``read(n)`` over the tar stream of a blob, with its digest at the end. A context manager.

    Raises :class:`LayerError` when the compressed stream is broken. ``hashed=False``: somebody else verifies it,
    and there is no digest.
    """

    def __init__(self, blob: Path, name: str, *, limits: Limits = DEFAULT, hashed: bool = True) -> None:
        self._blob, self._name, self._limits, self._hashed = blob, name, limits, hashed
        self._chunks: queue.Queue[bytes | Exception] = queue.Queue(_AHEAD)
        self._hashing: queue.Queue[bytes] = queue.Queue(_AHEAD)
        self._stop = threading.Event()
        self._hash = hashlib.sha256()
        self._chunk = b""
        self._at = 0
        self._over = False
        self._threads = [threading.Thread(target=work, daemon=True) for work in self._work()]
        self.size = 0
        """Bytes handed out so far."""

    def __enter__(self) -> TarStream:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes, fewer only at a chunk's end; empty at the end of the stream."""
        if self._at == len(self._chunk):
            if self._over:
                return b""
            chunk = self._chunks.get()
            if isinstance(chunk, Exception):
                raise LayerError(
                    Text("the compressed layer is broken: {reason}", reason=chunk), place=Place(self._name)
                ) from chunk
            self._over = not chunk
            self._chunk, self._at = chunk, 0
        data = self._chunk[self._at : self._at + size]  # a whole chunk is not copied
        self._at += len(data)
        self.size += len(data)
        return data

    def digest(self) -> Digest:
        """Of the whole stream; reads what is left of it."""
        while self.read(_CHUNK):
            pass
        self._threads[1].join()
        return Digest("sha256", self._hash.hexdigest())

    def _work(self) -> tuple[Callable[[], None], ...]:
        return (self._inflate, self._digest) if self._hashed else (self._inflate,)

    def _inflate(self) -> None:
        try:
            with self._blob.open("rb") as file:
                for chunk in inflated(file, limits=self._limits):
                    if not self._put(self._chunks, chunk):
                        return
                    if self._hashed and not self._put(self._hashing, chunk):
                        return
                self._put(self._chunks, b"")
        except _broken() as error:
            self._put(self._chunks, error)
        finally:
            if self._hashed:
                self._put(self._hashing, b"")

    def _digest(self) -> None:
        while not self._stop.is_set():
            try:
                chunk = self._hashing.get(timeout=0.2)
            except queue.Empty:
                continue
            if not chunk:
                return
            self._hash.update(chunk)

    def _put(self, into: queue.Queue[bytes] | queue.Queue[bytes | Exception], item: bytes | Exception) -> bool:
        """Hand over ``item``; False when nobody reads any more."""
        while not self._stop.is_set():
            try:
                into.put(item, timeout=0.2)  # type: ignore[arg-type]
            except queue.Full:
                continue
            return True
        return False

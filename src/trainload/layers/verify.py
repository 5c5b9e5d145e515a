"""The uncompressed side of a layer: its diff_id, and the proof that each spliced stream is what it should be.

Two threads, so that neither inflating nor hashing waits for the other or for the disk: the first inflates with
isal (never more than the declared size) and checks size and CRC-32, the second hashes the tar stream and each
member. Queues are bounded in bytes, so memory does not grow with a wheel.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from queue import Queue
from threading import Thread

from isal import isal_zlib

from trainload.digest import Digest
from trainload.errors import LayerError, Place, Text
from trainload.values import dataclass

_DAMAGED: type[Exception] = isal_zlib.IsalError  # type: ignore[assignment]  # isal's stub says it is an instance
_BATCH = 1 << 20
"""Bytes that go to a thread at once: handing over costs more than hashing a small file."""
_QUEUED = 8
_PIECE = 1 << 19
"""At most so much of a member is inflated at once: it is hashed twice while a core's cache has it."""
_SMALL = 1 << 14


@dataclass(frozen=True, slots=True)
class Deflated:
    """A raw deflate stream's promise: what it inflates to."""

    place: Place
    """The archive and its member, for messages."""
    size: int
    """Bytes, inflated; at least 1."""
    crc32: int
    sha256: bytes | None = None
    """32 bytes, or None when nothing states it."""


_Piece = tuple[Deflated | None, bytes, bool]
"""Bytes of a promised stream (deflated, then inflated) or of the tar stream itself, and whether they end it."""


class TarDigest:
    """Takes the tar stream in order, partly deflated, and gives its digest.

    ``plain`` and ``deflated`` raise the :class:`LayerError` of an earlier broken stream; so does ``close``.
    ``abandon`` ends the threads without a result. Before the first ``deflated`` no thread runs.
    """

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._batch: list[_Piece] = []
        self._held = 0
        self._inflater: _Stage | None = None
        self._hasher: _Stage | None = None

    def plain(self, data: bytes) -> None:
        if self._inflater is None:
            self._digest.update(data)
        else:
            self._put((None, data, True))

    def deflated(self, promise: Deflated, data: bytes, *, last: bool) -> None:
        """The next ``data`` of a stream; ``last`` ends it. Streams follow one another whole."""
        if self._inflater is None:
            self._hasher = _Stage("hash", _Hashing(self._digest), None)
            self._inflater = _Stage("inflate", _Inflating(), self._hasher)
        self._put((promise, data, last))

    def close(self) -> Digest:
        if self._inflater is not None and self._hasher is not None:
            self._flush()
            self._inflater.finish()
            self._hasher.finish()
            self._raise()
        return Digest("sha256", self._digest.hexdigest())

    def abandon(self) -> None:
        """Ends the threads; what was not hashed yet is dropped."""
        for stage in (self._inflater, self._hasher):
            if stage is not None:
                stage.drop()
                stage.finish()
        self._inflater = self._hasher = None

    def _put(self, piece: _Piece) -> None:
        self._batch.append(piece)
        self._held += len(piece[1]) + 256
        if self._held >= _BATCH:
            self._flush()

    def _flush(self) -> None:
        assert self._inflater is not None
        self._raise()
        if self._batch:
            self._inflater.queue.put(self._batch)
        self._batch, self._held = [], 0

    def _raise(self) -> None:
        for stage in (self._inflater, self._hasher):
            if stage is not None and stage.error is not None:
                raise stage.error


class _Inflating:
    """Pieces as they lie in the layer → pieces of the tar stream, checked for size and CRC-32."""

    def __init__(self) -> None:
        self._promise: Deflated | None = None
        self._stream = isal_zlib.decompressobj(-15)
        self._crc = 0
        self._size = 0

    def __call__(self, batch: list[_Piece]) -> Iterable[list[_Piece]]:
        out: list[_Piece] = []
        held = 0
        for promise, data, last in batch:
            if promise is None:
                out.append((None, data, True))
                held += len(data)
                continue
            if promise is not self._promise:
                self._promise, self._crc, self._size = promise, 0, 0
                self._stream = isal_zlib.decompressobj(-15)
            left, more = data, True
            while more:
                inflated, left, more = self._inflate(promise, left)
                out.append((promise, inflated, last and not more))
                held += len(inflated)
                if held >= _BATCH:
                    yield out
                    out, held = [], 0
            if last:
                self._finish(promise)
        yield out

    def _inflate(self, promise: Deflated, data: bytes) -> tuple[bytes, bytes, bool]:
        """(inflated, what is left of ``data``, whether there is more to come without further input)."""
        most = min(_PIECE, promise.size - self._size + 1)
        try:
            inflated: bytes = self._stream.decompress(data, most)
        except _DAMAGED as error:
            raise broken(promise, Text("its deflate stream is damaged ({reason})", reason=error)) from None
        self._size += len(inflated)
        if self._size > promise.size:
            raise broken(promise, Text("it inflates to more than the {size} bytes it declares", size=promise.size))
        self._crc = isal_zlib.crc32(inflated, self._crc)
        left: bytes = self._stream.unconsumed_tail
        return inflated, left, bool(left) or len(inflated) == most

    def _finish(self, promise: Deflated) -> None:
        if not self._stream.eof:
            raise broken(promise, Text("its deflate stream does not end inside the member"))
        if self._stream.unused_data:
            raise broken(promise, Text("bytes follow the end of its deflate stream"))
        if self._size != promise.size:
            text = Text("it inflates to {got} bytes and declares {want}", got=self._size, want=promise.size)
            raise broken(promise, text)
        if self._crc != promise.crc32:
            crcs = {"got": f"{self._crc:08x}", "want": f"{promise.crc32:08x}"}
            raise broken(promise, Text("its CRC-32 is {got} and should be {want}", **crcs))
        self._promise = None


class _Hashing:
    """Pieces of the tar stream → its digest; each member against the sha256 it promises."""

    def __init__(self, digest: hashlib._Hash) -> None:
        self._digest = digest
        self._member = hashlib.sha256()
        self._fresh = True

    def __call__(self, batch: list[_Piece]) -> Iterable[list[_Piece]]:
        self._hash_tar([data for _, data, _ in batch])
        for promise, data, last in batch:
            if promise is None or promise.sha256 is None:
                continue
            if last and self._fresh:
                check_sha256(promise, hashlib.sha256(data).digest())
                continue
            self._member.update(data)
            self._fresh = last
            if last:
                check_sha256(promise, self._member.digest())
                self._member = hashlib.sha256()
        return ()

    def _hash_tar(self, pieces: list[bytes]) -> None:
        """Small pieces joined: a call for each costs more than copying them."""
        small: list[bytes] = []
        for piece in pieces:
            if len(piece) < _SMALL:
                small.append(piece)
                continue
            self._digest.update(b"".join(small))
            self._digest.update(piece)
            small.clear()
        self._digest.update(b"".join(small))


class _Stage:
    """A thread that applies ``work`` to each batch of its queue and passes results to the ``following`` stage."""

    def __init__(self, name: str, work: _Inflating | _Hashing, following: _Stage | None) -> None:
        self.queue: Queue[list[_Piece] | None] = Queue(_QUEUED)
        self.error: LayerError | None = None
        self._dropped = False
        self._work = work
        self._following = following
        self._thread = Thread(target=self._run, name=f"trainload-{name}", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Waits until all that was put is done; then the thread has ended."""
        self.queue.put(None)
        self._thread.join()

    def drop(self) -> None:
        """What is still queued is taken and forgotten."""
        self._dropped = True

    def _run(self) -> None:
        while (batch := self.queue.get()) is not None:
            if self.error is not None or self._dropped:
                continue
            try:
                for result in self._work(batch):
                    if self._following is not None and not self._dropped:
                        self._following.queue.put(result)
            except LayerError as error:
                self.error = error


def check_sha256(promise: Deflated, got: bytes) -> None:
    """Raises :class:`LayerError` when ``got`` is not the promised sha256 (THREATS W21)."""
    if promise.sha256 is not None and got != promise.sha256:
        raise broken(
            promise,
            Text("its sha256 is {got} and RECORD says {want}", got=got.hex(), want=promise.sha256.hex()),
        )


def broken(promise: Deflated, reason: Text) -> LayerError:
    """The refusal of an archive's member whose bytes are not what the archive says."""
    return LayerError(
        Text("the member is damaged: {reason}", reason=reason),
        place=promise.place,
        hints=[
            Text("fetch the file again; when it stays so, the file itself is broken: report it to its publisher")
        ],
    )

"""Chunked bodies (RFC 9112 § 7.1), decoded where they lie: pieces are views of what was received. Pure.

Strict where leniency lets two readers see two bodies: lines end in CRLF, sizes are bare hexadecimal digits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from trainload.limits import KiB

_SIZE = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n")
_LINE_LIMIT = 1 * KiB
_TRAILER_LIMIT = 16 * KiB


class ChunkError(ValueError):
    """The body is not in chunks."""


class Chunks:
    """Takes what is received and gives back the body, piece by piece."""

    def __init__(self) -> None:
        self.finished = False
        self.rest = b""
        """After the end: what does not belong to this body."""
        self._left = 0
        self._line = b""
        self._expect = self._size
        self._trailer = 0

    def feed(self, data: bytes) -> Iterator[memoryview]:
        """The parts of the body in ``data``. Raises :class:`ChunkError`."""
        view, at = memoryview(data), 0
        while at < len(data) and not self.finished:
            if self._left:
                piece = view[at : at + self._left]
                self._left -= len(piece)
                at += len(piece)
                yield piece
                continue
            end = data.find(b"\n", at) + 1
            self._line += data[at : end or len(data)]
            if len(self._line) > _LINE_LIMIT:
                raise ChunkError("a line of the chunked body is too long")
            if not end:
                return
            line, self._line, at = self._line, b"", end
            self._expect(line)
        self.rest = data[at:]

    def _size(self, line: bytes) -> None:
        match = _SIZE.fullmatch(line)
        if match is None:
            raise ChunkError("the size of a chunk is not hexadecimal digits")
        self._left = int(match[1], 16)
        self._expect = self._end if self._left else self._last

    def _end(self, line: bytes) -> None:
        if line != b"\r\n":
            raise ChunkError("a chunk is longer than its size says")
        self._expect = self._size

    def _last(self, line: bytes) -> None:
        """Trailers are read and ignored: nothing here needs one."""
        self._trailer += len(line)
        if not line.endswith(b"\r\n") or self._trailer > _TRAILER_LIMIT:
            raise ChunkError("the chunked body does not end")
        self.finished = line == b"\r\n"

"""What an archive is compressed with as a whole: the same bytes on every machine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType

from trainload.layers.model import ByteSink

NONE, GZIP, ZSTD = "none", "gzip", "zstd"
_ENDINGS = {".gz": GZIP, ".tgz": GZIP, ".zst": ZSTD, ".tzst": ZSTD, ".zstd": ZSTD}
_BLOCK = 1 << 20
_LEVEL = 3  # zstd's own default; layers are compressed already, so more effort finds nothing


def by_name(name: str) -> str:
    """What the ending of a file's name asks for."""
    return next((kind for ending, kind in _ENDINGS.items() if name.endswith(ending)), NONE)


def compressed(kind: str, sink: ByteSink) -> AbstractContextManager[ByteSink]:
    """A sink that compresses into ``sink``; an error inside leaves the stream without an end."""
    if kind == NONE:
        return _Blocks(sink, bytes, lambda: b"")
    return _gzip(sink) if kind == GZIP else _zstd(sink)


def _gzip(sink: ByteSink) -> _Blocks:
    """One member per block, by the compressor whose bytes are pinned (docs/adr/0003)."""
    from trainload.layers.deflate import compress

    return _Blocks(sink, compress, lambda: b"")


def _zstd(sink: ByteSink) -> _Blocks:
    if sys.version_info >= (3, 14):
        from compression.zstd import CompressionParameter, ZstdCompressor
    else:
        from backports.zstd import CompressionParameter, ZstdCompressor

    options = {int(CompressionParameter.compression_level): _LEVEL, int(CompressionParameter.checksum_flag): 1}
    state = ZstdCompressor(options=options)
    return _Blocks(sink, state.compress, state.flush)


class _Blocks:
    """Gathers what is written into blocks of one size, so that the pieces it comes in make no difference."""

    def __init__(self, sink: ByteSink, block: Callable[[bytes], bytes], end: Callable[[], bytes]) -> None:
        self._sink = sink
        self._block = block
        self._end = end
        self._waiting = bytearray()

    def __enter__(self) -> _Blocks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            if self._waiting:
                self._sink.write(self._block(bytes(self._waiting)))
            self._sink.write(self._end())

    def write(self, data: bytes, /) -> object:
        self._waiting += data
        while len(self._waiting) >= _BLOCK:
            self._sink.write(self._block(bytes(self._waiting[:_BLOCK])))
            del self._waiting[:_BLOCK]
        return len(data)

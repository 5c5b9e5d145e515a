"""Compressed streams as bounded reads: gzip, xz, zstd, bzip2; cut-off streams and bytes after them are refused.

The framing libraries only ever see chunks, and give at most a chunk (THREATS D04, D3); the window of zstd and
the dictionary of xz are bounded, and so is the ratio of what comes out to what went in.
"""

from __future__ import annotations

import lzma
import sys
from collections.abc import Callable, Iterator
from typing import Protocol, cast

from trainload.errors import LayerError, Place
from trainload.layers.tarread import Readable
from trainload.limits import DEFAULT, Limits, MiB, accepting
from trainload.values import dataclass, replace

_INPUT = 1 << 16
_OUTPUT = 1 << 18
_PIECE = 1 << 20
_MAGIC = {b"\x1f\x8b": "gz", b"\x28\xb5\x2f\xfd": "zst", b"\xfd7zXZ\x00": "xz"}
_SKIPPABLE = range(0x184D2A50, 0x184D2A60)  # RFC 8878 § 3.1.2: a zstd stream may begin with such a frame


class _Decoder(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = ..., /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class _Format:
    """How a decoder is made, and the error it raises."""

    new: Callable[[Limits], _Decoder]
    error: type[Exception]


def _gzip() -> _Format:
    from isal import igzip_lib

    error = cast("type[Exception]", igzip_lib.IsalError)  # its stub says it is an instance
    return _Format(lambda _: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP), error)


def _xz() -> _Format:
    # xz -9 needs 65 MiB; a little more than the window is what its bookkeeping takes
    return _Format(
        lambda limits: lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=limits.zstd_window + 16 * MiB),
        lzma.LZMAError,
    )


def _bzip2() -> _Format:
    import bz2

    return _Format(lambda _: bz2.BZ2Decompressor(), OSError)  # a block has 900 kB at most


def _zstd() -> _Format:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd

    def new(limits: Limits) -> _Decoder:
        window = limits.zstd_window.bit_length() - 1
        return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: window})

    return _Format(new, zstd.ZstdError)


_FORMATS: dict[str, Callable[[], _Format]] = {"gz": _gzip, "xz": _xz, "zst": _zstd, "bz2": _bzip2}


def compression(head: bytes) -> str:
    """What compresses a stream that begins with ``head`` (six bytes are enough); empty: nothing we know."""
    if int.from_bytes(head[:4], "little") in _SKIPPABLE:
        return "zst"
    return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "")


def opened(stream: Readable, place: Place, *, limits: Limits = DEFAULT) -> Decompressed:
    """``stream`` read through what compresses it, told by its first bytes; members may follow each other."""
    head = stream.read(6)
    return Decompressed(_Headed(head, stream), compression(head), place, members=True, limits=limits)


def tar_chunks(blob: Readable, place: Place, *, limits: Limits = DEFAULT) -> Iterator[bytes]:
    """The tar stream of a layer in pieces, whatever compresses it.

    A file of zeros is no bomb, so the ratio does not count. Raises :class:`LayerError` when the stream is broken,
    goes on after its end, or is longer than ``limits.unpacked`` (THREATS L14, L15).
    """
    stream = opened(blob, place, limits=replace(limits, expansion_ratio=limits.unpacked))
    while chunk := stream.read(_PIECE):
        if stream.given > limits.unpacked:
            raise LayerError("the archive unpacks to too much", place=place, want=f"{limits.unpacked} bytes")
        yield chunk


class _Headed:
    """A stream whose first bytes were read already."""

    def __init__(self, head: bytes, stream: Readable) -> None:
        self._head = head
        self._stream = stream

    def read(self, size: int, /) -> bytes:
        if not self._head:
            return self._stream.read(size)
        head, self._head = self._head[:size], self._head[size:]
        return head


class Decompressed:
    """What ``stream`` holds, by ``read``. ``archive`` and ``inside`` name it in errors.

    ``members``: several compressed members may follow each other (a gzip layer), else exactly one.
    """

    def __init__(
        self,
        stream: Readable,
        compression: str,
        place: Place,
        *,
        members: bool = False,
        limits: Limits = DEFAULT,
    ) -> None:
        """``compression``: ``gz``, ``xz``, ``zst``, ``bz2``, or empty for none; for another :class:`LayerError`."""
        if compression and compression not in _FORMATS:
            raise LayerError("the compression is not known", place=place, got=compression, want="gz, xz, zst, bz2")
        self._stream = stream
        self._format = _FORMATS[compression]() if compression else None
        self._decoder = self._format.new(limits) if self._format else None
        self._place = place
        self._members = members
        self._limits = limits
        self._buffer = memoryview(b"")
        self._taken = 0
        self._given = 0
        self._rest = b""

    @property
    def taken(self) -> int:
        """Bytes of the compressed stream read so far; up to 64 KiB ahead of what was given."""
        return self._taken

    @property
    def given(self) -> int:
        """Bytes that came out so far; up to 256 KiB ahead of what was read."""
        return self._given

    def read(self, size: int, /) -> bytes:
        """Exactly ``size`` bytes unless the stream ends before."""
        parts: list[bytes] = []
        while size:
            if not self._buffer:
                chunk = self._chunk()
                if not chunk:
                    break
                self._buffer = memoryview(chunk)
            part = self._buffer[:size]
            self._buffer = self._buffer[len(part) :]
            size -= len(part)
            parts.append(bytes(part))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _chunk(self) -> bytes:
        if self._decoder is None:
            chunk = self._stream.read(_OUTPUT)
            self._taken += len(chunk)
            self._given += len(chunk)
            return chunk
        while True:
            if self._decoder.eof and not self._next_member():
                return b""
            data = self._rest
            self._rest = b""
            if not data and self._decoder.needs_input:
                data = self._stream.read(_INPUT)
                self._taken += len(data)
                if not data:
                    raise LayerError("the compressed data is cut off", place=self._place)
            chunk = self._decode(data)
            if chunk:
                return chunk

    def _decode(self, data: bytes) -> bytes:
        assert self._decoder is not None
        assert self._format is not None
        try:
            chunk = self._decoder.decompress(data, _OUTPUT)
        except (self._format.error, EOFError) as error:
            raise LayerError("the compressed data is broken", place=self._place, got=str(error)) from error
        self._given += len(chunk)
        limits = self._limits
        if self._given > limits.expansion_size and self._given > limits.expansion_ratio * self._taken:
            raise LayerError(
                "the compressed data expands too far",
                place=self._place,
                want=f"at most {limits.expansion_ratio} times its size",
                hints=[accepting("max-ratio", 10 * limits.expansion_ratio)],
            )
        return chunk

    def _next_member(self) -> bool:
        """Whether another compressed member follows; nothing else may."""
        assert self._decoder is not None
        assert self._format is not None
        rest = self._decoder.unused_data or self._stream.read(1)
        if not rest:
            return False
        if not self._members:
            raise LayerError("bytes follow the compressed data", place=self._place)
        self._decoder = self._format.new(self._limits)
        self._rest = rest
        return True

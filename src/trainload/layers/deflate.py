"""Gzip members (RFC 1952) around deflate streams (RFC 1951) that are the same bytes everywhere.

A layer is a sequence of members. Three kinds of bytes go in:

* a wheel's own deflate stream, wrapped as it is (:func:`wrap`);
* content we compress ourselves, through libdeflate, whose output depends on its release and level only, never on
  the CPU (:func:`compress`; docs/adr/0003);
* tar headers between two spliced streams, written by :func:`fixed` in microseconds: header bytes are ASCII, which
  the fixed Huffman code gives eight bits each, so a table and a shift write them, and a run of zeros is a chain of
  matches at distance one.
"""

from __future__ import annotations

import re
import struct
from functools import cache

from deflate import deflate_compress
from isal.isal_zlib import crc32

LEVEL = 6
"""libdeflate's level for what we compress; a change changes every digest that has such bytes."""

MEMBER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
"""RFC 1952 § 2.3: deflate, no flags, no time, no extra flags, unknown system."""

_TRAILER = struct.Struct("<II")
_STORED = struct.Struct("<?HH")
_BLOCK = 0xFFFF
"""Most bytes of a stored block."""
# RFC 1951 § 3.2.6: literals below 144 have 8-bit codes, 0x30 + value, most significant bit first
_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))
_LITERALS = bytes(_REVERSED[(0x30 + value) & 0xFF] for value in range(256))
_ZEROS = re.compile(rb"(\0{4,})")
_LENGTHS = (
    (3, 0), (4, 0), (5, 0), (6, 0), (7, 0), (8, 0), (9, 0), (10, 0), (11, 1), (13, 1), (15, 1), (17, 1), (19, 2),
    (23, 2), (27, 2), (31, 2), (35, 3), (43, 3), (51, 3), (59, 3), (67, 4), (83, 4), (99, 4), (115, 4), (131, 5),
    (163, 5), (195, 5), (227, 5), (258, 0),
)  # fmt: skip
"""RFC 1951 § 3.2.5: (smallest length, extra bits) of the codes from 257 on."""


def trailer(crc: int, size: int) -> bytes:
    """The end of a member: CRC-32 and size (mod 2**32) of what it inflates to."""
    return _TRAILER.pack(crc, size & 0xFFFFFFFF)


def wrap(deflated: bytes, crc: int, size: int) -> bytes:
    """``deflated`` as a gzip member."""
    return MEMBER + deflated + trailer(crc, size)


def compress(plain: bytes) -> bytes:
    """``plain`` as a gzip member made by libdeflate."""
    return wrap(bytes(deflate_compress(plain, LEVEL)), crc32(plain), len(plain))


def stored(plain: bytes) -> bytes:
    """``plain`` as a gzip member of stored blocks (RFC 1951 § 3.2.4): for what does not compress."""
    parts = [MEMBER]
    for start in range(0, max(len(plain), 1), _BLOCK):
        block = plain[start : start + _BLOCK]
        parts.append(_STORED.pack(start + _BLOCK >= len(plain), len(block), len(block) ^ 0xFFFF))
        parts.append(block)
    parts.append(trailer(crc32(plain), len(plain)))
    return b"".join(parts)


def fixed(plain: bytes) -> bytes:
    """``plain``, ASCII text and zeros, as a gzip member of one block with fixed Huffman codes.

    Text of other bytes, which has no eight-bit codes, goes to :func:`compress` instead.
    """
    if not plain.isascii():
        return compress(plain)
    bits, length = 0b011, 3  # the last block, of type 01
    for index, part in enumerate(_ZEROS.split(plain)):
        if index % 2:
            value, width = _run(len(part))
        else:
            value, width = int.from_bytes(part.translate(_LITERALS), "little"), 8 * len(part)
        bits |= value << length
        length += width
    length += 7  # the end-of-block code is seven zero bits
    return wrap(bits.to_bytes((length + 7) // 8, "little"), crc32(plain), len(plain))


@cache
def _run(zeros: int) -> tuple[int, int]:
    """(bits, number of bits) of a run of at least four zeros: one literal, then matches at distance one."""
    bits, length = _LITERALS[0], 8
    left = zeros - 1
    while left:
        part = min(left, 258)
        if 0 < left - part < 3:  # no match is shorter than 3
            part -= 3
        value, width = _match(part)
        bits |= value << length
        length += width
        left -= part
    return bits, length


def _match(size: int) -> tuple[int, int]:
    """(bits, number of bits) of a match of ``size`` (3 to 258) bytes at distance one."""
    index = max(i for i, (smallest, _) in enumerate(_LENGTHS) if smallest <= size)
    smallest, extra = _LENGTHS[index]
    symbol = 257 + index
    value, width = _code(symbol - 256, 7) if symbol < 280 else _code(0xC0 + symbol - 280, 8)
    value |= (size - smallest) << width
    return value, width + extra + 5  # distance code 0 is five zero bits


def _code(value: int, width: int) -> tuple[int, int]:
    """A Huffman code as it lies in the stream: its most significant bit first."""
    return int(f"{value:0{width}b}"[::-1], 2), width

"""A wheel that was just built, written anew: the same files give the same bytes, whatever built it.

Backends differ in the order of members, their times, modes and compression. All that is fixed here, so that the
wheel is a function of its files; they are read with the same strictness as those of a wheel from an index.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import BinaryIO

from deflate import deflate_compress
from isal.isal_zlib import crc32

from trainload.errors import LayerError, Place, Text
from trainload.layers.deflate import LEVEL
from trainload.layers.model import ByteSink
from trainload.layers.record import Row, encode_hash, read_record, write_record
from trainload.layers.wheel import read_wheel
from trainload.layers.zip import DEFLATED, STORED, Member, content, read_members
from trainload.limits import DEFAULT, GiB, Limits

_TIME = 0, 33  # midnight of 1980-01-01, the first that MS-DOS knows (APPNOTE 4.4.6)
_UNIX = 3 << 8 | 20
_UTF8 = 1 << 11
_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")
_LARGEST = 2 * GiB - 1
"""Bytes of the whole: beyond them ZIP needs other fields. A wheel of that size comes from an index."""


@dataclass(frozen=True, slots=True)
class _Placed:
    name: bytes
    method: int
    crc: int
    packed: int
    size: int
    mode: int
    offset: int


def rewrite_wheel(stream: BinaryIO, name: str, python: str, sink: ByteSink, limits: Limits = DEFAULT) -> None:
    """The wheel called ``name`` for ``python``, in its one form, to ``sink``.

    Raises :class:`LayerError` for one that is broken, or not what its name says (THREATS W01-W31).
    """
    read_wheel(stream, name, python, limits)
    members = [member for member in read_members(stream, name, limits) if not member.is_directory]
    if sum(member.size for member in members) > _LARGEST:
        raise LayerError("a wheel built from source is too large", place=Place(name), want=f"{_LARGEST} bytes")
    record = next(member for member in members if member.name.endswith(".dist-info/RECORD"))
    written = _Writer(sink)
    rows = [Row(record.name, "", None)]
    promised = {row.path: row.hash for row in read_record(_whole(stream, name, record), name, record.name)}
    for member in sorted(members, key=lambda member: (".dist-info/" in member.name, member.name)):
        if member is record:
            continue
        data = _whole(stream, name, member)
        row = Row(member.name, encode_hash(hashlib.sha256(data).digest()), len(data))
        said = promised.get(member.name, "")
        if said.startswith("sha256=") and said.rstrip("=") != row.hash:
            raise LayerError(Text("its sha256 is not the one in RECORD"), place=Place(name, member.name))
        rows.append(row)
        written.add(member.name, data, 0o755 if member.mode & 0o111 else 0o644)
    written.add(record.name, write_record(rows), 0o644)
    written.close()


def _whole(stream: BinaryIO, name: str, member: Member) -> bytes:
    return b"".join(content(stream, name, member))


class _Writer:
    """ZIP with no times, no extra fields and one compressor (APPNOTE 6.3.10)."""

    def __init__(self, sink: ByteSink) -> None:
        self._sink = sink
        self._members: list[_Placed] = []
        self._at = 0

    def add(self, path: str, data: bytes, mode: int) -> None:
        name = path.encode()
        packed = bytes(deflate_compress(data, LEVEL))
        method = DEFLATED if len(packed) < len(data) else STORED
        body = packed if method == DEFLATED else data
        member = _Placed(name, method, crc32(data), len(body), len(data), mode, self._at)
        self._members.append(member)
        head = _LOCAL.pack(b"PK\x03\x04", 20, _UTF8, method, *_TIME, member.crc, len(body), len(data), len(name), 0)
        self._put(head + name + body)

    def close(self) -> None:
        start = self._at
        for one in self._members:
            sizes = one.crc, one.packed, one.size, len(one.name)
            look = (0o100000 | one.mode) << 16
            head = (b"PK\x01\x02", _UNIX, 20, _UTF8, one.method, *_TIME, *sizes, 0, 0, 0, 0, look, one.offset)
            self._put(_CENTRAL.pack(*head) + one.name)
        count = len(self._members)
        if count > 0xFFFE:
            raise LayerError("a wheel built from source has too many files", got=count, want=0xFFFE)
        self._put(_END.pack(b"PK\x05\x06", 0, 0, count, count, self._at - start, start, 0))

    def _put(self, data: bytes) -> None:
        self._sink.write(data)
        self._at += len(data)

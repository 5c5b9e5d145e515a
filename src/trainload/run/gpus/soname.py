"""The soname of a shared library on the disk, without reading all of it: a driver's has a hundred megabytes."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from trainload.layers.debian.elf import MACHINES

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_LOAD, _DYNAMIC, _SHARED = 1, 2, 3
_STRTAB, _SONAME = 5, 14
_MOST_SEGMENTS, _LARGEST_TABLE = 64, 1 << 16


def soname(path: Path, architecture: str) -> str | None:
    """None: it is no library of ``architecture``, or has no name (ELF gABI, ch. 5)."""
    try:
        with path.open("rb") as file:
            return _soname(file.fileno(), architecture)
    except (OSError, struct.error):
        return None


def _soname(file: int, architecture: str) -> str | None:
    head = os.pread(file, _HEADER.size, 0)
    if head[:6] != b"\x7fELF\x02\x01":
        return None
    header = _HEADER.unpack(head)
    if header[1] != _SHARED or MACHINES.get(header[2]) != architecture or header[9] != _SEGMENT.size:
        return None
    table = os.pread(file, _SEGMENT.size * min(header[10], _MOST_SEGMENTS), header[5])
    segments = list(_SEGMENT.iter_unpack(table[: len(table) // _SEGMENT.size * _SEGMENT.size]))
    dynamic = next((segment for segment in segments if segment[0] == _DYNAMIC), None)
    if dynamic is None:
        return None
    data = os.pread(file, min(dynamic[5], _LARGEST_TABLE), dynamic[2])
    tags = dict(reversed([*struct.iter_unpack("<QQ", data[: len(data) // 16 * 16])]))
    if _SONAME not in tags or _STRTAB not in tags:
        return None
    for kind, _, offset, address, _, size, _, _ in segments:
        if kind == _LOAD and address <= tags[_STRTAB] < address + size:
            name = os.pread(file, 256, tags[_STRTAB] - address + offset + tags[_SONAME]).partition(b"\0")[0]
            return name.decode("ascii") if name and name.isascii() and b"/" not in name else None
    return None

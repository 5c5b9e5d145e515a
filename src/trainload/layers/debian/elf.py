"""What the dynamic linker's cache needs of a shared library, found while its bytes pass by (ELF gABI, ch. 5)."""

from __future__ import annotations

import struct

from trainload.values import dataclass

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_LOAD, _DYNAMIC = 1, 2
_SHARED = 3
_NULL, _STRTAB, _SONAME, _FLAGS_1 = 0, 5, 14, 0x6FFFFFFB
_PIE = 0x08000000
_HEAD = 8 << 20
"""Bytes from the start that are held: the names stand there, before the code, in all but the largest libraries."""
_DYNAMIC_LIMIT = 1 << 16
MACHINES = {62: "amd64", 183: "arm64"}
"""e_machine → architecture; other libraries are none of ours."""


@dataclass(frozen=True, slots=True)
class Library:
    """A shared library."""

    architecture: str
    soname: str | None
    """None when it has none, or when it is too large to tell."""


class Probe:
    """Fed with a file in chunks; keeps its beginning and its dynamic section."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._dynamic = bytearray()
        self._at = 0
        self._range = (0, 0)
        self._elf: bool | None = None

    def feed(self, chunk: bytes) -> None:
        if self._elf is False:
            return
        if len(self._head) < _HEAD:
            self._head += chunk[: _HEAD - len(self._head)]
        if self._elf is None and len(self._head) >= 4096:
            self._begin()
        self._dynamic += chunk[max(0, self._range[0] - self._at) : max(0, self._range[1] - self._at)]
        self._at += len(chunk)

    def library(self) -> Library | None:
        """What the file is, or None if it is no shared library of a machine we build for."""
        if self._elf is None:
            self._begin()
        if not self._elf:
            return None
        start, end = self._range
        if end <= len(self._head):
            self._dynamic = self._head[start:end]
        machine = struct.unpack_from("<H", self._head, 18)[0]
        tags = self._tags()
        if tags.get(_FLAGS_1, 0) & _PIE:
            return None
        return Library(MACHINES[machine], self._soname(tags))

    def _begin(self) -> None:
        head = self._head
        self._elf = False
        if len(head) < 64 or head[:6] != b"\x7fELF\x02\x01":
            return
        _, kind, machine, *_ = _HEADER.unpack_from(head)
        self._elf = kind == _SHARED and machine in MACHINES and bool(self._segments(_DYNAMIC))
        if self._elf:
            offset, _, size = self._segments(_DYNAMIC)[0]
            self._range = (offset, offset + min(size, _DYNAMIC_LIMIT))

    def _segments(self, wanted: int) -> list[tuple[int, int, int]]:
        """(file offset, address, size in the file) of each segment of a type."""
        header = _HEADER.unpack_from(self._head)
        start, size, count = header[5], header[9], header[10]
        if size != _SEGMENT.size or start + size * count > len(self._head):
            return []
        found = (_SEGMENT.unpack_from(self._head, start + size * number) for number in range(count))
        return [(segment[2], segment[3], segment[5]) for segment in found if segment[0] == wanted]

    def _tags(self) -> dict[int, int]:
        tags: dict[int, int] = {}
        for at in range(0, len(self._dynamic) - 15, 16):
            tag, value = struct.unpack_from("<QQ", self._dynamic, at)
            if tag == _NULL:
                break
            tags.setdefault(tag, value)
        return tags

    def _soname(self, tags: dict[int, int]) -> str | None:
        if _SONAME not in tags or _STRTAB not in tags:
            return None
        for offset, address, size in self._segments(_LOAD):
            if address <= tags[_STRTAB] < address + size:
                start = tags[_STRTAB] - address + offset + tags[_SONAME]
                end = self._head.find(b"\0", start, start + 256)
                name = bytes(self._head[start:end]) if end > start else b""
                return name.decode("ascii") if name.isascii() and b"/" not in name and name else None
        return None

"""A strict reader of the ``ar`` archives that Debian packages are (deb(5), dpkg's deb-format tests).

Only what dpkg-deb writes is accepted: plain names, decimal sizes, no long-name tables (THREATS D01, D03).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from trainload.errors import LayerError, Place, Text, printable

MAGIC = b"!<arch>\n"
_HEADER = 60
_NAME = re.compile(rb"([A-Za-z0-9_.+-]{1,16})/? *")
_SIZE = re.compile(rb"([0-9]{1,10}) *")


@dataclass(frozen=True, slots=True)
class ArMember:
    """A member's name, and where its bytes lie in the archive."""

    name: str
    offset: int
    size: int


class Window:
    """A read-only view of ``size`` bytes of a seekable file; several views of one file do not disturb each other
    as long as they are used one after the other."""

    def __init__(self, file: BinaryIO, offset: int, size: int) -> None:
        self._file = file
        self._at = offset
        self._end = offset + size

    def read(self, size: int, /) -> bytes:
        self._file.seek(self._at)
        data = self._file.read(min(size, self._end - self._at))
        self._at += len(data)
        return data


def members(file: BinaryIO, archive: str) -> Iterator[ArMember]:
    """The members of ``file`` in order. Raises :class:`LayerError` naming ``archive`` for anything malformed."""
    end = file.seek(0, 2)
    file.seek(0)
    if file.read(len(MAGIC)) != MAGIC:
        raise LayerError("the file is not an ar archive", place=Place(archive), want=MAGIC)
    at = len(MAGIC)
    while at < end:
        file.seek(at)
        member = _member(file.read(_HEADER), at, archive)
        at = member.offset + member.size
        if at > end:
            raise LayerError("the archive is cut off", place=Place(archive, member.name))
        if member.size % 2:
            file.seek(at)
            if file.read(1) != b"\n":
                raise LayerError("a member's padding is missing", place=Place(archive, member.name))
            at += 1
        yield member


def _member(header: bytes, at: int, archive: str) -> ArMember:
    if len(header) < _HEADER:
        raise LayerError("the archive is cut off", place=Place(archive))
    name, size = _NAME.fullmatch(header[:16]), _SIZE.fullmatch(header[48:58])
    shown = printable(header[:16].rstrip())
    if header[58:60] != b"`\n":
        raise LayerError("a member's header is malformed", place=Place(archive, shown))
    if name is None:
        raise LayerError("a member's name is not accepted", place=Place(archive, shown))
    if size is None:
        text = Text("a member's size is not a number")
        raise LayerError(text, place=Place(archive, shown), got=header[48:58])
    return ArMember(name[1].decode().removesuffix("/"), at + _HEADER, int(size[1]))

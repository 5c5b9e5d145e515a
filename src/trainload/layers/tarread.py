"""A strict, streaming reader of tar archives: ustar, GNU long names, pax (POSIX.1-2017, pax utility).

Where two readers could understand an archive differently it is refused (THREATS D07, L15): header and pax
sizes that disagree, global overrides, sparse files, data behind links, bytes after the end mark. Nothing
is written anywhere; a name is bytes as they stand, :func:`member_path` judges it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Protocol

from trainload.errors import LayerError, Place, Text, printable
from trainload.limits import DEFAULT, Limits, accepting
from trainload.values import dataclass

BLOCK = 512
CHUNK = 1 << 18
_HEADER = struct.Struct("100s 8s 8s 8s 12s 12s 8s c 100s 8s 32s 32s 8s 8s 155s 12x")
_POSIX, _GNU, _V7 = b"ustar\x0000", b"ustar  \x00", bytes(8)
_ZEROS = bytes(BLOCK)
_LARGEST_OCTAL = 8**11 - 1
_CONTROLS = bytes([*range(32), 127])
_RECORD = re.compile(rb"([1-9][0-9]{0,7}) ([^=]+)=", re.DOTALL)
_XATTR = b"SCHILY.xattr."
_MEANT = frozenset({b"path", b"linkpath", b"size", b"uid", b"gid", b"uname", b"gname", b"mtime"})


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class MemberKind(StrEnum):
    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symbolic link"
    HARDLINK = "hard link"
    CHARACTER = "character device"
    BLOCK = "block device"
    FIFO = "FIFO"


_KINDS = {
    b"0": MemberKind.FILE,
    b"\0": MemberKind.FILE,
    b"7": MemberKind.FILE,
    b"1": MemberKind.HARDLINK,
    b"2": MemberKind.SYMLINK,
    b"3": MemberKind.CHARACTER,
    b"4": MemberKind.BLOCK,
    b"5": MemberKind.DIRECTORY,
    b"6": MemberKind.FIFO,
}


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of a tar archive, as it stands."""

    name: bytes
    """Not judged yet; a directory's trailing ``/`` is removed."""
    kind: MemberKind
    mode: int
    """Permission bits, at most 0o7777."""
    uid: int
    gid: int
    size: int
    """Bytes of data; 0 unless a file."""
    linkname: bytes
    mtime: int
    """Seconds since the epoch."""
    uname: bytes
    gname: bytes
    device: tuple[int, int]
    """Major and minor number of a device."""
    xattrs: Mapping[str, bytes]
    """Extended attributes from pax ``SCHILY.xattr.``: name → value."""


class TarReader:
    """Iterates the members of ``stream``; the data of the current one is read between two steps.

    ``archive`` names it in errors. ``end_mark``: the two closing zero blocks must be there (foreign layers
    sometimes lack them). Raises :class:`LayerError` naming archive and member for everything malformed.
    """

    def __init__(self, stream: Readable, archive: str, *, limits: Limits = DEFAULT, end_mark: bool = True) -> None:
        self._stream = stream
        self._archive = archive
        self._limits = limits
        self._end_mark = end_mark
        self._left = 0
        self._padding = 0
        self._name = b""
        self._unpacked = 0

    def __iter__(self) -> Iterator[Member]:
        members = 0
        while (member := self._next()) is not None:
            members += 1
            if members > self._limits.archive_members:
                most = self._limits.archive_members
                raise self._refuse(
                    "the archive has too many members", want=most, hint=accepting("max-members", 10 * most)
                )
            self._unpacked += member.size
            if self._unpacked > self._limits.unpacked:
                most = self._limits.unpacked
                raise self._refuse(
                    "the archive unpacks to too much",
                    want=f"{most} bytes",
                    hint=accepting("max-unpacked", 2 * most),
                )
            yield member

    @property
    def left(self) -> int:
        """Bytes of the current member's data that were not read yet."""
        return self._left

    def read(self, size: int = CHUNK) -> bytes:
        """Up to ``size`` more bytes of the current member's data; empty at its end."""
        wanted = min(size, self._left)
        data = self._stream.read(wanted) if wanted else b""
        if wanted and not data:
            raise self._refuse("the archive ends inside a member")
        self._left -= len(data)
        return data

    def chunks(self, size: int = CHUNK) -> Iterator[bytes]:
        """The rest of the current member's data in bounded pieces."""
        while self._left:
            yield self.read(size)

    def content(self, limit: int) -> bytes:
        """The rest of the current member's data at once. Raises when it is more than ``limit`` bytes."""
        if self._left > limit:
            raise self._refuse("the member is too large", got=f"{self._left} bytes", want=f"{limit} bytes")
        return b"".join(self.chunks())

    def _next(self) -> Member | None:
        extended: dict[bytes, bytes] = {}
        while True:
            self._skip()
            block = self._block()
            if block is None:
                if extended:
                    raise self._refuse("the archive ends after an extended header")
                return None
            fields = self._fields(block)
            kind, size = fields[7], self._number(fields[4], "size")
            if kind in b"xgLK":
                self._extend(extended, kind, size)
                continue
            member = self._member(fields, size, extended)
            self._name, self._left = member.name, member.size
            self._padding = -member.size % BLOCK
            return member

    def _skip(self) -> None:
        for _ in self.chunks():
            pass
        if self._padding:
            self._exactly(self._padding)
            self._padding = 0

    def _exactly(self, size: int) -> bytes:
        data = self._stream.read(size)
        while len(data) < size:
            more = self._stream.read(size - len(data))
            if not more:
                raise self._refuse("the archive is cut off")
            data += more
        return data

    def _block(self) -> bytes | None:
        """The next header block, or None at the end of the archive."""
        first = self._stream.read(1)
        if not first:
            if self._end_mark:
                raise self._refuse("the archive has no end mark")
            return None
        block = first + self._exactly(BLOCK - 1)
        if block != _ZEROS:
            return block
        while data := self._stream.read(CHUNK):
            if data.strip(b"\0"):
                raise self._refuse("the archive goes on after its end mark")
        return None

    def _fields(self, block: bytes) -> tuple[bytes, ...]:
        fields: tuple[bytes, ...] = _HEADER.unpack(block)
        if self._number(fields[6], "checksum") != sum(block) - sum(fields[6]) + 8 * 32:
            raise self._refuse("a header's checksum is wrong")
        if fields[9] not in (_POSIX, _GNU, _V7):
            raise self._refuse("a header is of no known tar format", got=fields[9])
        return fields

    def _number(self, field: bytes, what: str) -> int:
        """An octal or GNU base-256 field; never negative."""
        if field[0] == 0x80:
            return int.from_bytes(field[1:], "big")
        digits = field.strip(b" \0")
        if not digits:
            return 0
        try:
            if digits.translate(None, b"01234567"):
                raise ValueError(digits)
            return int(digits, 8)
        except ValueError:
            raise self._refuse("a header's {what} is not a number", got=field, what=what) from None

    def _extend(self, extended: dict[bytes, bytes], kind: bytes, size: int) -> None:
        """Read a pax or GNU long-name header into ``extended``."""
        if size > self._limits.tar_header:
            raise self._refuse("an extended header is too large", got=size, want=self._limits.tar_header)
        data = self._exactly(size + -size % BLOCK)[:size]
        if kind in b"LK":
            records = [(b"path" if kind == b"L" else b"linkpath", data.removesuffix(b"\0"))]
        else:
            records = self._records(data)
        for key, value in records:
            if kind == b"g":
                if key != b"comment":
                    raise self._refuse("a global header overrides {key}", key=key)
                continue
            if key in extended:
                raise self._refuse("an extended header gives {key} twice", key=key)
            if key.startswith(b"GNU.sparse."):
                raise self._refuse("sparse files are not accepted")
            if not value and key in _MEANT:
                raise self._refuse("an extended header gives an empty {key}", key=key)
            extended[key] = value

    def _records(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """``LENGTH KEY=VALUE\\n`` records (pax § pax Extended Header)."""
        records = []
        at = 0
        while at < len(data):
            match = _RECORD.match(data, at)
            end = at + int(match[1]) if match else 0
            if match is None or match.end() >= end or end > len(data) or data[end - 1 : end] != b"\n":
                raise self._refuse("a pax record is malformed", got=data[at : at + 40])
            records.append((match[2], data[match.end() : end - 1]))
            at = end
        return records

    def _member(self, fields: tuple[bytes, ...], header_size: int, extended: dict[bytes, bytes]) -> Member:
        self._name = extended.get(b"path") or _field_name(fields)
        kind = _KINDS.get(fields[7])
        if kind is None:
            raise self._refuse("a member's type is not accepted", got=fields[7])
        size = self._size(header_size, extended)
        if size and kind is not MemberKind.FILE:
            raise self._refuse("a {kind} has data", kind=kind)
        name, linkname = self._names(kind, extended.get(b"linkpath") or _until_nul(fields[8]))
        return Member(
            name=name,
            kind=kind,
            mode=self._number(fields[1], "mode") & 0o7777,
            uid=self._owner(extended.get(b"uid"), fields[2], "uid"),
            gid=self._owner(extended.get(b"gid"), fields[3], "gid"),
            size=size,
            linkname=linkname,
            mtime=self._mtime(extended.get(b"mtime"), fields[5]),
            uname=extended.get(b"uname") or _until_nul(fields[10]),
            gname=extended.get(b"gname") or _until_nul(fields[11]),
            device=(self._number(fields[12], "device"), self._number(fields[13], "device")),
            xattrs={
                key[len(_XATTR) :].decode("utf-8", "surrogateescape"): value
                for key, value in extended.items()
                if key.startswith(_XATTR)
            },
        )

    def _names(self, kind: MemberKind, linkname: bytes) -> tuple[bytes, bytes]:
        """The member's name and, if it is a link, where it leads."""
        name = self._name
        if kind is MemberKind.DIRECTORY:
            name = name.rstrip(b"/") or name[:1]
        elif name.endswith(b"/"):
            raise self._refuse("a {kind}'s name ends with a slash", kind=kind)
        if kind not in (MemberKind.SYMLINK, MemberKind.HARDLINK):
            linkname = b""
        elif not linkname:
            raise self._refuse("a {kind} leads nowhere", kind=kind)
        if not name or b"\0" in name or b"\0" in linkname:
            raise self._refuse("a member's name is empty or holds a NUL")
        if max(len(name), len(linkname)) > self._limits.name_length:
            raise self._refuse("a member's name is too long", want=f"{self._limits.name_length} bytes")
        return name, linkname

    def _size(self, header_size: int, extended: dict[bytes, bytes]) -> int:
        """The size both headers agree on; above 8 GiB the plain one cannot tell (CVE-2025-62518)."""
        if b"size" not in extended:
            return header_size
        size = self._decimal(extended[b"size"], "size")
        if size != header_size and not (size > _LARGEST_OCTAL and header_size in (0, _LARGEST_OCTAL)):
            raise self._refuse("the headers disagree about the size", got=size, want=header_size)
        return size

    def _owner(self, extended: bytes | None, field: bytes, what: str) -> int:
        number = self._number(field, what) if extended is None else self._decimal(extended, what)
        if number >= 2**31:
            raise self._refuse("a member's {what} is out of range", got=number, what=what)
        return number

    def _mtime(self, extended: bytes | None, field: bytes) -> int:
        if extended is None:
            # a time before 1970 (GNU: 0xff…) means nothing to us
            return 0 if field[0] == 0xFF else self._number(field, "time")
        whole = extended.partition(b".")[0]
        return 0 if whole.startswith(b"-") else self._decimal(whole, "time")

    def _decimal(self, value: bytes, what: str) -> int:
        if not value.isdigit() or len(value) > 20:
            raise self._refuse("a header's {what} is not a number", got=value[:40], what=what)
        return int(value)

    def _refuse(
        self, template: str, *, got: object = None, want: object = None, hint: Text | None = None, **values: object
    ) -> LayerError:
        place = Place(self._archive, printable(self._name) if self._name else None)
        return LayerError(Text(template, **values), place=place, got=got, want=want, hints=[hint] if hint else [])


def _until_nul(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _field_name(fields: tuple[bytes, ...]) -> bytes:
    """The name from name and prefix; GNU keeps other things where POSIX has the prefix."""
    name = _until_nul(fields[0])
    prefix = _until_nul(fields[14]) if fields[9] == _POSIX else b""
    return prefix + b"/" + name if prefix else name


def member_path(name: bytes, archive: str, *, limits: Limits = DEFAULT) -> bytes:
    """A member's path below the root, without ``./``: ``usr/bin/env``; empty for the root itself.

    Raises :class:`LayerError` for a name that could leave the root or confuse a terminal: absolute, with
    ``..``, with control characters or a component longer than Linux allows (THREATS D05, W05).
    """
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if name.startswith(b"/"):
        reason = "a member's name is absolute"
    elif b".." in parts:
        reason = "a member's name leads outside"
    elif len(name.translate(None, _CONTROLS)) != len(name):
        reason = "a member's name holds control characters"
    elif any(len(part) > limits.component_length for part in parts):
        reason = "a part of a member's name is too long"
    else:
        return b"/".join(parts)
    raise LayerError(reason, place=Place(archive, printable(name)))

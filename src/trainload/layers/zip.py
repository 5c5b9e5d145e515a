"""A strict reader of ZIP framing (APPNOTE.TXT 6.3.10): what two readers could see differently is refused.

Nothing of an archive is trusted. Every byte must belong to exactly one thing: local headers with their data from
the first byte on, without gaps or overlaps, then the central directory, the end record, its comment, the end of
the file. The central directory must say the same as the local headers (THREATS D3, W01–W20). Data is checked by
whoever reads it: :func:`read_bytes` here, ``verify`` for spliced streams.
"""

from __future__ import annotations

import re
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from isal import isal_zlib

from trainload.errors import Text
from trainload.layers.zipend import (
    FULL32,
    ZIP64_EXTRA,
    Directory,
    extra_fields,
    find_directory,
    refuse,
    zip64_values,
)
from trainload.limits import DEFAULT, Limits, accepting

STORED, DEFLATED = 0, 8
_METHODS = {
    1: "Shrink", 6: "Implode", 9: "Deflate64", 10: "IBM TERSE", 12: "bzip2", 14: "LZMA", 19: "LZ77",
    93: "Zstandard", 95: "XZ", 97: "WavPack", 98: "PPMd", 99: "AES",
}  # fmt: skip
_ENCRYPTED = 1 << 0 | 1 << 6 | 1 << 13
_DESCRIPTOR = 1 << 3
_PATCH = 1 << 5
_UTF8 = 1 << 11
_SAME_FLAGS = _ENCRYPTED | _DESCRIPTOR | _PATCH | _UTF8
_UNIX = 3
_UNICODE_PATH = 0x7075
_CENTRAL = struct.Struct("<4sBBHHHHHIIIHHHHHII")
_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_DRIVE = re.compile(r"[A-Za-z]:")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_PLAIN_LENGTH = 200
_PLAIN = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}/)*[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}/?")
"""Nearly all names: nothing in them can lead elsewhere."""
_CHUNK = 1 << 18
_PIECE = 1 << 20
BYTES_OF_A_MEMBER = 336
"""In a central directory, on average at most: it is held in memory (64 MiB for 200,000 members)."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member; directories included."""

    name: str
    """Relative, ``/`` between parts, a directory's without its closing slash."""
    is_directory: bool
    method: int
    crc32: int
    packed: int
    """Bytes in the archive."""
    size: int
    """Bytes, inflated."""
    mode: int
    """Unix permission bits as stated, 0 when the archive was not made on Unix."""
    offset: int
    """Where its data begins."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """A row of the central directory."""

    raw: bytes
    """The name as it stands."""
    flags: int
    header: int
    """Where the local header begins."""
    member: Member


def read_members(file: BinaryIO, name: str, limits: Limits = DEFAULT) -> tuple[Member, ...]:
    """All members of the archive ``file``, called ``name`` in messages, in the order their data lies in it.

    Raises :class:`LayerError` for anything that is not one plain ZIP archive of regular files and directories.
    """
    end = find_directory(file, name)
    if end.count > limits.archive_members:
        text = Text("it has {count} members, the limit is {limit}", count=end.count, limit=limits.archive_members)
        refuse(name, None, text, hint=accepting("max-members", end.count))
    if end.size > BYTES_OF_A_MEMBER * limits.archive_members:
        refuse(name, None, Text("its central directory has {size} bytes", size=end.size))
    entries = _central_directory(file, name, end, limits)
    _check_expansion(name, end.start, entries, limits)
    members = _check_local_headers(file, name, end, entries)
    _refuse_tar(file, name)
    return members


def raw_chunks(file: BinaryIO, member: Member) -> Iterator[bytes]:
    """The member's bytes as they lie in the archive, in pieces."""
    file.seek(member.offset)
    left = member.packed
    while left:
        chunk = file.read(min(left, _CHUNK))
        if not chunk:
            return  # shorter than it was: verification of what it inflates to says so
        left -= len(chunk)
        yield chunk


def content(file: BinaryIO, name: str, member: Member) -> Iterator[bytes]:
    """The member's content in pieces, checked: raises :class:`LayerError`, at its end at the latest."""
    size = crc = 0
    stored = member.method == STORED or not member.packed  # some writers deflate nothing to nothing
    pieces = raw_chunks(file, member) if stored else _inflated(file, name, member)
    for piece in pieces:
        size += len(piece)
        crc = isal_zlib.crc32(piece, crc)
        if size > member.size:
            break
        yield piece
    if size != member.size:
        sizes = {"got": size, "want": member.size}
        refuse(name, member.name, Text("it inflates to {got} bytes and declares {want}", **sizes))
    if crc != member.crc32:
        crcs = {"got": f"{crc:08x}", "want": f"{member.crc32:08x}"}
        refuse(name, member.name, Text("its CRC-32 is {got} and should be {want}", **crcs))


def read_bytes(file: BinaryIO, name: str, member: Member, limit: int) -> bytes:
    """A small member's content, checked. Raises :class:`LayerError` when larger than ``limit`` or damaged."""
    if member.size > limit:
        refuse(name, member.name, Text("it has {size} bytes, the limit is {limit}", size=member.size, limit=limit))
    return b"".join(content(file, name, member))


def _inflated(file: BinaryIO, name: str, member: Member) -> Iterator[bytes]:
    damaged: type[Exception] = isal_zlib.IsalError  # type: ignore[assignment]  # its stub says it is an instance
    stream = isal_zlib.decompressobj(-15)
    for chunk in raw_chunks(file, member):
        left, more = chunk, True
        while more:
            try:
                piece: bytes = stream.decompress(left, _PIECE)
            except damaged as error:
                refuse(name, member.name, Text("its deflate stream is damaged ({reason})", reason=error))
            left = stream.unconsumed_tail
            more = bool(left) or len(piece) == _PIECE
            yield piece
    if not stream.eof or stream.unused_data:
        refuse(name, member.name, Text("its deflate stream does not end where the member ends"))


def _central_directory(file: BinaryIO, name: str, end: Directory, limits: Limits) -> list[_Entry]:
    file.seek(end.start)
    data = file.read(end.size)
    entries: list[_Entry] = []
    seen: set[str] = set()
    at = 0
    for _ in range(end.count):
        stop = len(data) + 1
        if data.startswith(b"PK\x01\x02", at) and at + _CENTRAL.size <= len(data):
            fields = _CENTRAL.unpack_from(data, at)
            stop = at + _CENTRAL.size + fields[11] + fields[12] + fields[13]
        if stop > len(data):
            refuse(name, None, Text("its central directory is cut short, or holds something that is no member"))
        entry = _entry(name, fields, data[at + _CENTRAL.size : stop], limits)
        if entry.member.name in seen:
            refuse(name, entry.member.name, Text("the member is there twice"))
        seen.add(entry.member.name)
        entries.append(entry)
        at = stop
    if at != len(data):
        refuse(
            name, None, Text("its central directory holds more than the {count} members it says", count=end.count)
        )
    return entries


def _entry(archive: str, fields: tuple[int, ...], tail: bytes, limits: Limits) -> _Entry:
    system, flags, method, crc = fields[2], fields[4], fields[5], fields[8]
    raw, extra = tail[: fields[11]], tail[fields[11] : fields[11] + fields[12]]
    name = member_name(archive, raw, flags, limits)
    size, packed, header = fields[10], fields[9], fields[17]
    if extra or FULL32 in (size, packed, header):
        extras = extra_fields(archive, name, extra)
        _check_unicode_path(archive, name, raw, extras)
        size, packed, header = zip64_values(archive, name, extras, (size, packed, header))
    if flags & (_ENCRYPTED | _PATCH):
        refuse(archive, name, Text("it is encrypted, or a patch"))
    if method not in (STORED, DEFLATED):
        word = _METHODS.get(method, str(method))
        refuse(archive, name, Text("it is compressed by {method}", method=word), want="deflate or no compression")
    if fields[14]:
        refuse(archive, name, Text("it lies in another part of a split archive"))
    if method == STORED and packed != size:
        refuse(archive, name, Text("it is not compressed and yet declares two sizes, {packed} and {size} bytes",
                                   packed=packed, size=size))  # fmt: skip
    mode = fields[16] >> 16 if system == _UNIX else 0
    is_directory = raw.endswith(b"/")
    _check_kind(archive, name, mode, is_directory=is_directory)
    if is_directory and (size or crc or packed > (2 if method == DEFLATED else 0)):
        refuse(archive, name, Text("it is a directory and has content"))
    member = Member(name.rstrip("/"), is_directory, method, crc, packed, size, stat.S_IMODE(mode), 0)
    return _Entry(raw, flags, header, member)


def member_name(archive: str, raw: bytes, flags: int, limits: Limits) -> str:
    """The name as text, a directory's with its slash. Raises :class:`LayerError` if it could lead elsewhere."""
    if len(raw) > limits.name_length:
        text = Text("a name has {length} bytes, the limit is {limit}", length=len(raw), limit=limits.name_length)
        refuse(archive, raw[:100].decode("utf-8", "replace"), text)
    try:
        name = raw.decode("utf-8" if flags & _UTF8 else "ascii")
    except UnicodeDecodeError:
        shown = raw.decode("utf-8", "backslashreplace")
        refuse(archive, shown, Text("its name is not in the character set the archive declares"))
    if _PLAIN.fullmatch(name) and limits.component_length >= _PLAIN_LENGTH:
        return name
    parts = name.removesuffix("/").split("/")
    if _CONTROL.search(name):
        refuse(archive, name, Text("its name has control characters"))
    if name.startswith("/"):
        refuse(archive, name, Text("its name is an absolute path"))
    if "\\" in name or _DRIVE.match(name):
        refuse(archive, name, Text("its name has a backslash or a drive letter"))
    if ".." in parts:
        refuse(archive, name, Text("its name leads out of the archive's own folder"))
    if "" in parts or "." in parts:
        refuse(archive, name, Text("its name has an empty part or a dot for one"))
    longest = limits.component_length
    if any(len(part.encode()) > longest for part in parts):
        refuse(
            archive, name, Text("a part of its name is longer than {limit} bytes", limit=limits.component_length)
        )
    return name


def _check_unicode_path(archive: str, name: str, raw: bytes, extras: dict[int, bytes]) -> None:
    record = extras.get(_UNICODE_PATH)
    if record is not None and record[5:] != raw:
        refuse(archive, name, Text("an extra field gives it another name (Info-ZIP unicode path)"))


def _check_kind(archive: str, name: str, mode: int, *, is_directory: bool) -> None:
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFLNK:
        refuse(archive, name, Text("it is a symbolic link"))
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        refuse(archive, name, Text("it is a device, a pipe or a socket"))
    if kind == stat.S_IFDIR and not is_directory:
        refuse(archive, name, Text("it is a directory by its mode and a file by its name"))


def _check_expansion(archive: str, packed: int, entries: list[_Entry], limits: Limits) -> None:
    """THREATS W17: sizes are declared here and enforced while inflating."""
    total = sum(entry.member.size for entry in entries)
    if total > limits.unpacked:
        refuse(
            archive,
            None,
            Text("it unpacks to {size} bytes, the limit is {limit}", size=total, limit=limits.unpacked),
            hint=Text("--max-unpacked {size} accepts it", size=total),
        )
    if total > limits.expansion_size and total > limits.expansion_ratio * packed:
        refuse(
            archive,
            None,
            Text("it unpacks to {size} bytes, {ratio} times its size", size=total, ratio=total // max(packed, 1)),
            want=f"at most {limits.expansion_ratio} times",
            hint=accepting("max-ratio", total // max(packed, 1) + 1),
        )


def _check_local_headers(file: BinaryIO, name: str, end: Directory, entries: list[_Entry]) -> tuple[Member, ...]:
    """The members with the places of their data; local headers agree and lie end to end (THREATS W06–W10, W17)."""
    at = 0
    members: list[Member] = []
    ordered = sorted(entries, key=lambda entry: entry.header)
    for index, entry in enumerate(ordered):
        if entry.header != at:
            refuse(name, entry.member.name, Text("bytes before it belong to no member, or to two"))
        following = ordered[index + 1].header if index + 1 < len(ordered) else end.start
        members.append(_local(file, name, entry, following))
        at = following
    if at != end.start:
        refuse(name, None, Text("bytes before its central directory belong to no member"))
    return tuple(members)


def _local(file: BinaryIO, name: str, entry: _Entry, following: int) -> Member:
    member = entry.member
    file.seek(entry.header)
    head = file.read(_LOCAL.size)
    if len(head) < _LOCAL.size or not head.startswith(b"PK\x03\x04"):
        refuse(name, member.name, Text("there is no local header where the central directory says"))
    _, _, flags, method, _, _, crc, packed, size, name_length, extra_length = _LOCAL.unpack(head)
    rest = file.read(name_length + extra_length)
    if rest[:name_length] != entry.raw:
        refuse(name, member.name, Text("its local header gives it another name"))
    if method != member.method or (flags ^ entry.flags) & _SAME_FLAGS:
        refuse(name, member.name, Text("its local header gives another compression or other flags"))
    if extra_length:
        extras = extra_fields(name, member.name, rest[name_length:])
        _check_unicode_path(name, member.name, entry.raw, extras)
        if ZIP64_EXTRA in extras:
            size, packed = zip64_values(name, member.name, extras, (size, packed))
    stated, real = (crc, packed, size), (member.crc32, member.packed, member.size)
    offset = entry.header + _LOCAL.size + name_length + extra_length
    gap = following - offset - member.packed
    if flags & _DESCRIPTOR:
        if any(value not in (0, truth) for value, truth in zip(stated, real, strict=True)):
            refuse(name, member.name, Text("its local header gives other sizes or another CRC-32"))
        file.seek(offset + member.packed)
        if not _is_descriptor(file.read(gap) if 12 <= gap <= 24 else b"", member):
            refuse(name, member.name, Text("what follows its data is not its data descriptor"))
    elif stated != real:
        refuse(name, member.name, Text("its local header gives other sizes or another CRC-32"))
    elif gap:
        refuse(name, member.name, Text("its data does not end where the next member begins"))
    return Member(
        member.name,
        member.is_directory,
        member.method,
        member.crc32,
        member.packed,
        member.size,
        member.mode,
        offset,
    )


def _is_descriptor(data: bytes, member: Member) -> bool:
    """§ 4.3.9: with or without signature, sizes of 32 or 64 bits."""
    values = (member.crc32, member.packed, member.size)
    wide = struct.pack("<IQQ", *values)
    forms = [wide, b"PK\x07\x08" + wide]
    if max(values) < 1 << 32:
        narrow = struct.pack("<III", *values)
        forms += [narrow, b"PK\x07\x08" + narrow]
    return data in forms


def _refuse_tar(file: BinaryIO, name: str) -> None:
    """THREATS W20: the first block of the file must not be a tar header as well."""
    file.seek(0)
    block = file.read(512)
    field = block[148:156].strip(b" \0")
    if len(block) == 512 and field and all(c in b"01234567" for c in field):
        total = sum(block[:148]) + sum(b" " * 8) + sum(block[156:])
        if total == int(field, 8):
            refuse(name, None, Text("it is a tar archive as well"))

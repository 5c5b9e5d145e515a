"""Tar headers (POSIX.1-2017 ustar, pax records only where ustar cannot say it), as pure functions to bytes."""

from __future__ import annotations

from enum import Enum

from trainload.errors import LayerError, Place, Text
from trainload.values import dataclass

BLOCK = 512
_LARGEST_SIZE = 8**11 - 1  # eleven octal digits: 8 GiB - 1
_LARGEST_ID = 8**7 - 1
_NAME, _PREFIX, _LINK = 100, 155, 100
_MAGIC = b"ustar\x0000"
_FIXED_SUM = sum(_MAGIC) + 8 * ord(" ")
_NOT_NAMES = frozenset({"", ".", ".."})


class Type(Enum):
    """What an entry is; the value is its typeflag."""

    FILE = b"0"
    HARDLINK = b"1"
    SYMLINK = b"2"
    DIRECTORY = b"5"


@dataclass(frozen=True, slots=True)
class Header:
    """One entry. ``name``, without slash at either end, and ``target`` are in ``os.fsdecode`` form."""

    name: str
    type: Type
    mode: int
    size: int = 0
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    target: str = ""


@dataclass(frozen=True, slots=True)
class Owner:
    """Numeric owner of an entry; names stay empty."""

    uid: int = 0
    gid: int = 0


ROOT = Owner()


def entry_name(path: str) -> str:
    """``path`` of the image (with or without the first slash) as the name of a tar entry.

    Raises :class:`LayerError` for a path that is not plainly inside the image, and for a whiteout, which would
    delete instead of add (layer.md § Whiteouts; THREATS P07).
    """
    name = path.removeprefix("/")
    if not _NOT_NAMES.isdisjoint(name.split("/")) or "\0" in name:
        raise LayerError(
            Text("a layer cannot hold the path {path}", path=path[:300]),
            want="a path inside the image, without empty parts, . and ..",
        )
    if "/.wh." in f"/{name}":
        raise LayerError(
            Text("a name that begins with .wh. means a deletion in an image layer"),
            place=Place(path),
            hints=[Text("rename the file, or leave it out")],
        )
    return name


def encode(header: Header) -> bytes:
    """The header blocks of an entry: 512 bytes, with pax records before them where they are needed."""
    raw = header.name.encode("utf-8", "surrogateescape")
    if header.type is Type.DIRECTORY:
        raw += b"/"
    target = header.target.encode("utf-8", "surrogateescape")
    records: list[tuple[bytes, bytes]] = []
    prefix, name = _split(raw)
    if name is None:
        records.append((b"path", raw))
        name = _ascii(raw)[:_NAME]
    link = target
    if len(target) > _LINK or not target.isascii():
        records.append((b"linkpath", target))
        link = _ascii(target)[:_LINK]
    size = _number(records, b"size", header.size, _LARGEST_SIZE)
    uid = _number(records, b"uid", header.uid, _LARGEST_ID)
    gid = _number(records, b"gid", header.gid, _LARGEST_ID)
    fields = b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (header.mode, uid, gid, size, header.mtime)
    block = _block(prefix, name, fields, header.type.value, link)
    return _pax(sorted(records), header.mtime) + block if records else block


def padding(size: int) -> int:
    """Zero bytes that follow ``size`` bytes of content."""
    return -size % BLOCK


def _number(records: list[tuple[bytes, bytes]], key: bytes, value: int, largest: int) -> int:
    if value <= largest:
        return value
    records.append((key, b"%d" % value))
    return 0


def _ascii(raw: bytes) -> bytes:
    return bytes(byte if byte < 0x80 else 0x3F for byte in raw)  # "?"


def _split(raw: bytes) -> tuple[bytes, bytes | None]:
    """(prefix, name) of the ustar fields; name is None when they cannot hold ``raw``."""
    if not raw.isascii():
        return b"", None
    if len(raw) <= _NAME:
        return b"", raw
    cut = raw.rfind(b"/", 0, min(_PREFIX + 1, len(raw) - 1))
    if cut <= 0 or len(raw) - cut - 1 > _NAME:
        return b"", None
    return raw[:cut], raw[cut + 1 :]


def _block(prefix: bytes, name: bytes, fields: bytes, typeflag: bytes, link: bytes) -> bytes:
    # the checksum's own field counts as blanks; zeros add nothing, so only what is written is added up
    checksum = _FIXED_SUM + sum(name) + sum(fields) + typeflag[0] + sum(link) + sum(prefix)
    return b"".join(
        (
            name.ljust(100, b"\0"), fields, b"%06o\0 " % checksum, typeflag, link.ljust(100, b"\0"), _MAGIC,
            bytes(80), prefix.ljust(167, b"\0"),
        )
    )  # fmt: skip


def _pax(records: list[tuple[bytes, bytes]], mtime: int) -> bytes:
    body = b"".join(_record(key, value) for key, value in records)
    fields = b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (0o644, 0, 0, len(body), mtime)
    return _block(b"", b"././@PaxHeader", fields, b"x", b"") + body + bytes(padding(len(body)))


def _record(key: bytes, value: bytes) -> bytes:
    """``LENGTH key=value\\n``, where LENGTH counts itself."""
    rest = b" %s=%s\n" % (key, value)
    length = len(rest)
    while len(text := b"%d" % length) + len(rest) != length:
        length = len(text) + len(rest)
    return text + rest

"""ZIP archives and wheels written byte by byte, also the ones that say one thing here and another there."""

from __future__ import annotations

import base64
import hashlib
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sBBHHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")


@dataclass(frozen=True, slots=True)
class Part:
    """One member. What is None is what it should be; the rest is how it lies."""

    name: str | bytes
    data: bytes = b""
    method: int = 8
    mode: int = 0o100644
    system: int = 3
    flags: int | None = None
    crc: int | None = None
    size: int | None = None
    packed: bytes | None = None
    """The bytes in the archive."""
    extra: bytes = b""
    local: Mapping[str, int | bytes] = field(default_factory=dict)
    """Other values in the local header only: name, flags, method, crc, packed, size, extra."""
    descriptor: bytes = b""
    """Bytes after the data."""
    before: bytes = b""
    """Bytes before the local header."""
    listed: bool = True
    """Whether the central directory has it."""
    present: bool = True
    """Whether there is a local header with data."""

    @property
    def raw(self) -> bytes:
        return self.name if isinstance(self.name, bytes) else self.name.encode()


@dataclass(frozen=True, slots=True)
class End:
    """How the archive ends; None is what it should be."""

    prefix: bytes = b""
    suffix: bytes = b""
    comment: bytes = b""
    count: int | None = None
    start: int | None = None
    size: int | None = None
    zip64: bytes | None = None
    """What stands between the central directory and the end record."""


def deflated(data: bytes) -> bytes:
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    return engine.compress(data) + engine.flush()


def descriptor(data: bytes, *, signed: bool = True) -> bytes:
    """The data descriptor of a deflated member (APPNOTE § 4.3.9)."""
    return b"PK\x07\x08"[: 4 * signed] + struct.pack("<III", zlib.crc32(data), len(deflated(data)), len(data))


def archive(parts: Sequence[Part], end: End | None = None) -> bytes:
    """The bytes of the archive."""
    end = end or End()
    body = bytearray(end.prefix)
    directory = bytearray()
    count = 0
    for part in parts:
        body += part.before
        offset = len(body)
        packed = part.packed if part.packed is not None else deflated(part.data) if part.method == 8 else part.data
        flags = part.flags if part.flags is not None else 0 if part.raw.isascii() else 0x800
        values: dict[str, int] = {
            "flags": flags,
            "method": part.method,
            "crc": zlib.crc32(part.data) if part.crc is None else part.crc,
            "packed": len(packed),
            "size": len(part.data) if part.size is None else part.size,
        }
        if part.present:
            body += _local(part, values) + packed + part.descriptor
        if part.listed:
            directory += _central(part, values, offset)
            count += 1
    return bytes(body) + bytes(directory) + _end(end, len(body), len(directory), count)


def _local(part: Part, values: Mapping[str, int]) -> bytes:
    lies = dict(part.local)
    name, extra = lies.pop("name", part.raw), lies.pop("extra", part.extra)
    assert isinstance(name, bytes)
    assert isinstance(extra, bytes)
    v = {**values, **lies}
    return (
        _LOCAL.pack(
            b"PK\x03\x04",
            20,
            v["flags"],
            v["method"],
            0,
            33,
            v["crc"],
            v["packed"],
            v["size"],
            len(name),
            len(extra),
        )
        + name
        + extra
    )


def _central(part: Part, v: Mapping[str, int], offset: int) -> bytes:
    head = (b"PK\x01\x02", 20, part.system, 20, v["flags"], v["method"], 0, 33, v["crc"], v["packed"], v["size"])
    tail = (len(part.raw), len(part.extra), 0, 0, 0, part.mode << 16, offset)
    return _CENTRAL.pack(*head, *tail) + part.raw + part.extra


def _end(end: End, start: int, size: int, count: int) -> bytes:
    count = count if end.count is None else end.count
    start = start if end.start is None else end.start
    size = size if end.size is None else end.size
    record = _END.pack(b"PK\x05\x06", 0, 0, count, count, size, start, len(end.comment))
    return (end.zip64 or b"") + record + end.comment + end.suffix


def row(path: str, data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{path},sha256={digest},{len(data)}\n"


@dataclass(frozen=True, slots=True)
class Made:
    """A wheel of our own: change a field, get another wheel."""

    name: str = "demo"
    version: str = "1.0"
    files: Mapping[str, bytes] = field(default_factory=lambda: {"demo/__init__.py": b"x = 1\n"})
    """``.dist-info`` and ``.data`` in a name stand for the wheel's own folders."""
    entry_points: str | None = None
    metadata: bytes | None = None
    wheel: bytes = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record: bytes | None = None
    more: tuple[Part, ...] = ()
    """Members that RECORD does not know."""
    modes: Mapping[str, int] = field(default_factory=dict)
    end: End = field(default_factory=End)

    @property
    def file(self) -> str:
        return f"{self.name}-{self.version}-py3-none-any.whl"

    @property
    def info(self) -> str:
        return f"{self.name}-{self.version}.dist-info"

    def parts(self) -> list[Part]:
        members = {self._named(path): data for path, data in self.files.items()}
        text = f"Metadata-Version: 2.1\nName: {self.name}\nVersion: {self.version}\n"
        members[f"{self.info}/METADATA"] = text.encode() if self.metadata is None else self.metadata
        members[f"{self.info}/WHEEL"] = self.wheel
        if self.entry_points is not None:
            members[f"{self.info}/entry_points.txt"] = self.entry_points.encode()
        rows = "".join(row(path, data) for path, data in members.items() if not path.endswith("/"))
        record = (rows + f"{self.info}/RECORD,,\n").encode() if self.record is None else self.record
        members[f"{self.info}/RECORD"] = record
        modes = {self._named(path): mode for path, mode in self.modes.items()}
        return [Part(path, data, mode=modes.get(path, 0o100644)) for path, data in members.items()] + [
            replace(part, name=self._named(part.name)) if isinstance(part.name, str) else part for part in self.more
        ]

    def bytes(self) -> bytes:
        return archive(self.parts(), self.end)

    def _named(self, path: str) -> str:
        for folder in (".dist-info", ".data"):
            if path.startswith(f"{folder}/"):
                return f"{self.name}-{self.version}{path}"
        return path

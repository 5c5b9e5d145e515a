"""The end of a ZIP archive: where its central directory lies, found in one way only (APPNOTE.TXT § 4.3.14)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO, NoReturn

from trainload.errors import LayerError, Place, Text

_END = struct.Struct("<4sHHHHIIH")
_LOCATOR = struct.Struct("<4sIQI")
_END64 = struct.Struct("<4sQHHIIQQQQ")
_FULL16, FULL32 = 0xFFFF, 0xFFFFFFFF
ZIP64_EXTRA = 1


@dataclass(frozen=True, slots=True)
class Directory:
    """The central directory: ``size`` bytes from ``start`` on that list ``count`` members."""

    start: int
    size: int
    count: int


def refuse(
    archive: str, member: str | None, reason: Text, *, want: object = None, hint: Text | None = None
) -> NoReturn:
    """Raises the :class:`LayerError` of a broken or hostile archive; ``hint``: how to have it all the same."""
    raise LayerError(
        Text("the archive is refused: {reason}", reason=reason),
        place=Place(archive, member),
        want=want,
        hints=[
            Text("fetch the file again; if it stays so, use another release of the package and tell its publisher"),
            *([] if hint is None else [hint]),
        ],
    )


def find_directory(file: BinaryIO, name: str) -> Directory:
    """The central directory. Raises :class:`LayerError` unless the file ends with it and its end records."""
    length = file.seek(0, 2)
    reach = min(length, _END.size + _FULL16)
    file.seek(length - reach)
    tail = file.read(reach)
    at = len(tail) - _END.size
    while at >= 0 and not (
        tail.startswith(b"PK\x05\x06", at)
        and int.from_bytes(tail[at + 20 : at + 22], "little") == len(tail) - at - _END.size
    ):
        at = tail.rfind(b"PK\x05\x06", 0, at + 3)
    if at < 0:
        refuse(name, None, Text("it does not end as a ZIP archive does: it is cut short, or something follows it"))
    _, disk, first_disk, here, count, size, start, _ = _END.unpack_from(tail, at)
    if b"PK\x05\x06" in tail[at + _END.size :]:
        refuse(name, None, Text("its comment holds a second end of archive"))
    if disk or first_disk or here != count:
        refuse(name, None, Text("it is one part of a split archive"))
    position = length - reach + at
    return _zip64(file, name, position, Directory(start, size, count))


def _zip64(file: BinaryIO, name: str, position: int, small: Directory) -> Directory:
    """The directory by the ZIP64 end record if there is one; then every small field is full or the same."""
    after = position
    found = small
    file.seek(max(position - _LOCATOR.size, 0))
    locator = file.read(_LOCATOR.size)
    full = small.count == _FULL16 or FULL32 in (small.size, small.start)
    if position >= _LOCATOR.size and locator.startswith(b"PK\x06\x07"):
        _, disk, record, disks = _LOCATOR.unpack(locator)
        after = position - _LOCATOR.size - _END64.size
        if disk or disks > 1 or record != after or after < 0:
            refuse(name, None, Text("its ZIP64 locator does not point at the record before it"))
        file.seek(after)
        sign, length, _, _, disk, first_disk, here, count, size, start = _END64.unpack(file.read(_END64.size))
        if sign != b"PK\x06\x06" or length != _END64.size - 12 or disk or first_disk or here != count:
            refuse(name, None, Text("its ZIP64 end record is damaged or extended"))
        found = Directory(start, size, count)
        if (
            small.count not in (_FULL16, count)
            or small.size not in (FULL32, size)
            or small.start not in (FULL32, start)
        ):
            refuse(name, None, Text("its two end records say different things"))
    elif full:
        refuse(name, None, Text("it needs a ZIP64 end record and has none"))
    if found.start + found.size != after:
        refuse(name, None, Text("its central directory does not lie right before the end records"))
    return found


def extra_fields(archive: str, member: str, extra: bytes) -> dict[int, bytes]:
    """The extra field's records by their id. Raises :class:`LayerError` when they do not fill it or repeat."""
    found: dict[int, bytes] = {}
    at = 0
    while at < len(extra):
        if at + 4 > len(extra):
            refuse(archive, member, Text("its extra field is damaged"))
        key, length = struct.unpack_from("<HH", extra, at)
        at += 4 + length
        if at > len(extra) or key in found:
            refuse(archive, member, Text("its extra field is damaged or repeats a record"))
        found[key] = extra[at - length : at]
    return found


def zip64_values(archive: str, member: str, extra: dict[int, bytes], fields: tuple[int, ...]) -> tuple[int, ...]:
    """``fields`` with the full ones (32 ones) taken from the ZIP64 record (§ 4.5.3)."""
    full = [index for index, value in enumerate(fields) if value == FULL32]
    record = extra.get(ZIP64_EXTRA)
    if record is None:
        if full:
            refuse(archive, member, Text("it needs a ZIP64 record and has none"))
        return fields
    given = full
    if len(record) != 8 * len(full):  # some writers state both sizes always: then they must be the same
        given = list(range(len(record) // 8))
        if len(record) % 8 or not {*full, 0, 1} <= set(given) <= set(range(len(fields))):
            refuse(archive, member, Text("its ZIP64 record is too short or too long"))
    values = list(fields)
    for place, index in enumerate(given):
        value = int.from_bytes(record[8 * place : 8 * place + 8], "little")
        if fields[index] not in (value, FULL32):
            refuse(archive, member, Text("its ZIP64 record says other sizes than its header"))
        values[index] = value
    return tuple(values)

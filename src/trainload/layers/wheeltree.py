"""The files of the image that one wheel becomes, with the RECORD that goes with them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

from trainload.errors import Text
from trainload.layers.entrypoints import EntryPoint
from trainload.layers.place import Placed, Refused, Role, Scheme, place, relative
from trainload.layers.record import SIGNATURES, Row, encode_hash, read_hash, write_record
from trainload.layers.zip import BYTES_OF_A_MEMBER, Member, content, read_bytes
from trainload.layers.zipend import refuse

INSTALLER = b"trainload\n"
METADATA_LIMIT = 32 << 20
"""Bytes of a file of ``.dist-info`` that is read whole; the largest RECORDs have a few MB."""
_SCRIPT_LIMIT = 64 << 20
"""Bytes of a script whose first line is rewritten."""
_PLACEHOLDER = b"#!python"
_LAUNCHER_SUFFIXES = (".exe", "-script.py", ".pya")


@dataclass(frozen=True, slots=True)
class Item:
    """A file of the image that comes from a wheel: a member as it is, or bytes that we made."""

    path: str
    """In the image, without the first slash."""
    mode: int
    size: int
    sha256: bytes
    """What the wheel's RECORD promises; to be checked by whoever reads the source."""
    source: Member | bytes


@dataclass(frozen=True, slots=True)
class Archive:
    """An open wheel."""

    stream: BinaryIO
    name: str
    members: Mapping[str, Member]
    info: str
    """``NAME-VERSION.dist-info``."""
    scheme: Scheme
    unrecorded: bool = False
    """Whether files may be there that RECORD does not list."""

    def read(self, name: str) -> bytes:
        """A file of ``.dist-info``. Raises :class:`LayerError` when it is not there."""
        path = f"{self.info}/{name}"
        member = self.members.get(path)
        if member is None or member.is_directory:
            refuse(self.name, path, Text("the wheel lacks this file"))
        listed = BYTES_OF_A_MEMBER * len(self.members) if name == "RECORD" else 0  # a row for each
        return read_bytes(self.stream, self.name, member, max(METADATA_LIMIT, listed))


@dataclass(slots=True)
class _Tree:
    items: dict[str, Item] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    folders: set[str] = field(default_factory=set)

    def add(self, archive: Archive, item: Item, member: str | None = None) -> None:
        """Raises :class:`LayerError` when the wheel puts two different files at one path."""
        if self.items.setdefault(item.path, item) is not item:
            refuse(archive.name, member, Text("the wheel has two files for {path}", path=f"/{item.path}"))


def tree(
    archive: Archive, rows: tuple[Row, ...], points: tuple[EntryPoint, ...]
) -> tuple[tuple[Item, ...], tuple[str, ...]]:
    """(files, listed folders), both sorted by path. Raises :class:`LayerError` (THREATS W21, W25, W26, W31)."""
    recorded = {row.path: row for row in rows}
    made = _made(archive, points)
    replaced = {item.path for item in made}
    commands = {point.name for point in points}
    result = _Tree()
    for row in rows:
        if row.path not in archive.members:
            refuse(archive.name, row.path, Text("RECORD lists it, and it is not in the wheel"))
    for member in archive.members.values():
        where = _place(archive, member)
        if member.is_directory:
            if where.role is not Role.STRUCTURE:
                result.folders.add(where.path)
            continue
        old = recorded.get(member.name)
        stays = where.path in replaced and member.name.startswith(f"{archive.info}/")
        launcher = where.role is Role.SCRIPT and _launched(where.path) in commands
        if member.name == f"{archive.info}/RECORD" or stays or launcher:
            result.rows.extend([] if old is None else [old])  # as uv has it: the row stays as it is
            continue
        item, new = _item(archive, member, where, old)
        result.add(archive, item, member.name)
        result.rows.append(new)
    for item in made:
        result.add(archive, item)
        result.rows.append(Row(_relative(archive, item.path), encode_hash(item.sha256), item.size))
    path = f"{archive.info}/RECORD"
    record = write_record(result.rows)
    result.add(archive, _made_item(f"{archive.scheme.site_packages}/{path}", record, _mode(archive.members[path])))
    return tuple(result.items[path] for path in sorted(result.items)), tuple(sorted(result.folders))


def _place(archive: Archive, member: Member) -> Placed:
    where = place(member.name, archive.scheme, is_directory=member.is_directory)
    if isinstance(where, Refused):
        refuse(archive.name, member.name, where.reason)
    return where


def _item(archive: Archive, member: Member, where: Placed, row: Row | None) -> tuple[Item, Row]:
    """The file that a member becomes, and its row in the new RECORD."""
    sha256 = _promised(archive, member, row)
    mode = 0o755 if where.role is Role.SCRIPT else _mode(member)
    path = _relative(archive, where.path)
    start = next(content(archive.stream, archive.name, member), b"") if where.role is Role.SCRIPT else b""
    if start.startswith(_PLACEHOLDER):
        data = read_bytes(archive.stream, archive.name, member, _SCRIPT_LIMIT)
        if hashlib.sha256(data).digest() != sha256:
            refuse(archive.name, member.name, Text("its sha256 is not the one in RECORD"))
        data = _shebang(archive) + data.removeprefix(_PLACEHOLDER).removeprefix(b"w")
        item = _made_item(where.path, data, mode)
        return item, Row(path, encode_hash(item.sha256), item.size)
    item = Item(where.path, mode, member.size, sha256, member)
    if row is not None and row.path == path:
        return item, row
    return item, Row(path, row.hash, row.size) if row else Row(path, "", None)


def _mode(member: Member) -> int:
    """One bit of a member's mode counts: whether anybody may execute it (THREATS W31)."""
    return 0o755 if member.mode & 0o111 else 0o644


def _promised(archive: Archive, member: Member, row: Row | None) -> bytes:
    """The sha256 that the member must have (THREATS W21)."""
    if row is None or not row.hash:
        accepted = row is None and archive.unrecorded
        if not accepted and member.name.removeprefix(f"{archive.info}/") not in SIGNATURES:
            if row is None:
                hint = Text("--allow-unrecorded accepts it")
                refuse(archive.name, member.name, Text("RECORD does not list it"), hint=hint)
            refuse(archive.name, member.name, Text("RECORD has no hash for it"))
        return _digest(archive, member, "sha256")
    if row.size is not None and row.size != member.size:
        sizes = {"got": member.size, "want": row.size}
        refuse(archive.name, member.name, Text("it has {got} bytes and RECORD says {want}", **sizes))
    promise = read_hash(row, archive.name)
    if promise.algorithm == "sha256":
        return promise.digest
    if _digest(archive, member, promise.algorithm) != promise.digest:
        refuse(archive.name, member.name, Text("its {name} is not the one in RECORD", name=promise.algorithm))
    return _digest(archive, member, "sha256")


def _digest(archive: Archive, member: Member, algorithm: str) -> bytes:
    digest = hashlib.new(algorithm)
    for piece in content(archive.stream, archive.name, member):
        digest.update(piece)
    return digest.digest()


def _made(archive: Archive, points: tuple[EntryPoint, ...]) -> list[Item]:
    """Files that installing makes: launchers of entry points, and who installed it (PEP 376; uv writes both)."""
    info = f"{archive.scheme.site_packages}/{archive.info}"
    made = [_made_item(f"{info}/INSTALLER", INSTALLER), _made_item(f"{info}/REQUESTED", b"")]
    origin = archive.scheme.install.origin.encode()
    made += [_made_item(f"{info}/direct_url.json", origin)] if origin else []
    for point in points:
        where = place(f"{archive.scheme.data}/scripts/{point.name}", archive.scheme)
        if isinstance(where, Refused):
            refuse(archive.name, f"{archive.info}/entry_points.txt", where.reason)
        made.append(_made_item(where.path, point.script(_shebang(archive).decode()), 0o755))
    return made


def _shebang(archive: Archive) -> bytes:
    return f"#!{archive.scheme.install.interpreter}".encode()


def _made_item(path: str, data: bytes, mode: int = 0o644) -> Item:
    return Item(path, mode, len(data), hashlib.sha256(data).digest(), data)


def _relative(archive: Archive, path: str) -> str:
    return relative(path, archive.scheme.site_packages)


def _launched(path: str) -> str:
    """The command a script would be the launcher of, when an older build tool made it."""
    name = path.rpartition("/")[2]
    for suffix in _LAUNCHER_SUFFIXES:
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return name

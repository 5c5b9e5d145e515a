"""A Debian package (deb(5)): its control members as values, its files as a tar stream; nothing is extracted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

from trainload.errors import LayerError, Place, Text, printable
from trainload.layers.debian import ar
from trainload.layers.debian.control import Control, parse_control
from trainload.layers.decompress import Decompressed
from trainload.layers.tarread import MemberKind, TarReader, member_path
from trainload.limits import DEFAULT, Limits, MiB

_CONTROL_LIMIT = MiB
_MEMBER_LIMIT = 16 * MiB  # symbols and md5sums of the largest packages are a few MB
_CONTROL = re.compile(r"control\.tar(?:\.(gz|xz|zst))?")
_DATA = re.compile(r"data\.tar(?:\.(\w+))?")
_CONTROL_NAME = re.compile(rb"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class ControlFile:
    """A member of control.tar, as it stands."""

    content: bytes
    mode: int


@dataclass(frozen=True, slots=True)
class Deb:
    """An opened package."""

    name: str
    """File name, for errors."""
    control: Control
    members: Mapping[str, ControlFile]
    """``postinst``, ``md5sums`` …; sorted, with ``control``."""
    data: ar.ArMember
    compression: str
    limits: Limits = DEFAULT

    def files(self, file: BinaryIO) -> TarReader:
        """The package's files; ``file`` is the one the package was opened from."""
        window = ar.Window(file, self.data.offset, self.data.size)
        stream = Decompressed(window, self.compression, Place(self.name, self.data.name), limits=self.limits)
        return TarReader(stream, self.name, limits=self.limits)


def open_deb(file: BinaryIO, name: str, *, limits: Limits = DEFAULT) -> Deb:
    """Read a package's frame and control part. Raises :class:`LayerError` (THREATS D01–D04, D09)."""
    parts = [member for member in ar.members(file, name) if not member.name.startswith("_")]
    if not parts or parts[0].name != "debian-binary":
        raise LayerError("the package does not begin with debian-binary", place=Place(name))
    if [part.name.partition(".")[0] for part in parts[1:]] != ["control", "data"]:
        raise LayerError(
            "the package's members are not those of a package",
            place=Place(name),
            got=", ".join(part.name for part in parts),
            want="debian-binary, control.tar.*, data.tar.*",
        )
    version = ar.Window(file, parts[0].offset, parts[0].size).read(64)
    if not re.match(rb"2\.[0-9]+\n", version):
        raise LayerError("the package's format is not known", place=Place(name), got=version, want="2.0")
    control, data = _CONTROL.fullmatch(parts[1].name), _DATA.fullmatch(parts[2].name)
    if control is None or data is None or data[1] not in (None, "gz", "xz", "zst"):
        raise LayerError(
            "the package's compression is not known",
            place=Place(name, parts[2 if control else 1].name),
            want="gz, xz, zst",
        )
    place = Place(name, parts[1].name)
    stream = Decompressed(ar.Window(file, parts[1].offset, parts[1].size), control[1] or "", place, limits=limits)
    members = _control_members(TarReader(stream, f"{name}: {parts[1].name}", limits=limits), name)
    return Deb(name, parse_control(members["control"].content, name), members, parts[2], data[1] or "", limits)


def _control_members(reader: TarReader, name: str) -> dict[str, ControlFile]:
    found: dict[str, ControlFile] = {}
    for member in reader:
        path = member_path(member.name, name)
        if not path and member.kind is MemberKind.DIRECTORY:
            continue
        place = Place(name, printable(member.name))
        if member.kind is not MemberKind.FILE or not _CONTROL_NAME.fullmatch(path):
            raise LayerError("a member of the control part is not accepted", place=place, got=member.kind)
        key = path.decode("ascii")
        if key in found:
            raise LayerError("a member of the control part comes twice", place=place)
        limit = _CONTROL_LIMIT if key == "control" else _MEMBER_LIMIT
        found[key] = ControlFile(reader.content(limit), member.mode)
    if "control" not in found:
        raise LayerError(Text("the package has no control file"), place=Place(name))
    return dict(sorted(found.items()))

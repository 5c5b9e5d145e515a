"""A conda package's archive, of either form, as tar readers: its ``info/`` and what goes into the prefix.

``.tar.bz2`` is one tar; ``.conda`` is a ZIP of two zstd-compressed ones, stored as they are
(https://docs.conda.io/projects/conda/en/stable/user-guide/concepts/packages.html, THREATS C01, C02, C10).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from trainload.errors import LayerError, Place, Text
from trainload.layers.decompress import Decompressed
from trainload.layers.tarread import TarReader, member_path
from trainload.layers.zip import STORED, content, read_bytes, read_members
from trainload.layers.zip import Member as Part
from trainload.limits import DEFAULT, KiB, Limits

FORMS = (".conda", ".tar.bz2")
INFO = "info/"


@dataclass(frozen=True, slots=True)
class Archive:
    """An open package."""

    stream: BinaryIO
    name: str
    limits: Limits
    parts: tuple[Part, Part] | None
    """Of a ``.conda``: info, then content."""

    def info(self) -> TarReader:
        """Reads the tar that has ``info/``."""
        return self._reader(0)

    def content(self) -> TarReader:
        """Reads the tar that has the files."""
        return self._reader(1)

    @property
    def is_one(self) -> bool:
        """Whether both are the same tar."""
        return self.parts is None

    def path(self, name: bytes) -> str:
        """A member's name as a path of the package. Raises :class:`LayerError` for one that leads elsewhere."""
        return member_path(name, self.name, limits=self.limits).decode("utf-8", "surrogateescape")

    def _reader(self, which: int) -> TarReader:
        if self.parts is None:
            self.stream.seek(0)
            place = Place(self.name)
            return TarReader(
                Decompressed(self.stream, "bz2", place, limits=self.limits), self.name, limits=self.limits
            )
        part = self.parts[which]
        pieces = _Pieces(content(self.stream, self.name, part))
        # a writer may flush one stream as several frames (RFC 8878 § 3)
        stream = Decompressed(pieces, "zst", Place(self.name, part.name), members=True, limits=self.limits)
        return TarReader(stream, self.name, limits=self.limits)


def open_archive(stream: BinaryIO, name: str, limits: Limits = DEFAULT) -> Archive:
    """The package called ``name``. Raises :class:`LayerError` for what is no conda package."""
    if name.endswith(".tar.bz2"):
        return Archive(stream, name, limits, None)
    if not name.endswith(".conda"):
        raise LayerError("the file is no conda package", place=Place(name), want=", ".join(FORMS))
    stem = name.removesuffix(".conda")
    members = {member.name: member for member in read_members(stream, name, limits)}
    wanted = ("metadata.json", f"info-{stem}.tar.zst", f"pkg-{stem}.tar.zst")
    if set(members) != set(wanted):
        raise LayerError(
            "the package does not have the three members of its format", place=Place(name),
            got=", ".join(sorted(members))[:300], want=", ".join(wanted),
        )  # fmt: skip
    for member in members.values():
        if member.is_directory or member.method != STORED:
            raise LayerError(
                Text("a member of the package is compressed once more"), place=Place(name, member.name)
            )
    _check_version(read_bytes(stream, name, members["metadata.json"], 64 * KiB), name)
    return Archive(stream, name, limits, (members[wanted[1]], members[wanted[2]]))


def _check_version(data: bytes, name: str) -> None:
    from trainload.layers.conda.documents import parse

    version = parse(data, Place(name, "metadata.json")).get("conda_pkg_format_version")
    if version != 2:
        raise LayerError(
            "the package is of a format that is not known", place=Place(name, "metadata.json"), got=version, want=2
        )


class _Pieces:
    """Bytes in pieces, read as a stream."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def read(self, size: int, /) -> bytes:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._rest = piece
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

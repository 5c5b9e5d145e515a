"""Debian packages made by hand, well-formed or broken on purpose."""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from trainload.errors import FetchError
from trainload.lock.model import ArchivePath, DistributionPackage, File


@dataclass(frozen=True, slots=True)
class Item:
    """A member of data.tar; a directory ends with ``/``, ``link`` makes a symbolic and ``hard`` a hard link."""

    name: str
    content: bytes = b""
    mode: int | None = None
    link: str | None = None
    hard: str | None = None
    owner: tuple[int, int, str, str] = (0, 0, "root", "root")
    kind: bytes | None = None

    def info(self) -> tarfile.TarInfo:
        info = tarfile.TarInfo(self.name)
        info.type = self.kind or tarfile.REGTYPE
        info.mode = 0o644 if self.mode is None else self.mode
        if self.name.endswith("/"):
            info.type, info.mode = tarfile.DIRTYPE, 0o755 if self.mode is None else self.mode
        elif self.link is not None:
            info.type, info.linkname, info.mode = tarfile.SYMTYPE, self.link, 0o777
        elif self.hard is not None:
            info.type, info.linkname = tarfile.LNKTYPE, self.hard
        info.uid, info.gid, info.uname, info.gname = self.owner
        info.size = len(self.content)
        return info


def tar(items: Sequence[Item]) -> bytes:
    """A GNU tar of ``items`` as they stand, with no parents added."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for item in items:
            archive.addfile(item.info(), io.BytesIO(item.content))
    return out.getvalue()


def ar(members: Sequence[tuple[str, bytes]]) -> bytes:
    """An ar archive of ``members`` in that order."""
    out = b"!<arch>\n"
    for name, data in members:
        out += b"%-16s%-12d%-6d%-6d%-8o%-10d`\n" % (name.encode(), 0, 0, 0, 0o100644, len(data))
        out += data + b"\n" * (len(data) % 2)
    return out


def compress(data: bytes, compression: str) -> bytes:
    """``data`` as ``gz``, ``xz`` or, for an empty word, as it is."""
    if compression == "gz":
        return gzip.compress(data, mtime=0)
    return lzma.compress(data) if compression == "xz" else data


@dataclass(frozen=True, slots=True)
class MadeDeb:
    """A package made by hand: change what shall be wrong with :func:`dataclasses.replace`."""

    name: str
    items: Sequence[Item] = ()
    version: str = "1.0-1"
    architecture: str = "amd64"
    fields: Mapping[str, str] = field(default_factory=dict)
    scripts: Mapping[str, str] = field(default_factory=dict)
    """Other control members by name; ``preinst`` and such are executable."""
    control: bytes | None = None
    """The control file itself instead of one made of name, version, architecture and ``fields``."""
    compression: str = "xz"

    def parts(self) -> list[tuple[str, bytes]]:
        """The ar members."""
        fields = {
            "Package": self.name,
            "Version": self.version,
            "Architecture": self.architecture,
            "Maintainer": "Nobody <nobody@host.example>",
            **self.fields,
            "Description": "made by hand",
        }
        control = self.control
        if control is None:
            control = "".join(f"{key}: {value}\n" for key, value in fields.items()).encode()
        scripts = [
            Item(f"./{name}", text.encode(), 0o755 if name.endswith(("inst", "rm")) else 0o644)
            for name, text in self.scripts.items()
        ]
        end = f".{self.compression}" if self.compression else ""
        return [
            ("debian-binary", b"2.0\n"),
            (
                f"control.tar{end}",
                compress(tar([Item("./"), Item("./control", control), *scripts]), self.compression),
            ),
            (f"data.tar{end}", compress(tar(self.items), self.compression)),
        ]

    def bytes(self) -> bytes:
        return ar(self.parts())

    def lists(self, *items: Item) -> MadeDeb:
        """The same package with ``items`` and the directories they lie in."""
        names = {item.name for item in items}
        parents = {
            "/".join(item.name.split("/")[:end]) + "/"
            for item in items
            for end in range(1, item.name.rstrip("/").count("/") + 1)
        }
        return replace(self, items=[*(Item(name) for name in sorted(parents - names)), *items])


@dataclass(slots=True)
class MadeSources:
    """Sources of packages made by hand: locks them as a distribution would, gives them by their hash."""

    folder: Path

    def lock(self, deb: MadeDeb, data: bytes | None = None) -> DistributionPackage:
        """``deb`` on disk and in the lock; ``data`` are its bytes if they shall be others."""
        content = deb.bytes() if data is None else data
        name = f"{deb.name}_{deb.version.replace(':', '%3a')}_{deb.architecture}.deb"
        digest = hashlib.sha256(content).hexdigest()
        (self.folder / digest).write_bytes(content)
        file = File(name, digest, len(content), ArchivePath("example", f"pool/{name}"))
        return DistributionPackage(deb.name, deb.version, deb.architecture, file, 1024)

    def open(self, file: File) -> BinaryIO:
        path = self.folder / file.sha256
        if not path.exists():
            raise FetchError("the file is not there")
        return path.open("rb")

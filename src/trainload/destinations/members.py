"""The files of an archive of images: each is staged as it comes, so one pass and little memory are enough."""

from __future__ import annotations

import os
import posixpath
import re
from dataclasses import dataclass, field

from trainload.destinations.arrivals import CHUNK, Arrivals
from trainload.digest import Digest
from trainload.errors import ImageError, Place, Text
from trainload.image.model import Descriptor
from trainload.layers.tarread import Member, MemberKind, Readable, TarReader, member_path
from trainload.limits import DEFAULT, Limits

_BLOB = re.compile(r"blobs/sha256/([0-9a-f]{64})", re.ASCII)


@dataclass(slots=True)
class Members:
    """What the archive holds."""

    archive: str
    """Its name, for errors."""
    files: dict[str, tuple[Digest, int]] = field(default_factory=dict)
    """Name → digest and size of its bytes."""
    links: dict[str, str] = field(default_factory=dict)
    """Symbolic link → name it leads to, below the archive's root; empty for one that leads out."""

    def __contains__(self, name: str) -> bool:
        return name in self.files or name in self.links

    def find(self, name: str, *, links: bool = False) -> tuple[Digest, int]:
        """The file called ``name``; with ``links``, also by way of links inside the archive.

        ``docker save`` before 25 writes a layer that several images have once, and links to it. Raises
        :class:`ImageError`.
        """
        path = posixpath.normpath(name)
        for _ in range(DEFAULT.symlink_hops):
            if path in self.files:
                return self.files[path]
            if path not in self.links:
                raise ImageError(
                    Text("the archive does not hold a file that it names"), place=Place(self.archive, name)
                )
            if not links or not self.links[path]:
                raise ImageError(
                    Text("a file of the archive is a link"),
                    place=Place(self.archive, path),
                    got=self.links[path] or "a link that leads out of the archive",
                    want="a regular file",
                )
            path = self.links[path]
        raise ImageError(Text("links in the archive lead in a circle"), place=Place(self.archive, name))


def take_members(stream: Readable, archive: str, arrivals: Arrivals, limits: Limits = DEFAULT) -> Members:
    """Stage every file of the tar ``stream``.

    Raises :class:`LayerError` for a tar that is malformed, cut off or followed by something,
    :class:`ImageError` for a name that comes twice, for members that are neither files, folders nor links, and
    for a blob that is not what its name says (L03, L08).
    """
    found = Members(archive)
    reader = TarReader(stream, archive, limits=limits)
    for member in reader:
        path = os.fsdecode(member_path(member.name, archive))
        if member.kind is MemberKind.DIRECTORY:
            continue
        if path in found.files or path in found.links:
            raise ImageError(Text("a name comes twice in the archive"), place=Place(archive, path))
        match member.kind:
            case MemberKind.FILE:
                found.files[path] = arrivals.take(reader.chunks(CHUNK), _promised(path, member))
            case MemberKind.SYMLINK:
                found.links[path] = _inside(path, os.fsdecode(member.linkname))
            case MemberKind.HARDLINK:
                target = os.fsdecode(member_path(member.linkname, archive))
                found.files[path] = found.find(target)
            case _:
                raise ImageError(
                    Text("the archive holds something that is no file"),
                    place=Place(archive, path), got=member.kind, want="files, folders and links",
                )  # fmt: skip
    return found


def _promised(path: str, member: Member) -> Descriptor | None:
    """What a blob's own name says it is."""
    match = _BLOB.fullmatch(path)
    return Descriptor("", Digest("sha256", match[1]), member.size) if match else None


def _inside(path: str, target: str) -> str:
    """Where a link leads, below the root; empty when that is outside."""
    there = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    return "" if there.startswith("/") or there.split("/")[0] == ".." else there

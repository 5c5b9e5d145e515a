"""One conda package, looked through before anything is written: where each member goes, and whether it may.

Every path of the archive must be in the package's own list and the other way round (THREATS C03); links stay inside
the prefix (C01); devices and the like are refused (D06).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

from trainload.errors import LayerError, Place, Text
from trainload.layers.conda.archive import INFO, Archive, open_archive
from trainload.layers.conda.info import FILES, LARGEST, EntryPoint, Info, PathEntry, PathKind, read_info
from trainload.layers.conda.place import Scheme, check_link, place
from trainload.layers.place import Refused
from trainload.layers.tarread import Member, MemberKind, TarReader
from trainload.limits import DEFAULT, Limits
from trainload.plan.model import CONDA, CondaFiles

_PYTHON = "python"


@dataclass(frozen=True, slots=True)
class Placed:
    """A member and where it goes."""

    path: str
    """In the image, without the first slash."""
    member: Member
    entry: PathEntry
    target: str = ""
    """Of a symbolic link as it stands; of a hard link the path in the image."""

    @property
    def mode(self) -> int:
        """One bit of a member's mode counts: whether anybody may execute it (THREATS W31)."""
        return 0o755 if self.member.mode & 0o111 else 0o644


@dataclass(frozen=True, slots=True)
class Package:
    """A package whose every member has its place."""

    files: CondaFiles
    archive: Archive
    info: Info
    scheme: Scheme
    placed: Mapping[str, Placed]
    """By path in the package, in the archive's order."""
    folders: tuple[str, ...]
    """Image paths of the directories that it lists itself."""
    by_image: Mapping[str, Placed]
    """By image path."""

    @property
    def name(self) -> str:
        return self.files.archive.name

    @property
    def record(self) -> str:
        """The image path of its record."""
        files = self.files
        return f"{self.scheme.prefix}/conda-meta/{files.name}-{files.release}-{files.build}.json"

    @property
    def paths(self) -> tuple[str, ...]:
        """Every image path that it has, directories apart."""
        commands = (self.command(point) for point in self.info.entry_points)
        return (*(placed.path for placed in self.placed.values()), *commands, self.record)

    def command(self, point: EntryPoint) -> str:
        """The image path of an entry point's script."""
        return f"{self.scheme.prefix}/bin/{point.name}"


@dataclass(slots=True)
class _Found:
    """What a pass over the archive's tars found."""

    documents: dict[str, bytes] = field(default_factory=dict)
    members: dict[str, Member] = field(default_factory=dict)


def read_package(
    stream: BinaryIO, files: CondaFiles, site_packages: str, limits: Limits = DEFAULT, *, prefix: str = CONDA
) -> Package:
    """The package ``files`` in ``stream``, a seekable file. ``site_packages``: of the Python, below the prefix.

    Raises :class:`LayerError` for an archive that is broken, hostile or not what was locked (THREATS C01–C06).
    """
    name = files.archive.name
    archive = open_archive(stream, name, limits)
    found = _look(archive)
    info = read_info(found.documents, files)
    if info.noarch != files.noarch:
        raise LayerError(
            "the package's kind is not the one that was locked", place=Place(name, "info/index.json"),
            got=info.noarch or "no noarch", want=files.noarch or "no noarch",
        )  # fmt: skip
    noarch = info.noarch == _PYTHON
    if info.entry_points and not noarch:
        raise LayerError("only noarch Python packages have entry points", place=Place(name, "info/link.json"))
    scheme = Scheme(prefix.lstrip("/"), site_packages if noarch else "")
    placed = _place_all(archive, info, scheme, found.members)
    folders = {
        _checked(place(path, scheme), name, path)
        for path, member in found.members.items()
        if member.kind is MemberKind.DIRECTORY and path
    }
    folders |= {
        _checked(place(path, scheme), name, path)
        for path, entry in info.paths.items()
        if entry.kind is PathKind.FOLDER
    }
    by_image = {each.path: each for each in placed.values()}
    return Package(files, archive, info, scheme, placed, tuple(sorted(folders)), by_image)


def _look(archive: Archive) -> _Found:
    found = _Found()
    _pass(archive, archive.info(), found, info=True, content=archive.is_one)
    if not archive.is_one:
        _pass(archive, archive.content(), found, info=False, content=True)
    return found


def _pass(archive: Archive, reader: TarReader, found: _Found, *, info: bool, content: bool) -> None:
    for member in reader:
        path = archive.path(member.name)
        inside = f"{path}/".startswith(INFO)
        if inside and info:
            if path in FILES and member.kind is MemberKind.FILE:
                if path in found.documents:
                    raise LayerError("a path comes twice in the archive", place=Place(archive.name, path))
                found.documents[path] = reader.content(LARGEST)
        elif not content or inside:
            if path:
                raise LayerError("the file lies in the wrong part of the package", place=Place(archive.name, path))
        elif path in found.members and member.kind is not MemberKind.DIRECTORY:
            raise LayerError("a path comes twice in the archive", place=Place(archive.name, path))
        elif path or member.kind is not MemberKind.DIRECTORY:
            found.members[path] = member


def _place_all(archive: Archive, info: Info, scheme: Scheme, members: Mapping[str, Member]) -> dict[str, Placed]:
    name = archive.name
    placed: dict[str, Placed] = {}
    owners: dict[str, str] = {}
    for path, member in members.items():
        if member.kind is MemberKind.DIRECTORY:
            continue
        entry = info.paths.get(path)
        if entry is None or entry.kind is PathKind.FOLDER:
            raise LayerError("the package's list of paths does not have this file", place=Place(name, path))
        image = _checked(place(path, scheme), name, path)
        if image in owners:
            raise LayerError(
                Text("the package has two files for {path}", path=f"/{image}"), place=Place(name, path)
            )
        owners[image] = path
        placed[path] = Placed(image, member, entry, _target(archive, path, image, member, placed, scheme))
        _check_entry(placed[path], name, path)
    for path, entry in info.paths.items():
        if entry.kind is not PathKind.FOLDER and path not in placed:
            raise LayerError("the package lists this file and does not have it", place=Place(name, path))
    return placed


def _checked(where: str | Refused, name: str, path: str) -> str:
    if isinstance(where, Refused):
        raise LayerError(Text("the package is refused: {reason}", reason=where.reason), place=Place(name, path))
    return where


def _target(
    archive: Archive, path: str, image: str, member: Member, placed: Mapping[str, Placed], scheme: Scheme
) -> str:
    """Where a link leads. Raises :class:`LayerError` for one that leads elsewhere, and for a device."""
    where = Place(archive.name, path)
    if member.kind is MemberKind.FILE:
        return ""
    if member.kind is MemberKind.SYMLINK:
        target = member.linkname.decode("utf-8", "surrogateescape")
        refused = check_link(image, target, scheme)
        if refused is not None:
            raise LayerError(Text("the package is refused: {reason}", reason=refused.reason), place=where)
        return target
    if member.kind is MemberKind.HARDLINK:
        source = placed.get(archive.path(member.linkname))
        if source is None or source.member.kind is not MemberKind.FILE:
            raise LayerError(
                "a hard link leads to no earlier file of the archive", place=where, got=member.linkname[:200]
            )
        return source.path
    raise LayerError(Text("a {kind} is not accepted", kind=member.kind), place=where)


def _check_entry(placed: Placed, name: str, path: str) -> None:
    """The list and the archive agree on what a path is, and on its size."""
    entry, member = placed.entry, placed.member
    link = member.kind is MemberKind.SYMLINK
    if entry.kind is PathKind.FILE and entry.sha256 is not None and link:
        raise LayerError("it is listed as a file and is a link", place=Place(name, path))
    if entry.kind is PathKind.LINK and not link:
        raise LayerError("it is listed as a link and is a file", place=Place(name, path))
    if link and entry.placeholder is not None:
        raise LayerError("a link has a prefix to be replaced", place=Place(name, path))
    if member.kind is MemberKind.FILE and entry.size is not None and member.size != entry.size:
        raise LayerError(
            Text("it has {got} bytes and the list says {want}", got=member.size, want=entry.size),
            place=Place(name, path),
        )

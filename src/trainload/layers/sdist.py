"""An sdist as files: read strictly, never run here (THREATS D7); placed where the sandbox builds it.

Names, links and kinds are judged as those of other archives are (THREATS D05, D06; PEP 721): what leads out of the
source's own folder is refused before anything starts. Old projects have zip archives, all others gzipped tars.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from trainload.errors import LayerError, Place, Text
from trainload.layers import zip as zips
from trainload.layers.debian.root import normalise
from trainload.layers.decompress import Decompressed
from trainload.layers.model import ByteSink, Sources, Written
from trainload.layers.tarread import MemberKind, TarReader, member_path
from trainload.layers.writer import LayerWriter, Owner, Stream
from trainload.limits import DEFAULT, Limits
from trainload.lock.source import Statements
from trainload.plan.model import SourceRecipe

PLACE = "build/source"
"""Where it lies while it is built: the same path everywhere, it ends up in debug information."""
BUILDER = 1000
"""The user who builds it."""
_OWNER = Owner(BUILDER, BUILDER)
_TARS = {".tar.gz": "gz", ".tgz": "gz", ".tar.xz": "xz", ".tar.zst": "zst", ".tar": ""}


@dataclass(frozen=True, slots=True)
class _Entry:
    """A member below the sdist's only folder; ``path`` is empty for that folder itself."""

    path: str
    kind: MemberKind
    size: int
    executable: bool
    target: str
    """Of a link, as it stands; a hard link's is a name in the archive."""
    chunks: Callable[[], Iterator[bytes]]
    """The content, to be read before the next entry."""


@dataclass(slots=True)
class _Listing:
    """The sdist's paths by kind."""

    folders: set[str] = field(default_factory=set)
    links: dict[str, str] = field(default_factory=dict)
    files: dict[str, bool] = field(default_factory=dict)
    """Path → whether it can be executed."""
    hard: dict[str, str] = field(default_factory=dict)


def read_statements(stream: BinaryIO, name: str, limits: Limits = DEFAULT) -> Statements:
    """What the sdist called ``name`` says of itself. Raises :class:`LayerError` when it is broken or hostile."""
    found: dict[str, bytes] = {}
    setup = False
    place = Place(name)
    for entry in _entries(stream, name, limits):
        if entry.path in ("PKG-INFO", "pyproject.toml") and entry.kind is MemberKind.FILE:
            if entry.size > DEFAULT.document:
                raise LayerError(Text("{file} is too large", file=entry.path), place=place, got=entry.size)
            found[entry.path] = b"".join(entry.chunks())
        setup |= entry.path in ("setup.py", "setup.cfg")
    if not setup and not found:
        raise LayerError("the archive holds no Python project", place=place, want="pyproject.toml or setup.py")
    return Statements(name, found.get("PKG-INFO"), found.get("pyproject.toml"), setup)


def write_source(recipe: SourceRecipe, sources: Sources, sink: ByteSink, limits: Limits = DEFAULT) -> Written:
    """The sdist's files as a layer. Raises :class:`LayerError` for an archive that is broken or hostile."""
    name = recipe.sdist.name
    with sources.open(recipe.sdist) as stream:
        listing = _list(stream, name, limits)
    with LayerWriter(sink) as writer:
        for path in sorted({"build", PLACE, *map(_placed, listing.folders), *map(_placed, listing.links)}):
            target = listing.links.get(path.removeprefix(f"{PLACE}/"))
            if target is not None and path != PLACE:
                writer.symlink(path, target, owner=_OWNER)
            else:
                writer.directory(path, owner=_OWNER)
        with sources.open(recipe.sdist) as stream:
            for entry in _entries(stream, name, limits):
                path = _placed(entry.path)
                if entry.path in listing.files:
                    mode = 0o755 if entry.executable else 0o644
                    writer.file(path, Stream(entry.size, entry.chunks()), mode=mode, owner=_OWNER)
                elif entry.path in listing.hard:
                    target = listing.hard[entry.path]
                    mode = 0o755 if listing.files[target] else 0o644
                    writer.hardlink(path, _placed(target), mode=mode, owner=_OWNER)
        return writer.close()


def _placed(path: str) -> str:
    return f"{PLACE}/{path}" if path else PLACE


def _list(stream: BinaryIO, name: str, limits: Limits) -> _Listing:
    """Every member, judged. A path comes once, except a folder's."""
    listing = _Listing()
    seen: set[str] = set()
    for entry in _entries(stream, name, limits):
        place = Place(name, entry.path)
        if entry.path in seen and entry.kind is not MemberKind.DIRECTORY:
            raise LayerError("a path comes twice in the archive", place=place)
        seen.add(entry.path)
        match entry.kind:
            case MemberKind.DIRECTORY:
                listing.folders.add(entry.path)
            case MemberKind.FILE:
                listing.files[entry.path] = entry.executable
            case MemberKind.SYMLINK:
                led = normalise(posixpath.dirname(entry.path), entry.target)
                if entry.target.startswith("/") or led is None:
                    raise LayerError("a link leads outside", place=place, got=entry.target)
                listing.links[entry.path] = entry.target
            case MemberKind.HARDLINK:
                target = _below_top(member_path(entry.target.encode("utf-8", "surrogateescape"), name), name)[1]
                if target not in listing.files:
                    raise LayerError("a hard link leads to no earlier file of the archive", place=place, got=target)
                listing.hard[entry.path] = target
            case _:
                raise LayerError(Text("a {kind} is not accepted", kind=entry.kind), place=place)
        path = entry.path
        while path := posixpath.dirname(path):
            listing.folders.add(path)
    listing.folders.discard("")
    both = listing.folders & {*listing.files, *listing.links, *listing.hard}
    if both:
        raise LayerError("a path is a directory and something else", place=Place(name, min(both)))
    return listing


def _entries(stream: BinaryIO, name: str, limits: Limits) -> Iterator[_Entry]:
    """The members below the only top folder, in the archive's order."""
    top: str | None = None
    members = _zipped if name.endswith(".zip") else _tarred
    for found, entry in members(stream, name, limits):
        if not found:
            continue
        if top is not None and found != top:
            raise LayerError(
                Text("a member lies outside {folder}/", folder=top), place=Place(name, f"{found}/{entry.path}")
            )
        if not entry.path and entry.kind is not MemberKind.DIRECTORY:
            raise LayerError("a file lies beside the source's folder", place=Place(name, found))
        top = found
        yield entry


def _tarred(stream: BinaryIO, name: str, limits: Limits) -> Iterator[tuple[str, _Entry]]:
    compression = next((word for end, word in _TARS.items() if name.endswith(end)), None)
    if compression is None:
        raise LayerError("the archive is of no known kind", place=Place(name), want=", ".join([*_TARS, ".zip"]))
    plain = Decompressed(stream, compression, Place(name), members=True, limits=limits)
    reader = TarReader(plain, name, limits=limits, end_mark=False)
    for member in reader:
        top, path = _below_top(member_path(member.name, name), name)
        target = member.linkname.decode("utf-8", "surrogateescape")
        yield top, _Entry(path, member.kind, member.size, bool(member.mode & 0o111), target, reader.chunks)


def _zipped(stream: BinaryIO, name: str, limits: Limits) -> Iterator[tuple[str, _Entry]]:
    for member in zips.read_members(stream, name, limits):
        top, path = _below_top(member.name.encode("utf-8", "surrogateescape"), name)
        kind = MemberKind.DIRECTORY if member.is_directory else MemberKind.FILE

        def chunks(member: zips.Member = member) -> Iterator[bytes]:
            return zips.content(stream, name, member)

        yield top, _Entry(path, kind, member.size, bool(member.mode & 0o111), "", chunks)


def _below_top(path: bytes, name: str) -> tuple[str, str]:
    """The first part and the rest of a judged path; the rest is empty for the first part itself."""
    try:
        top, _, rest = path.decode().partition("/")
    except UnicodeDecodeError as error:
        raise LayerError("a member's name is not UTF-8", place=Place(name), got=path) from error
    return top, rest

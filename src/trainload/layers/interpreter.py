"""A Python of its own: a python-build-standalone ``install_only`` archive placed at ``/opt/python``.

The archive is locked by hash but was made by others: names, links and kinds are judged as those of packages are
(THREATS D05, D06). Owners are root's and modes the usual ones, whoever packed it.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from trainload.errors import LayerError, Place, Text
from trainload.layers.debian.root import normalise
from trainload.layers.decompress import Decompressed
from trainload.layers.model import ByteSink, Sources, Written
from trainload.layers.tarread import Member, MemberKind, TarReader, member_path
from trainload.layers.writer import LayerWriter, Stream
from trainload.limits import DEFAULT, Limits
from trainload.plan.model import InterpreterRecipe

PLACE = "opt/python"
"""Where it goes (plan.build.INTERPRETER)."""
_TOP = "python"
"""The archive's only folder."""
_COMPRESSIONS = {".tar.gz": "gz", ".tgz": "gz", ".tar.zst": "zst", ".tar.xz": "xz", ".tar": ""}


@dataclass(frozen=True, slots=True)
class _Listing:
    """The archive's names by where they go."""

    folders: frozenset[str]
    links: dict[str, str]
    files: dict[str, Member]
    hard: dict[str, str]


def write_interpreter(
    recipe: InterpreterRecipe, sources: Sources, sink: ByteSink, limits: Limits = DEFAULT
) -> Written:
    """The layer of a standalone Python. Raises :class:`LayerError` for an archive that is broken or hostile."""
    with _members(recipe, sources, limits) as reader:
        listing = _list(reader, recipe)
    if f"{PLACE}/bin/python{recipe.python}" not in {*listing.files, *listing.links, *listing.hard}:
        raise LayerError(
            Text("the archive holds no Python {python}", python=recipe.python), place=Place(recipe.archive.name)
        )
    with LayerWriter(sink) as writer:
        for path in sorted({*listing.folders, *listing.links}):
            if path in listing.links:
                writer.symlink(path, listing.links[path])
            else:
                writer.directory(path)
        with _members(recipe, sources, limits) as reader:
            for member in reader:
                path = _path(member, recipe)
                if path in listing.files:
                    writer.file(path, Stream(member.size, reader.chunks()), mode=_mode(member))
                elif path in listing.hard:
                    target = listing.hard[path]
                    writer.hardlink(path, target, mode=_mode(listing.files[target]))
        return writer.close()


@contextmanager
def _members(recipe: InterpreterRecipe, sources: Sources, limits: Limits) -> Iterator[TarReader]:
    name = recipe.archive.name
    compression = next((word for end, word in _COMPRESSIONS.items() if name.endswith(end)), None)
    if compression is None:
        raise LayerError("the archive is of no known kind", place=Place(name), want=", ".join(_COMPRESSIONS))
    with sources.open(recipe.archive) as file:
        stream = Decompressed(file, compression, Place(name), members=True, limits=limits)
        yield TarReader(stream, name, limits=limits)


def _path(member: Member, recipe: InterpreterRecipe) -> str:
    """Where a member goes; empty for the archive's top."""
    path = member_path(member.name, recipe.archive.name).decode("utf-8", "surrogateescape")
    top, _, rest = path.partition("/")
    if top not in ("", _TOP) or (top == _TOP and not rest and member.kind is not MemberKind.DIRECTORY):
        raise LayerError(
            Text("a member lies outside {folder}/", folder=_TOP), place=Place(recipe.archive.name, path)
        )
    return f"{PLACE}/{rest}" if rest else PLACE if top else ""


def _list(reader: TarReader, recipe: InterpreterRecipe) -> _Listing:
    listing = _Listing(frozenset(), {}, {}, {})
    folders = {PLACE, PLACE.rpartition("/")[0]}  # Docker 20.10 closes a folder that a layer leaves out
    seen: set[str] = set()
    for member in reader:
        path = _path(member, recipe)
        place = Place(recipe.archive.name, path)
        if path in seen and member.kind is not MemberKind.DIRECTORY:
            raise LayerError("a path comes twice in the archive", place=place)
        seen.add(path)
        if member.kind is MemberKind.FILE:
            listing.files[path] = member
        elif member.kind is MemberKind.SYMLINK:
            target = member.linkname.decode("utf-8", "surrogateescape")
            led = normalise(posixpath.dirname(path), target)
            if target.startswith("/") or led is None or not f"{led}/".startswith(f"{PLACE}/"):
                raise LayerError("a link leads outside", place=place, got=target)
            listing.links[path] = target
        elif member.kind is MemberKind.HARDLINK:
            name = member_path(member.linkname, recipe.archive.name).decode("utf-8", "surrogateescape")
            target = PLACE + name.removeprefix(_TOP)
            if target not in listing.files:
                raise LayerError("a hard link leads to no earlier file of the archive", place=place, got=name)
            listing.hard[path] = target
        elif member.kind is MemberKind.DIRECTORY:
            folders.add(path)
        else:
            raise LayerError(Text("a {kind} is not accepted", kind=member.kind), place=place)
        while path := posixpath.dirname(path) if path.startswith(f"{PLACE}/") else "":
            folders.add(path)
    both = folders & {*listing.files, *listing.links, *listing.hard}
    if both:
        raise LayerError("a path is a directory and something else", place=Place(recipe.archive.name, min(both)))
    return _Listing(frozenset(folders - {""}), listing.links, listing.files, listing.hard)


def _mode(member: Member) -> int:
    return 0o755 if member.mode & 0o111 else 0o644

"""What nobody needs any more (I5): decided while nothing can start to need it, removed in one sweep.

Kept: named images, what live processes hold, and nothing else; layers of recipes and fetched files are caches
that go too, unless asked to stay. Nothing is decided by a clock.
"""

from __future__ import annotations

import contextlib
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from trainload.digest import Digest
from trainload.errors import ImageError
from trainload.image.model import DOCKER_MANIFEST, INDEX, MANIFEST, Descriptor
from trainload.image.parse import parse_manifest
from trainload.limits import DEFAULT
from trainload.store.closure import Closure, reach
from trainload.store.content import Content
from trainload.store.index import Names
from trainload.store.layout import Layout
from trainload.store.locks import is_free
from trainload.store.recipes import read_record
from trainload.store.session import live_leases, remove_tree
from trainload.store.trouble import DamagedError, MissingError, told

_HEX_NAME = re.compile(r"([0-9a-f]{64})(?![0-9a-f])")


class Rubbish(StrEnum):
    """Kinds of what is removed."""

    IMAGE = "image without a name"
    BLOB = "blob"
    RECIPE = "recipe"
    FILE = "fetched file"
    UNPACKED = "unpacked layer"
    UNFINISHED = "unfinished"
    DAMAGED = "damaged"
    LOCK = "lock"


@dataclass(frozen=True, slots=True)
class Piece:
    """One thing nobody needs; ``size`` in bytes."""

    kind: Rubbish
    path: Path
    size: int


@dataclass(frozen=True, slots=True)
class Keep:
    """What the user wants kept beyond named images."""

    cache: bool = False
    """Layers of recipes and fetched input files."""
    unnamed: bool = False
    """Images that lost their name to a newer one."""


@dataclass(frozen=True, slots=True)
class Rubble:
    """What gc decided: images to take off the list, and pieces to remove."""

    images: tuple[Digest, ...]
    pieces: tuple[Piece, ...]

    @property
    def size(self) -> int:
        return sum(piece.size for piece in self.pieces)


def survey(layout: Layout, blobs: Content, names: Names, keep: Keep) -> Rubble:
    """What can go, as things are now; writes nothing. To act on it, hold the gc lock meanwhile.

    Raises :class:`MissingError` or :class:`DamagedError` when an image cannot be read: then it is not known what
    it needs, so nothing is removed.
    """
    leases = live_leases(layout)
    held = frozenset[Digest]().union(*leases.values())
    unnamed = {e.digest for e in names.entries if e.name is None} - held
    dropped = tuple(sorted(set() if keep.unnamed else unnamed))
    roots = [entry.descriptor for entry in names.entries if entry.digest not in dropped]
    closure = reach(blobs, roots)
    _add_held(blobs, held, closure)
    recipes = {path: read_record(path, key) for key, path in _records(layout)}
    needed = set(closure.blobs) | held
    if keep.cache:
        needed |= {layer.descriptor.digest for layer in recipes.values() if layer is not None}
    pieces = [
        *_in_folder(Rubbish.BLOB, layout.blobs, needed),
        *(
            Piece(Rubbish.RECIPE, path, _size(path))
            for path, layer in recipes.items()
            if layer is None or layer.descriptor.digest not in needed
        ),
        *(() if keep.cache else _in_folder(Rubbish.FILE, layout.files, held)),
        *_unpacked(layout, {diff_id for diff_id, _ in closure.diff_ids.values()} | needed),
        *_unfinished(layout, leases),
        *(Piece(Rubbish.DAMAGED, path, _size(path)) for path in _listed(layout.damaged)),
        *(Piece(Rubbish.LOCK, path, 0) for path in _listed(layout.locks) if path.name.startswith("work-")),
    ]
    return Rubble(dropped, tuple(pieces))


def sweep(rubble: Rubble, layout: Layout, temporary: Callable[[], Path]) -> list[Path]:
    """Remove the pieces; the caller holds the gc lock. Returns trees moved to ``tmp/``, to be removed after."""
    trees: list[Path] = []
    for piece in rubble.pieces:
        with told(layout.home):
            if piece.kind is Rubbish.UNPACKED:
                trees.append(temporary())
                piece.path.rename(trees[-1])
            elif piece.kind is Rubbish.LOCK:
                is_free(piece.path, remove=True)
            elif piece.kind is Rubbish.UNFINISHED:
                remove_tree(piece.path)
            else:
                piece.path.unlink(missing_ok=True)
    return trees


def _add_held(blobs: Content, held: Iterable[Digest], closure: Closure) -> None:
    """A process that holds a manifest needs its layers too."""
    for digest in held:
        if digest in closure.blobs or not blobs.has(digest) or _size(blobs.path(digest)) > DEFAULT.manifest:
            continue
        with blobs.open(digest) as file:
            if file.read(1) != b"{":
                continue
        with contextlib.suppress(ImageError, DamagedError, MissingError):
            data = blobs.read(digest, DEFAULT.manifest)
            kind = parse_manifest(data, str(digest)).media_type
            if kind in (MANIFEST, INDEX, DOCKER_MANIFEST):
                more = reach(blobs, [Descriptor(kind, digest, len(data))])
                closure.blobs.update(more.blobs)
                closure.diff_ids.update(more.diff_ids)


def _in_folder(kind: Rubbish, folder: Path, needed: Iterable[Digest]) -> Iterator[Piece]:
    names = {digest.hex for digest in needed}
    for path in _listed(folder):
        if path.name not in names:
            yield Piece(kind, path, _size(path))


def _unpacked(layout: Layout, needed: Iterable[Digest]) -> Iterator[Piece]:
    """Folders under ``rootfs/KIND/`` named after a digest nobody needs, unless somebody is at work on them."""
    names = {digest.hex for digest in needed}
    for kind in _listed(layout.rootfs):
        if not kind.is_dir() or kind.is_symlink():
            continue
        for path in _listed(kind):
            match = _HEX_NAME.match(path.name)
            if match is None or match[1] in names:
                continue
            lock = path if path.suffix == ".lock" else path.with_suffix(".lock")
            if is_free(lock):
                yield Piece(Rubbish.UNPACKED, path, tree_size(path))


def _unfinished(layout: Layout, leases: Iterable[str]) -> Iterator[Piece]:
    live = set(leases)
    for path in _listed(layout.temporary):
        if path.name.partition("-")[0] not in live:
            yield Piece(Rubbish.UNFINISHED, path, tree_size(path))


def _records(layout: Layout) -> Iterator[tuple[Digest, Path]]:
    for path in _listed(layout.recipes):
        match = _HEX_NAME.match(path.name)
        yield Digest("sha256", match[1] if match else "0" * 64), path


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def tree_size(path: Path) -> int:
    """Bytes of the regular files in a tree; what several names share is counted for each."""
    total, waiting = 0, [path]
    while waiting:
        here = waiting.pop()
        with contextlib.suppress(OSError):
            state = here.lstat()
            if stat.S_ISDIR(state.st_mode):
                waiting += here.iterdir()
            elif stat.S_ISREG(state.st_mode):
                total += state.st_size
    return total

"""What nobody needs any more (I5): decided while nothing can start to need it, removed in one sweep.

Kept: named images and what live processes hold. Layers that only a recipe knows go too, unless asked to stay;
fetched files stay, unless asked to go: the next change of a lock needs them. Nothing is decided by a clock.
"""

from __future__ import annotations

import contextlib
import json
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from trainload.digest import Digest
from trainload.errors import ImageError
from trainload.image.model import (
    DOCKER_MANIFEST,
    INDEX,
    MANIFEST,
    MOUNTS,
    Descriptor,
    ImageIndex,
    Manifest,
)
from trainload.image.mounts import mounts_said
from trainload.image.parse import parse_manifest
from trainload.limits import DEFAULT
from trainload.store.built import SUFFIX as BUILT
from trainload.store.closure import Closure, reach
from trainload.store.content import Content
from trainload.store.facts import SUFFIX as FACT
from trainload.store.index import Names
from trainload.store.layout import Layout
from trainload.store.links import Links
from trainload.store.locks import is_free
from trainload.store.pushed import keep_pushed
from trainload.store.recipes import read_record
from trainload.store.session import live_leases, remove_tree
from trainload.store.trouble import DamagedError, MissingError, told

_UNPACKED_NAME = re.compile(r"([0-9a-f]{64})-([0-9]+)")  # digest and uid of who unpacked it
_OF_FILES = (FACT, BUILT)  # what is known about fetched and built files goes when they go
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
    LINK = "entry of a repository"


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
    """Layers that only a recipe knows."""
    files: bool = True
    """Fetched input files, and facts found out about them."""
    unnamed: bool = False
    """Images that lost their name to a newer one."""
    pushed: bool = True
    """What was pushed to a repository without a name: images by digest only, blobs that no image uses yet."""
    run: frozenset[Digest] = frozenset()
    """Images of runs that go on, of which other engines see folders: the weights that are mounted into them."""


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
    held = frozenset[Digest]().union(*leases.values(), _of_runs(layout))
    held |= _mounted(blobs, held | keep.run, keep.run)
    unnamed = {e.digest for e in names.entries if e.name is None} - held
    dropped = tuple(sorted(set() if keep.unnamed else unnamed))
    roots = [entry.descriptor for entry in names.entries if entry.digest not in dropped]
    closure = reach(blobs, roots)
    _add_held(blobs, held, closure)
    links = Links(layout)
    dead_links = keep_pushed(blobs, links, closure, held, everything=keep.pushed)
    recipes = {path: read_record(path, key) for key, path in _records(layout)}
    needed = set(closure.blobs) | held
    if keep.cache:
        needed |= {layer.descriptor.digest for layer in recipes.values() if layer is not None}
    pieces = [
        *(piece for folder in blobs.folders.values() for piece in _in_folder(Rubbish.BLOB, folder, needed)),
        *(Piece(Rubbish.LINK, path, 0) for path in dead_links),
        *(
            Piece(Rubbish.RECIPE, path, _size(path))
            for path, layer in recipes.items()
            if layer is None or layer.descriptor.digest not in needed
        ),
        *(() if keep.files else _facts(layout)),
        *(() if keep.files else _in_folder(Rubbish.FILE, layout.files, held)),
        *_unpacked(layout, closure),
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
            if piece.kind is Rubbish.LINK:
                _remove_empty(piece.path.parent, layout.repositories)
    return trees


def _remove_empty(folder: Path, top: Path) -> None:
    """Remove the folders of a repository that has nothing any more."""
    with contextlib.suppress(OSError):  # not empty
        while folder != top:
            folder.rmdir()
            folder = folder.parent


def _of_runs(layout: Layout) -> Iterator[Digest]:
    """Images below what detached runs wrote: without them it could not be looked at any more."""
    for state in layout.containers.glob("*/state.json"):
        with contextlib.suppress(OSError, ValueError, KeyError, ImageError):
            yield Digest.parse(json.loads(state.read_bytes())["image"])


def _mounted(blobs: Content, images: Iterable[Digest], run: frozenset[Digest]) -> frozenset[Digest]:
    """Weights that are mounted into these images, and those of ``run`` that have some: they say which."""
    found: set[Digest] = set()
    for digest in images:
        manifest = _manifest(blobs, digest)
        if isinstance(manifest, Manifest) and MOUNTS in manifest.annotations:
            with contextlib.suppress(ImageError):
                found |= {artifact for _, artifact in mounts_said(manifest.annotations, str(digest))}
            found |= run & {digest}
    return frozenset(found)


def _manifest(blobs: Content, digest: Digest) -> Manifest | ImageIndex | None:
    """The document that ``digest`` names, if it is one."""
    if not blobs.has(digest) or _size(blobs.path(digest)) > DEFAULT.manifest:
        return None
    with blobs.open(digest) as file:
        if file.read(1) != b"{":
            return None
    with contextlib.suppress(ImageError, DamagedError, MissingError):
        return parse_manifest(blobs.read(digest, DEFAULT.manifest), str(digest))
    return None


def _add_held(blobs: Content, held: Iterable[Digest], closure: Closure) -> None:
    """A process that holds a manifest needs its layers too."""
    for digest in held:
        document = None if digest in closure.blobs else _manifest(blobs, digest)
        if document is None or document.media_type not in (MANIFEST, INDEX, DOCKER_MANIFEST):
            continue
        with contextlib.suppress(ImageError, DamagedError, MissingError):
            more = reach(blobs, [Descriptor(document.media_type, digest, _size(blobs.path(digest)))])
            closure.blobs.update(more.blobs)
            closure.diff_ids.update(more.diff_ids)
            closure.stacks.update(more.stacks)


def _in_folder(kind: Rubbish, folder: Path, needed: Iterable[Digest]) -> Iterator[Piece]:
    names = {digest.hex for digest in needed if digest.algorithm == folder.name}
    for path in _listed(folder):
        if path.name not in names:
            yield Piece(kind, path, _size(path))


def _unpacked(layout: Layout, closure: Closure) -> Iterator[Piece]:
    """What lies under ``rootfs/layers`` and ``rootfs/flat`` for no image, unless somebody is at work on it."""
    for path in [*_listed(layout.rootfs / "layers"), *_listed(layout.rootfs / "flat")]:
        match = _UNPACKED_NAME.match(path.name)
        if match is None:
            continue
        if path.parent.name == "layers":
            needed = {diff_id.hex for stack in closure.stacks for diff_id in stack}
        else:
            needed = {_stack_name(stack, match[2]) for stack in closure.stacks}
        if match[1] not in needed and is_free(path.parent / f"{match[0]}.lock"):
            yield Piece(Rubbish.UNPACKED, path, tree_size(path))


def _stack_name(stack: Iterable[Digest], uid: str) -> str:
    """What ``run.flatten`` calls the joined layers of an image: the hash of their folders' names."""
    return Digest.sha256("\n".join(f"{diff_id.hex}-{uid}" for diff_id in stack).encode()).hex


def _unfinished(layout: Layout, leases: Iterable[str]) -> Iterator[Piece]:
    live = set(leases)
    for path in _listed(layout.temporary):
        if path.name.partition("-")[0] not in live:
            yield Piece(Rubbish.UNFINISHED, path, tree_size(path))
    for path in _listed(layout.incoming):
        if is_free(path):
            yield Piece(Rubbish.UNFINISHED, path, _size(path))


def _records(layout: Layout) -> Iterator[tuple[Digest, Path]]:
    for path in _listed(layout.recipes):
        match = _HEX_NAME.match(path.name)
        if path.suffix not in _OF_FILES:
            yield Digest("sha256", match[1] if match else "0" * 64), path


def _facts(layout: Layout) -> Iterator[Piece]:
    return (
        Piece(Rubbish.RECIPE, path, _size(path)) for path in _listed(layout.recipes) if path.suffix in _OF_FILES
    )


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

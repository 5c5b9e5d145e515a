"""A proposal written into the project: every file, or none."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from trainload.capture.model import Edit
from trainload.errors import ConfigError, Place, Text
from trainload.layers.tarread import MemberKind
from trainload.run.changed import LARGEST, Found
from trainload.system import files
from trainload.system.tree import DiskTree
from trainload.tree import EntryKind


def write(folder: Path, edits: Sequence[Edit]) -> None:
    """Raises :class:`ConfigError` when the project changed since it was looked at, or a link leads away from it.

    After any error every file is as it was.
    """
    tree = DiskTree(folder)
    gone = frozenset(edit.path for edit in edits if edit.new is None)
    for edit in edits:
        _check(tree, edit, gone)
    done: list[Edit | Path] = []
    try:
        for edit in edits:
            done += _folders(folder, edit.path)
            done.append(edit)
            _put(folder / edit.path, edit.new)
    except BaseException:
        for step in reversed(done):
            with contextlib.suppress(OSError):
                step.rmdir() if isinstance(step, Path) else _put(folder / step.path, step.old)
        raise


def _check(tree: DiskTree, edit: Edit, gone: frozenset[str]) -> None:
    """What is there must be what was shown, and no folder on the way may be a link; ``gone``: what goes before."""
    parts = edit.path.split("/")
    for count in range(1, len(parts)):
        path = "/".join(parts[:count])
        above = tree.find(path)
        if above is not None and above.kind is not EntryKind.FOLDER and path not in gone:
            raise ConfigError(Text("this is no folder, and links are not followed"), place=Place(path))
    entry = tree.find(edit.path)
    old = edit.old
    if entry is None or old is None:
        same = entry is None and old is None
    elif entry.kind is EntryKind.FOLDER:
        same = old.kind is MemberKind.DIRECTORY
    elif entry.kind is EntryKind.LINK:
        same = old.kind is MemberKind.SYMLINK and entry.target == old.target
    else:
        same = entry.kind is EntryKind.FILE and tree.read(edit.path, limit=LARGEST) == old.data
    if not same:
        raise ConfigError(
            Text("the file changed since it was looked at; nothing was written"),
            place=Place(edit.path),
            retryable=True,
        )


def _folders(folder: Path, path: str) -> list[Path]:
    """Folders that were missing on the way to ``path``."""
    made: list[Path] = []
    place = folder
    for part in path.split("/")[:-1]:
        place /= part
        if not place.is_dir():
            place.mkdir()
            made.append(place)
    return made


def _put(place: Path, new: Found | None) -> None:
    if new is None:
        place.unlink(missing_ok=True)
        return
    if new.kind is MemberKind.DIRECTORY:  # on the way back
        place.unlink(missing_ok=True)
        place.mkdir()
        return
    if place.is_dir() and not place.is_symlink():
        _remove_empty(place)
    if place.is_symlink() or new.kind is MemberKind.SYMLINK:
        place.unlink(missing_ok=True)
    if new.kind is MemberKind.SYMLINK:
        place.symlink_to(new.target)
    elif new.data is not None:
        mode = place.stat().st_mode & 0o666 if place.exists() else 0o644
        # who may read it may execute it
        files.replace(place, new.data, mode | (mode & 0o444) >> 2 if new.mode & 0o100 else mode)


def _remove_empty(folder: Path) -> None:
    """A folder whose files went before. Raises :class:`ConfigError` when one is left."""
    for place, _, names in os.walk(folder, topdown=False):
        if names:
            raise ConfigError(
                Text("the folder holds files that the container did not have; nothing was written"),
                place=Place(str(folder.name)), got=", ".join(sorted(names)[:5]),
            )  # fmt: skip
        Path(place).rmdir()

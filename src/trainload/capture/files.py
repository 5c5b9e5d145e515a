"""Files of the working directory back into the project: what a build would take, unless it changed there."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from trainload.capture.model import Edit
from trainload.errors import ConfigError, ManyErrors, Place, Text, TrainloadError
from trainload.layers.tarread import MemberKind
from trainload.limits import MiB
from trainload.project.links import pointed_at
from trainload.project.listing import list_code
from trainload.project.model import CodeFile, Left, Project
from trainload.run.changed import LARGEST, Found, How
from trainload.tree import Above, Entry, EntryKind, Tree

_WHY = {
    Left.SECRET: Text("it is a secret ({rule})"),
    Left.IGNORED: Text("the project ignores it ({rule})"),
    Left.EXCLUDED: Text("the project excludes it ({rule})"),
}


@dataclass(frozen=True, slots=True)
class Taken:
    """What becomes of the changed files of the working directory."""

    edits: tuple[Edit, ...]
    conflicts: tuple[str, ...]
    """Changed in the container and, otherwise, in the project."""
    left_out: tuple[tuple[str, Text], ...]
    """(path, why)"""


@dataclass(frozen=True, slots=True)
class Sides:
    """One path's content, by path: in the container, in its image, in the project."""

    now: Mapping[str, Found]
    before: Mapping[str, Found]
    here: Mapping[str, Found]


def take(code: Sequence[tuple[str, How]], sides: Sides, tree: Tree, project: Project, above: Above) -> Taken:
    """``code``: changed paths below the working directory, as in the project; ``tree``: the project's folder."""
    wanted, left_out = _listed(_small(sides.now), tree, project, above)
    left_out += [
        (path, Text("it is larger than {size} MiB: trainload cp copies it", size=LARGEST // MiB))
        for path in sorted(sides.now)
        if _too_large(sides.now[path])
    ]
    edits: list[Edit] = []
    conflicts: list[str] = []
    for path, how in code:
        if how is not How.DELETED and path not in wanted:
            continue
        now, before, here = (_plain(side.get(path)) for side in (sides.now, sides.before, sides.here))
        if now == here:
            continue
        if here != before:
            conflicts.append(path)
        edits.append(Edit(path, sides.here.get(path), now))
    edits.sort(key=lambda edit: edit.new is not None)  # a folder may come where a file goes
    return Taken(tuple(edits), tuple(conflicts), tuple(sorted(left_out, key=lambda one: one[0])))


def _small(now: Mapping[str, Found]) -> Mapping[str, Found]:
    return {path: found for path, found in now.items() if not _too_large(found)}


def _too_large(found: Found) -> bool:
    return found.kind is MemberKind.FILE and found.data is None


def _plain(found: Found | None) -> Found | None:
    """As a code layer has it: of the mode only whether it can be executed."""
    if found is None or found.kind is MemberKind.DIRECTORY:
        return None
    if found.kind is MemberKind.SYMLINK:
        return Found(found.kind, 0o777, target=found.target)
    return Found(found.kind, 0o755 if found.mode & 0o100 else 0o644, found.size, found.data)


def _listed(
    now: Mapping[str, Found], tree: Tree, project: Project, above: Above
) -> tuple[set[str], list[tuple[str, Text]]]:
    """Which of ``now`` a build would take, and why it would not take the others."""
    view = _View(tree, now)
    left_out: list[tuple[str, Text]] = []
    while True:
        try:
            listing = list_code(view, project, above)
            break
        except TrainloadError as error:
            # what cannot be carried (a link that leads outside, a whiteout's name) is told and left out
            told = error.errors if isinstance(error, ManyErrors) else (error,)
            bad = {one.place.file: one.text for one in told if one.place and one.place.file in view.files}
            if not bad:
                raise
            left_out += bad.items()
            view = _View(tree, {path: found for path, found in view.files.items() if path not in bad})
    left_out += [
        (path, Text(_WHY[why].template, rule=rule))
        for path, why, rule in listing.left_out
        if why is not Left.GENERATED
    ]
    return {file.path for file in listing.files}, left_out


class _View:
    """Only the files in question, as a :class:`Tree`; links and ignore files find the project's own behind them."""

    def __init__(self, tree: Tree, files: Mapping[str, Found]) -> None:
        self._tree = tree
        self.files = {path: found for path, found in files.items() if found.kind is not MemberKind.DIRECTORY}
        self._children: dict[str, set[str]] = {}
        for path in (*self.files, *self._pointed_at()):
            while path:
                parent = path.rpartition("/")[0]
                self._children.setdefault(parent, set()).add(path)
                path = parent  # noqa: PLW2901 - on the way up

    def _pointed_at(self) -> Iterator[str]:
        """Files of the project that a link leads to: a link goes in only with what it points at."""
        for path, found in self.files.items():
            target = pointed_at(CodeFile(path, 0, target=found.target)) if found.target else ""
            parts = target.split("/")
            if target and ".." not in parts and not target.startswith("/") and target not in self.files:
                entry = self._tree.find(target)
                if entry is not None and entry.kind is EntryKind.FILE:
                    yield target

    @property
    def name(self) -> str:
        return self._tree.name

    def find(self, path: str) -> Entry | None:
        return self._entry(path) or self._tree.find(path)

    def walk(self, enter: Callable[[Entry], bool]) -> Iterator[Entry]:
        yield from self._below("", enter)

    def _below(self, folder: str, enter: Callable[[Entry], bool]) -> Iterator[Entry]:
        for path in sorted(self._children.get(folder, ())):
            entry = self.find(path)
            assert entry is not None
            yield entry
            if entry.kind is EntryKind.FOLDER and enter(entry):
                yield from self._below(path, enter)

    def read(self, path: str, *, limit: int) -> bytes:
        found = self.files.get(path)
        if found is None:
            return self._tree.read(path, limit=limit)
        if found.data is None or len(found.data) > limit:
            raise ConfigError(Text("the file is too large"), place=Place(path), want=f"at most {limit} bytes")
        return found.data

    def open(self, path: str) -> BinaryIO:
        found = self.files.get(path)
        return self._tree.open(path) if found is None or found.data is None else io.BytesIO(found.data)

    def _entry(self, path: str) -> Entry | None:
        found = self.files.get(path)
        if found is None:
            return Entry(path, EntryKind.FOLDER, mode=0o755) if path in self._children and path else None
        if found.kind is MemberKind.SYMLINK:
            return Entry(path, EntryKind.LINK, target=found.target)
        return Entry(path, EntryKind.FILE, found.size, found.mode)

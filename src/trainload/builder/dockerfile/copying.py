"""Writes the layer of COPY and ADD: where things go is decided by what lies below, as BuildKit decides it.

A file goes into a target that is a folder, or ends with a slash; of a folder its content goes there. Folders that
are there keep their looks, links in the target are followed. Times are zero.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from trainload.builder.dockerfile.ground import Accounts, Ground, Seen
from trainload.builder.dockerfile.takes import Item, Taken
from trainload.errors import ConfigError, Place, Text
from trainload.layers.model import ByteSink, Written
from trainload.layers.tarread import MemberKind
from trainload.layers.writer import ROOT, LayerWriter, Owner, Stream
from trainload.plan.lines import CopyRecipe, Folder
from trainload.values import dataclass, field

_FOLDER = MemberKind.DIRECTORY
_CHANGE = r"(?:[ugoa]+(?:[+=-][rwxX]+)+|(?:[+-][rxX]+)+)"
"""Where it does not say for whom, only what a umask leaves alone."""
_MODE = re.compile(rf"0?[0-7]{{3,4}}|{_CHANGE}(?:,{_CHANGE})*")


@dataclass(slots=True)
class _Node:
    kind: MemberKind
    mode: int
    owner: Owner
    item: Item | None = None


def write_copied(
    recipe: CopyRecipe, taken: Sequence[Taken], ground: Ground, place: Place, sink: ByteSink
) -> Written:
    """The layer of ``recipe`` over ``ground``; ``place``: the line. Raises :class:`ConfigError`."""
    copying = _Copying(recipe, ground, place)
    for folder in recipe.folders:
        copying.make(folder)
    for one in taken:
        for name, items in one.found():
            copying.put(name, items)
    return copying.write(sink)


def check_mode(mode: str, place: Place) -> None:
    """``--chmod``: octal, or as chmod(1) has it. Raises :class:`ConfigError`."""
    if mode and not _MODE.fullmatch(mode):
        raise ConfigError(Text("--chmod is a mode"), place=place, got=mode, want="755, u=rwX,go=rX")


def changed(mode: str, old: int, *, is_folder: bool) -> int:
    """What ``--chmod`` makes of a mode."""
    if mode[0].isdigit():
        return int(mode, 8)
    from trainload.builder.dockerfile.placing.files import mode_of

    return mode_of(mode, old, is_folder=is_folder)


@dataclass(slots=True)
class _Copying:
    recipe: CopyRecipe
    ground: Ground
    place: Place
    nodes: dict[str, _Node] = field(default_factory=dict)
    accounts: Accounts | None = None

    def make(self, folder: Folder) -> None:
        """WORKDIR."""
        path = self._real(folder.path.strip("/"))
        if path and not self._is_folder(path):
            self._parents(path, self._owner(folder.user))
            self.nodes[path] = _Node(_FOLDER, 0o755, self._owner(folder.user))

    def put(self, name: str, items: Sequence[Item]) -> None:
        """One source: its items below the target."""
        first, target = items[0], self.recipe.target
        path = self._real(target.strip("/"))
        name = name.rpartition("/")[2]
        check_mode(self.recipe.mode, self.place)
        owner = self._owner(self.recipe.owner) if self.recipe.owner else None
        if first.kind is not _FOLDER and (target.endswith("/") or self._is_folder(path)):
            path = f"{path}/{name}".strip("/")
        for item in items:
            here = self._below(path, item.path)
            if not here:
                continue  # the root keeps its looks
            self._parents(here, owner or ROOT)
            whose = owner or item.owner or ROOT
            bits = item.mode
            if self.recipe.mode and item.kind is not MemberKind.SYMLINK:
                bits = changed(self.recipe.mode, item.mode, is_folder=item.kind is _FOLDER)
            self._place(here, _Node(item.kind, bits, whose, item), top=not item.path)

    def write(self, sink: ByteSink) -> Written:
        with LayerWriter(sink) as out:
            for path, node in sorted(self.nodes.items()):
                if node.kind is _FOLDER:
                    out.directory(path, mode=node.mode, owner=node.owner)
                elif node.kind is MemberKind.SYMLINK:
                    assert node.item is not None
                    out.symlink(path, node.item.target, owner=node.owner)
                else:
                    assert node.item is not None and node.item.chunks is not None
                    content = Stream(node.item.size, node.item.chunks())
                    out.file(path, content, mode=node.mode, owner=node.owner)
            return out.close()

    def _place(self, path: str, node: _Node, *, top: bool) -> None:
        before = self._at(path)
        if node.kind is _FOLDER:
            if before is not None and before.kind is not _FOLDER:
                raise self._in_the_way(path)
            if top and before is not None:
                self.nodes.setdefault(path, _Node(_FOLDER, before.mode, before.owner))
                return  # a target that is there keeps its looks
        elif before is not None and before.kind is _FOLDER:
            raise self._in_the_way(path)
        self.nodes[path] = node

    def _parents(self, path: str, owner: Owner) -> None:
        """Every folder above ``path`` is named: engines make unnamed ones that ordinary users cannot enter."""
        parts = path.split("/")
        for count in range(1, len(parts)):
            above = "/".join(parts[:count])
            if above in self.nodes:
                if self.nodes[above].kind is not _FOLDER:
                    raise self._in_the_way(above)
                continue
            seen = self.ground.at(above)
            if seen is not None and seen.kind is not _FOLDER:
                raise self._in_the_way(above)
            looks = (0o755, owner) if seen is None else (seen.mode, seen.owner)
            self.nodes[above] = _Node(_FOLDER, *looks)

    def _below(self, root: str, path: str) -> str:
        """Where ``path`` of a source lies, links to folders that are there followed."""
        if not path:
            return root
        above, _, name = path.rpartition("/")
        folder = self._real(f"{root}/{above}".strip("/"))
        return f"{folder}/{name}" if folder else name

    def _real(self, path: str) -> str:
        return self.ground.real(path) if self.ground.layers else path

    def _at(self, path: str) -> _Node | Seen | None:
        return self.nodes.get(path) or self.ground.at(path)

    def _is_folder(self, path: str) -> bool:
        found = self._at(path)
        return path == "" or (found is not None and found.kind is _FOLDER)

    def _owner(self, text: str) -> Owner:
        if self.accounts is None:
            self.accounts = Accounts.of(self.ground)
        try:
            return self.accounts.owner(text)
        except ConfigError as error:
            error.place = self.place
            raise

    def _in_the_way(self, path: str) -> ConfigError:
        return ConfigError(
            Text("/{path} is a folder on one side and none on the other", path=path), place=self.place
        )

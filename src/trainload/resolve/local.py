"""Weights that lie in the project: which files they are, and their sha256, remembered while they stay the same.

Gigabytes are not read again at every build: a file whose size and time of change are as before has the hash it had.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from trainload.digest import canonical_json
from trainload.errors import ConfigError, Place, Text
from trainload.project.ignore import parse
from trainload.project.secrets import NAMES
from trainload.project.weights import LocalSource, Wanted, chosen
from trainload.resolve.cache import FolderCache
from trainload.tree import Entry, EntryKind, Tree

_CHUNK = 1 << 20


@dataclass
class LocalFiles:
    """The project's files by their bytes."""

    tree: Tree
    root: Path
    """Names the memory: two checkouts have files of the same names."""
    memory: FolderCache
    _known: dict[str, list[object]] | None = None
    _new: dict[str, list[object]] = field(default_factory=dict)

    def sha256(self, entry: Entry) -> str:
        """Of a file as it is now."""
        stamp: list[object] = [entry.size, entry.modified]
        known = self._new.get(entry.path) or self._remembered().get(entry.path)
        if known is None or known[:2] != stamp:
            digest = hashlib.sha256()
            with self.tree.open(entry.path) as stream:
                while data := stream.read(_CHUNK):
                    digest.update(data)
            known = [*stamp, digest.hexdigest()]
        self._new[entry.path] = known
        return str(known[2])

    def open(self, path: str) -> tuple[BinaryIO, str] | None:
        """A file for reading, and its sha256; None when it is not there."""
        entry = self.tree.find(path)
        if entry is None or entry.kind is not EntryKind.FILE:
            return None
        return self.tree.open(path), self.sha256(entry)

    def keep(self) -> None:
        """Remember what was hashed."""
        if self._new and self._new != self._remembered():
            self.memory.put(self._key, canonical_json(self._new))

    @property
    def _key(self) -> str:
        return "weights-" + hashlib.sha256(str(self.root).encode("utf-8", "surrogateescape")).hexdigest()[:40]

    def _remembered(self) -> dict[str, list[object]]:
        if self._known is None:
            self._known = {}
            with suppress(ValueError, AttributeError):
                found = json.loads(self.memory.get(self._key) or b"{}")
                self._known = {
                    path: value for path, value in found.items() if isinstance(value, list) and len(value) == 3
                }
        return self._known


def entries(tree: Tree, wanted: Wanted) -> tuple[Entry, ...]:
    """The files of a local entry, sorted. Raises :class:`ConfigError` when there is none."""
    assert isinstance(wanted.source, LocalSource)
    top = tree.find(wanted.source.path)
    place = Place("tool.trainload.weights")
    if top is None:
        raise ConfigError(
            Text("{path} is not there", path=wanted.source.path),
            place=place,
            want="a file or folder of the project",
            hints=[Text("a model of a hub is written hf://{path}", path=re.sub("^hf:/*", "", wanted.source.path))],
        )
    if top.kind is EntryKind.FILE:
        return (top,)
    found = tuple(_below(tree, wanted)) if top.kind is EntryKind.FOLDER else ()
    if top.kind is EntryKind.LINK or not found:
        link = Text("{path} is a link: weights are files of the project's own folder", path=wanted.source.path)
        nothing = Text("there are no files in {path} that are asked for", path=wanted.source.path)
        raise ConfigError(link if top.kind is EntryKind.LINK else nothing, place=place)
    return found


def _below(tree: Tree, wanted: Wanted) -> Iterator[Entry]:
    assert isinstance(wanted.source, LocalSource)
    top = wanted.source.path
    secrets = parse(name for name, _ in NAMES)

    def enter(entry: Entry) -> bool:
        return entry.path == top or entry.path.startswith(f"{top}/") or f"{top}/".startswith(f"{entry.path}/")

    for entry in tree.walk(enter):
        inside = entry.path.removeprefix(f"{top}/")
        if inside == entry.path or not chosen(wanted, inside) or entry.kind is EntryKind.FOLDER:
            continue
        if secrets.find_within(entry.path.lower().split("/")) is not None:
            raise ConfigError(
                Text("{path} looks like a secret, and everyone who has the weights could read it", path=entry.path),
                place=Place("tool.trainload.weights"),
                hints=[Text("leave it out with exclude")],
            )
        if entry.kind is not EntryKind.FILE:
            raise ConfigError(
                Text("{path} is no file: weights are files of the project's own folder", path=entry.path),
                place=Place("tool.trainload.weights"),
                hints=[Text("copy what it points at, or leave it out with exclude")],
            )
        yield entry


def digests(files: LocalFiles, wanted: Iterable[Wanted]) -> dict[str, str]:
    """The sha256 of every local file among ``wanted``, by path."""
    local = [one for one in wanted if isinstance(one.source, LocalSource)]
    found = {entry.path: files.sha256(entry) for one in local for entry in entries(files.tree, one)}
    files.keep()
    return found

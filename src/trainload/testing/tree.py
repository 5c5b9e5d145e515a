"""A folder made of a dict."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from typing import BinaryIO

from trainload.errors import ConfigError, Place, Text
from trainload.tree import Entry, EntryKind


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link's target."""

    target: str


@dataclass(frozen=True, slots=True)
class Fifo:
    """Something that is neither file, folder nor link."""


@dataclass(frozen=True, slots=True)
class Sparse:
    """A file of this many zero bytes that are never made."""

    size: int


Node = bytes | str | Link | Fifo | Sparse


class MemoryTree:
    """``nodes``: path → content; folders follow from the paths. ``modes``: bits that are not 0644 or 0755."""

    def __init__(
        self,
        nodes: Mapping[str, Node],
        *,
        name: str = "project",
        modes: Mapping[str, int] | None = None,
        foreign: frozenset[str] = frozenset(),
        private_group: bool = False,
    ) -> None:
        self._name = name
        self._nodes: dict[str, bytes | Link | Fifo | Sparse] = {}
        entries: dict[str, Entry] = {}
        for path, content in nodes.items():
            node = content.encode() if isinstance(content, str) else content
            self._nodes[path] = node
            parts = path.split("/")
            for depth in range(1, len(parts)):
                folder = "/".join(parts[:depth])
                entries[folder] = Entry(folder, EntryKind.FOLDER, mode=(modes or {}).get(folder, 0o755))
            entries[path] = _entry(path, node, (modes or {}).get(path, 0o644), foreign=path in foreign)
        if private_group:
            entries = {path: replace(entry, private_group=True) for path, entry in entries.items()}
        self._entries = dict(sorted(entries.items()))

    @property
    def name(self) -> str:
        return self._name

    def find(self, path: str) -> Entry | None:
        return self._entries.get(path)

    def walk(self, enter: Callable[[Entry], bool]) -> Iterator[Entry]:
        shut: set[str] = set()
        for path, entry in self._entries.items():
            if path.rpartition("/")[0] in shut:
                if entry.kind is EntryKind.FOLDER:
                    shut.add(path)
                continue
            yield entry
            if entry.kind is EntryKind.FOLDER and not enter(entry):
                shut.add(path)

    def read(self, path: str, *, limit: int) -> bytes:
        entry = self._entries.get(path)
        if entry is not None and entry.size > limit:
            raise ConfigError(
                Text("the file is too large"),
                place=Place(path), got=f"{entry.size} bytes", want=f"at most {limit} bytes",
            )  # fmt: skip
        return self.open(path).read()

    def open(self, path: str) -> BinaryIO:
        node = self._nodes.get(path)
        if node is None:
            raise ConfigError(Text("the file does not exist"), place=Place(path))
        if isinstance(node, Link):
            raise ConfigError(Text("a symbolic link is in the way, and links are not followed"), place=Place(path))
        if isinstance(node, Fifo):
            raise ConfigError(Text("this is not a regular file"), place=Place(path))
        return BytesIO(bytes(node.size) if isinstance(node, Sparse) else node)


def _entry(path: str, node: bytes | Link | Fifo | Sparse, mode: int, *, foreign: bool) -> Entry:
    if isinstance(node, Link):
        return Entry(path, EntryKind.LINK, len(node.target), 0o777, node.target, foreign=foreign)
    if isinstance(node, Fifo):
        return Entry(path, EntryKind.OTHER, mode=mode, foreign=foreign)
    size = node.size if isinstance(node, Sparse) else len(node)
    return Entry(path, EntryKind.FILE, size, mode, foreign=foreign)

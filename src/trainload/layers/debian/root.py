"""The file system of the image while it is put together: every path has one owner (THREATS D5)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from trainload.errors import LayerError, Place, Text
from trainload.layers.tarread import MemberKind
from trainload.layers.writer import ROOT, Owner
from trainload.limits import DEFAULT
from trainload.values import dataclass, field


def join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def normalise(folder: str, target: str) -> str | None:
    """Where a link in ``folder`` leads, without following others; None when it climbs above the root."""
    parts = [] if target.startswith("/") else folder.split("/") if folder else []
    for part in target.split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


@dataclass(frozen=True, slots=True)
class Node:
    """What lies at a path."""

    kind: MemberKind
    mode: int = 0o755
    owner: Owner = ROOT
    target: str = ""
    """A symbolic link's target as it stands; a hard link's is an image path."""
    size: int = 0
    sha256: bytes = b""
    content: bytes | None = None
    """Of a file that no package brings."""
    origin: tuple[int, int] | None = None
    """Of a package's file: which package, and which member of it."""

    def same_as(self, other: Node) -> bool:
        """Whether two packages bring the same thing."""
        here, there = (
            (node.kind, node.mode, node.owner, node.target, node.size, node.sha256) for node in (self, other)
        )
        return here == there


@dataclass(slots=True)
class Root:
    """Paths, without a first slash, and what lies there; ``texts`` are contents kept for later."""

    nodes: dict[str, Node] = field(default_factory=dict)
    texts: dict[str, bytes] = field(default_factory=dict)
    base: Mapping[str, Node] = field(default_factory=dict)
    """What a base image has, also in ``nodes``: it stays where a maintainer script would leave what is there."""

    def real(self, path: str) -> str | None:
        """``path`` with every link followed inside the root; None when it leads nowhere."""
        here, rest, hops = "", path.strip("/").split("/"), 0
        while rest:
            step = join(here, rest.pop(0))
            node = self.nodes.get(step)
            if node is None:
                return None
            if node.kind is MemberKind.SYMLINK:
                hops += 1
                target = normalise(here, node.target)
                if target is None or hops > DEFAULT.symlink_hops:
                    return None
                here, rest = "", [*filter(None, target.split("/")), *rest]
            else:
                here = step
        return here

    def has(self, path: str) -> bool:
        """Whether something lies at ``path``, links followed."""
        return self.real(path) is not None

    def text(self, path: str) -> bytes | None:
        """A kept or made file's content, links followed."""
        real = self.real(path)
        node = self.nodes.get(real) if real else None
        if real is None or node is None:
            return None
        return node.content if node.content is not None else self.texts.get(real)

    def below(self, folder: str) -> Iterator[tuple[str, Node]]:
        """Everything below ``folder``, sorted."""
        start = folder.strip("/") + "/"
        for path in sorted(path for path in self.nodes if path.startswith(start)):
            yield path, self.nodes[path]

    def folder(self, path: str, *, mode: int = 0o755, owner: Owner = ROOT) -> None:
        """A directory, with its parents, if nothing is there."""
        where = self._place(path)
        if where not in self.nodes:
            self.nodes[where] = Node(MemberKind.DIRECTORY, mode, owner)

    def write(self, path: str, content: bytes, *, mode: int = 0o644, owner: Owner = ROOT) -> None:
        """A file of ours, unless the base has one. Raises :class:`LayerError` when a package brings that path."""
        if self._is_below(path):
            return
        where = self._free(path)
        self.nodes[where] = Node(MemberKind.FILE, mode, owner, size=len(content), content=content)

    def link(self, path: str, target: str) -> None:
        """A symbolic link of ours, unless the base has something there.

        Raises :class:`LayerError` when a package has something else there.
        """
        if self._is_below(path):
            return
        where = self._place(path)
        node = Node(MemberKind.SYMLINK, 0o777, target=target)
        known = self.nodes.get(where)
        if known is None or not known.same_as(node):
            self.nodes[self._free(path)] = node

    def replace(self, path: str, content: bytes, *, mode: int | None = None) -> None:
        """A file with other content than the base has, or a new one; mode (unless given) and owner stay."""
        where = self.real(path) or self._place(path)
        old = self.nodes.get(where, Node(MemberKind.FILE, 0o644))
        mode = old.mode if mode is None else mode
        self.nodes[where] = Node(MemberKind.FILE, mode, old.owner, size=len(content), content=content)

    def _is_below(self, path: str) -> bool:
        where = self._place(path) if self.base else ""
        return where in self.base and self.nodes.get(where) is self.base[where]

    def _free(self, path: str) -> str:
        where = self._place(path)
        if where in self.nodes:
            raise LayerError(
                Text("{path} is brought by a package and made by us", path="/" + path), place=Place(path)
            )
        return where

    def _place(self, path: str) -> str:
        """``path`` with the links of its parents followed; missing parents are made."""
        parent, _, name = path.strip("/").rpartition("/")
        if not parent:
            return name
        real = self.real(parent)
        if real is None:
            self.folder(parent)
            real = self.real(parent)
        if real is None or self.nodes[real].kind is not MemberKind.DIRECTORY:
            raise LayerError(Text("{path} is no directory", path="/" + parent), place=Place(path))
        return join(real, name)

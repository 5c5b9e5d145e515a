"""The whole tree of a base image, in memory: what packages placed on top must fit to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import BinaryIO

from trainload.digest import Digest
from trainload.errors import LayerError, Place, Text
from trainload.layers.debian.root import Node
from trainload.layers.foreign.changes import Effect, LayerReader
from trainload.layers.tarread import Member, MemberKind
from trainload.layers.writer import Owner
from trainload.limits import DEFAULT, Limits, MiB

_TEXT_LIMIT = 16 * MiB
_MOST = 2_000_000
"""Paths of an image; the largest real ones have some 500,000."""

Opener = Callable[[], BinaryIO]


@dataclass(slots=True)
class Tree:
    """Paths without a first slash and what lies there; ``texts`` by the same paths."""

    nodes: dict[str, Node] = field(default_factory=dict)
    texts: dict[str, bytes] = field(default_factory=dict)

    def forget(self, path: str, *, itself: bool) -> None:
        """Take away what is below ``path``, and ``itself``."""
        known = self.nodes.get(path)
        start = f"{path}/" if path else ""
        if known is None or known.kind is MemberKind.DIRECTORY:
            for gone in [name for name in self.nodes if name.startswith(start)]:
                self._drop(gone)
        if itself:
            self._drop(path)

    def _drop(self, path: str) -> None:
        self.nodes.pop(path, None)
        self.texts.pop(path, None)


def read_tree(
    layers: Iterable[tuple[Opener, Digest]], wanted: Callable[[str], bool], *, limits: Limits = DEFAULT
) -> Tree:
    """The tree of ``layers`` (how to open the blob, and its diff_id), base first.

    ``wanted``: paths of files whose content is kept. Raises :class:`LayerError` for a layer that is broken or
    hostile, or not the one of its diff_id.
    """
    tree = Tree()
    for opened, diff_id in layers:
        above = Tree()
        with opened() as blob:
            reader = LayerReader(blob, diff_id, diff_id.short, limits=limits)
            for change in reader:
                if change.effect is Effect.PLACES:
                    _place(above, change.path, change.member, reader, wanted)
                else:
                    tree.forget(change.path, itself=change.effect is Effect.HIDES)
        _put_over(tree, above)
        if len(tree.nodes) > _MOST:
            raise LayerError("the image has too many files", want=_MOST)
    return tree


def _place(above: Tree, path: str, member: Member, reader: LayerReader, wanted: Callable[[str], bool]) -> None:
    if not path:
        return
    target = member.linkname.decode("utf-8", "surrogateescape")
    if member.kind is MemberKind.HARDLINK:
        target = target.strip("/").removeprefix("./")
    above.texts.pop(path, None)
    above.nodes[path] = Node(member.kind, member.mode, Owner(member.uid, member.gid), target, member.size)
    if member.kind is MemberKind.FILE and wanted(path):
        if member.size > _TEXT_LIMIT:
            raise LayerError(Text("the file is too large"), place=Place(path), got=member.size, want=_TEXT_LIMIT)
        above.texts[path] = reader.files.content(_TEXT_LIMIT)


def _put_over(tree: Tree, above: Tree) -> None:
    """What is no directory any more loses what was in it."""
    for path, node in above.nodes.items():
        known = tree.nodes.get(path)
        if known is not None and known.kind is MemberKind.DIRECTORY and node.kind is not MemberKind.DIRECTORY:
            tree.forget(path, itself=True)
        tree.texts.pop(path, None)
        tree.nodes[path] = node
    tree.texts.update(above.texts)

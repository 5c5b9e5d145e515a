"""An image's layers put together: what a container sees, and what lies in the layers and is never seen.

Pure: inventories of the layers in, one view out (OCI image-spec layer.md § Applying Changesets).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from trainload.layers.foreign.installed import Package
from trainload.layers.foreign.inventory import Entry, Inventory
from trainload.layers.tarread import MemberKind


@dataclass(frozen=True, slots=True)
class Placed:
    """An entry, and the number of its layer, base first."""

    entry: Entry
    layer: int
    package: Package | None


@dataclass(frozen=True, slots=True)
class Contents:
    """One image."""

    seen: dict[str, Placed]
    """Path → what a container finds there."""
    hidden: tuple[Placed, ...]
    """Entries of lower layers that a higher one replaces or takes away; they are stored and sent all the same."""
    packages: tuple[Package, ...]
    """What is installed."""


def join(layers: Sequence[Inventory]) -> Contents:
    """The image made of ``layers``, base first."""
    joining = _Joining()
    for number, layer in enumerate(layers):
        joining.add(number, layer)
    return Contents(joining.seen, tuple(joining.hidden), tuple(sorted(set(_installed(layers, joining.seen)))))


class _Joining:
    def __init__(self) -> None:
        self.seen: dict[str, Placed] = {}
        self.hidden: list[Placed] = []

    def add(self, number: int, layer: Inventory) -> None:
        self._take_away(set(layer.hides), set(layer.empties) | set(self._no_folders_now(layer.entries)))
        for entry in layer.entries:
            package = None if entry.owner is None else layer.packages[entry.owner]
            before = self.seen.pop(entry.path, None)
            if before is not None:
                self.hidden.append(before)
            self.seen[entry.path] = Placed(entry, number, package)

    def _no_folders_now(self, entries: Iterable[Entry]) -> Iterator[str]:
        """Folders that become something else lose what was in them."""
        for entry in entries:
            before = self.seen.get(entry.path)
            was = before.entry.kind if before is not None else entry.kind
            if was is MemberKind.DIRECTORY and entry.kind is not was:
                yield entry.path

    def _take_away(self, gone: set[str], emptied: set[str]) -> None:
        if not gone and not emptied:
            return
        above = gone | emptied
        for path in [path for path in self.seen if path in gone or _lies_below(path, above)]:
            self.hidden.append(self.seen.pop(path))


def _lies_below(path: str, folders: set[str]) -> bool:
    while path:
        path = path.rpartition("/")[0]
        if path in folders:
            return True
    return False


def _installed(layers: Sequence[Inventory], seen: dict[str, Placed]) -> Iterator[Package]:
    """A package is there where the file that says so is the one that is seen."""
    for number, layer in enumerate(layers):
        for package, evidence in zip(layer.packages, layer.evidence, strict=True):
            placed = seen.get(evidence)
            if placed is not None and placed.layer == number:
                yield package

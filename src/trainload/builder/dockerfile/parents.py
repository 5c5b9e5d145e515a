"""``COPY --parents``: what is taken keeps the folders it lies in, from ``/./`` on, as with BuildKit."""

from __future__ import annotations

import re
from collections.abc import Sequence

from trainload.builder.dockerfile.takes import Item, Taken, inside
from trainload.errors import Place
from trainload.layers.tarread import MemberKind
from trainload.values import replace


def with_parents(taken: Taken, pattern: str, place: Place) -> Taken:
    """``taken`` as one folder that holds its path; ``pattern``: the source as it is written."""
    pivot = re.match(r"(?:\./)?(.*?)/\./", pattern.lstrip("/"))
    depth = len([part for part in inside(pivot[1], place).split("/") if part]) if pivot else 0

    def found() -> Sequence[tuple[str, Sequence[Item]]]:
        return [("", _below(path, items, depth)) for path, items in taken.found()]

    return Taken(f"{'/'.join(_kept(taken.path, depth))} of its parents", taken.content, found, taken.path)


def _kept(path: str, depth: int) -> list[str]:
    return [part for part in path.split("/") if part][depth:]


def _below(path: str, items: Sequence[Item], depth: int) -> Sequence[Item]:
    """The folders above a source, which look as new ones do, and it with all that is in it."""
    parts = _kept(path, depth)
    above = ["/".join(parts[:count]) for count in range(len(parts))]
    folders = [Item(one, MemberKind.DIRECTORY, 0o755) for one in above]
    whole = "/".join(parts)
    moved = [replace(item, path=f"{whole}/{item.path}".strip("/")) for item in items]
    return (*folders, *moved) if parts else tuple(items)

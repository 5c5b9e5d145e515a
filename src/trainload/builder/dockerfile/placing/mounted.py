"""Files of the context that one RUN sees by ``--mount=type=bind``: requirements, as pip reads them there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trainload.builder.dockerfile.bench import Bench
from trainload.builder.dockerfile.ground import Ground
from trainload.builder.dockerfile.takes import Taken
from trainload.dockerfile.understand.parts import Beyond
from trainload.dockerfile.understood import RunLine
from trainload.errors import Place, Text
from trainload.layers.tarread import MemberKind
from trainload.limits import MiB

_LARGEST = 8 * MiB  # a large uv.lock has one


@dataclass(frozen=True)
class Mounted(Ground):
    """What lies below, with files on top that are shown."""

    shown: Mapping[str, bytes] = field(default_factory=dict)
    """By their paths, without a first slash."""

    def read(self, path: str) -> bytes | None:
        found = self.shown.get(path.strip("/"))
        return found if found is not None else super().read(path)


def shown_of(ground: Ground) -> Mapping[str, bytes]:
    """What is on top, by path."""
    return ground.shown if isinstance(ground, Mounted) else {}


def with_mounts(line: RunLine, ground: Ground, bench: Bench, where: Place) -> Ground:
    """``ground`` as ``line`` sees it. Raises :class:`Beyond` for a mount of more than one small file."""
    mounts = [mount for mount in line.mounts if mount.kind == "bind"]
    if not mounts:
        return ground
    shown = {}
    for mount in mounts:
        target = (mount.target or "").strip("/")
        (taken,) = bench.context.take(mount.source or ".", (), where)[:1]
        if ground.real(target) != target:
            raise Beyond(Text("a mount of type {kind}", kind=mount.kind))
        shown[target] = _content(taken)
    return Mounted(ground.store, ground.layers, ground.env, ground.limits, ground.listings, shown)


def _content(taken: Taken) -> bytes:
    ((_, items), *_) = taken.found()
    item, *more = items
    if more or item.kind is not MemberKind.FILE or item.chunks is None or item.size > _LARGEST:
        raise Beyond(Text("a mount of type {kind}", kind="bind"))
    return b"".join(item.chunks())

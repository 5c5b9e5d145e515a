"""Which packages share a layer, and the order of the layers.

Engines share *prefixes* of layers, so the order is canonical and global: what changes rarely and weighs much
comes first, in the same order in every project. A large package has its own layer whatever stands beside it;
small ones share layers that are cut so that one package more moves little besides itself (docs/adr/0019).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Generic, Protocol, TypeVar

from trainload.lock.model import File
from trainload.values import dataclass

OWN_LAYER = 4_000_000
"""Bytes of a wheel from which it has its own layer in every project."""

LAYERS = 60
"""Most layers of packages; fewer where a base image brings many."""

MOST_LAYERS = 120
"""Of an image, its base's included. moby: maxLayerDepth = 125; some room is left for who builds on ours."""

GRAINS = tuple(16_000 << step for step in range(9))
"""Bytes that small packages may share a layer up to: the first with which all layers are within their number.

Of 16 kB, a change of one package moves at most that much of others; less would only make more layers.
"""

_BEFORE_ALL = ("nvidia-",)
_THEN = ("torch", "triton", "pytorch-triton", "pytorch-triton-rocm")
_NAME_BITS = 64


class Packaged(Protocol):
    """A package that is one file."""

    @property
    def name(self) -> str: ...
    @property
    def file(self) -> File: ...


P = TypeVar("P", bound=Packaged)


@dataclass(frozen=True, slots=True)
class Grouping(Generic[P]):
    """How packages fall into layers, in canonical order: the large, the alone, then each group."""

    own: tuple[P, ...]
    """At least :data:`OWN_LAYER`, or ``grain``: one layer each."""
    together: tuple[tuple[P, ...], ...]
    """One layer each, by name inside."""
    grain: int
    """Bytes of a small package from which it is alone; 0: there are too many, and all small ones share a layer."""


def group(files: Sequence[P], most: int = LAYERS) -> Grouping[P]:
    """At most ``most`` layers of ``files``; a package of unknown size counts as one of no bytes.

    With another package added, what changes is its own layer, or one group of at most ``grain`` bytes, which may
    fall apart; only where the number of layers would pass ``most`` the small ones are all cut anew.
    """
    heaviest = sorted(files, key=lambda file: (-(file.file.size or 0), file.name))
    large = [file for file in heaviest if (file.file.size or 0) >= OWN_LAYER][: most - 1]
    known = set(large)
    small = sorted((file for file in files if file not in known), key=lambda file: file.name)
    for grain in GRAINS:
        alone = [file for file in small if (file.file.size or 0) >= grain]
        groups = tuple(_cut([file for file in small if (file.file.size or 0) < grain], grain))
        if len(large) + len(alone) + len(groups) <= most:
            return Grouping((*sorted(large, key=_rank), *alone), groups, grain)
    return Grouping(tuple(sorted(large, key=_rank)), (tuple(small),), 0)


def _cut(files: Sequence[P], most: int, depth: int = 0) -> Iterator[tuple[P, ...]]:
    """Groups of at most ``most`` bytes: halved by the bits of a hash of the name, so that each knows its place
    whatever else is there (extendible hashing).
    """
    if not files:
        return
    if len(files) == 1 or depth == _NAME_BITS or sum(file.file.size or 0 for file in files) <= most:
        yield tuple(files)
        return
    for bit in (0, 1):
        yield from _cut([file for file in files if _bit(file.name, depth) == bit], most, depth + 1)


def _bit(name: str, depth: int) -> int:
    return hashlib.sha256(name.encode()).digest()[depth // 8] >> (7 - depth % 8) & 1


def _rank(file: Packaged) -> tuple[int, str]:
    if file.name.startswith(_BEFORE_ALL):
        return 0, file.name
    if file.name in _THEN:
        return 1, file.name
    return 2, file.name

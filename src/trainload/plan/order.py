"""Which packages get a layer of their own, and the order of the layers.

Engines share *prefixes* of layers, so the order is canonical and global: what changes rarely and weighs much
comes first, in the same order in every project. Whether a package has its own layer depends on that package
alone (a fixed size), so the answer is the same in every project (docs/adr/0006).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trainload.lock.model import PythonFile

OWN_LAYER = 4_000_000
"""Bytes of a wheel from which it has its own layer: below, the per-layer cost of engines and registries (a request,
a mount, some 50 ms) outweighs what sharing saves."""

OWN_LAYERS = 60
"""Most packages with a layer of their own. moby: maxLayerDepth = 125, and a base may bring some fifty."""

_BEFORE_ALL = ("nvidia-",)
_THEN = ("torch", "triton", "pytorch-triton", "pytorch-triton-rocm")


@dataclass(frozen=True, slots=True)
class Grouping:
    """How packages fall into layers; both in canonical order."""

    own: tuple[PythonFile, ...]
    together: tuple[PythonFile, ...]


def group(files: Sequence[PythonFile]) -> Grouping:
    """Packages with a layer of their own, and those that share one; an unknown size counts as small."""
    large = sorted((f for f in files if (f.file.size or 0) >= OWN_LAYER), key=_rank)
    if len(large) > OWN_LAYERS:
        heaviest = sorted(large, key=lambda f: (-(f.file.size or 0), f.name))[:OWN_LAYERS]
        large = sorted(heaviest, key=_rank)
    own = set(large)
    return Grouping(tuple(large), tuple(sorted((f for f in files if f not in own), key=lambda f: f.name)))


def _rank(file: PythonFile) -> tuple[int, str]:
    if file.name.startswith(_BEFORE_ALL):
        return 0, file.name
    if file.name in _THEN:
        return 1, file.name
    return 2, file.name

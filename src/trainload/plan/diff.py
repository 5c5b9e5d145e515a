"""What would change if a plan were built, against an image that exists; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from trainload.plan.key import recipe_key
from trainload.plan.model import Plan, PlannedLayer


class Change(StrEnum):
    SAME = "same"
    NEW = "new"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class BuiltLayer:
    """A layer of an image as its manifest describes it."""

    title: str
    recipe: str
    """The recipe's key, or empty for a layer we did not make."""
    size: int


@dataclass(frozen=True, slots=True)
class LayerChange:
    """One line of the comparison; ``size`` in bytes."""

    change: Change
    title: str
    size: int | None


def compare(plan: Plan, built: Sequence[BuiltLayer]) -> tuple[LayerChange, ...]:
    """Layers of ``plan`` in order (same or new), then the built ones it no longer has."""
    known = {layer.recipe: layer for layer in built if layer.recipe}
    wanted = [(layer, str(recipe_key(layer.recipe))) for layer in plan.layers]
    kept = {key for _, key in wanted}
    return (
        *(_line(layer, known.get(key)) for layer, key in wanted),
        *(LayerChange(Change.GONE, layer.title, layer.size) for layer in built if layer.recipe not in kept),
    )


def _line(layer: PlannedLayer, old: BuiltLayer | None) -> LayerChange:
    if old is None:
        return LayerChange(Change.NEW, layer.title, layer.size)
    return LayerChange(Change.SAME, layer.title, old.size)

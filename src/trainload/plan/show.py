"""A plan as plain data, for ``trainload plan --json`` and its table."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

from trainload.digest import Digest
from trainload.plan.model import BaseRecipe, InterpreterRecipe, Plan, PlannedLayer, WheelsRecipe, recipe_key


def as_data(plan: Plan, present: Collection[Digest] = ()) -> dict[str, Any]:
    """The plan as JSON values. ``present``: keys of recipes whose layer is already in the store."""
    return {
        "name": plan.name,
        "platform": str(plan.platform),
        "layers": [_layer(layer, present) for layer in plan.layers],
        "config": asdict(plan.config),
        "warnings": [str(warning) for warning in plan.warnings],
    }


def _layer(layer: PlannedLayer, present: Collection[Digest]) -> dict[str, Any]:
    key = recipe_key(layer.recipe)
    return {
        "kind": layer.kind.value,
        "title": layer.title,
        "size": layer.size,
        "why": str(layer.why),
        "recipe": str(key),
        "present": key in present,
        "inputs": inputs(layer),
    }


def inputs(layer: PlannedLayer) -> list[dict[str, Any]]:
    """The outside files that go into a layer: name, bytes and sha256."""
    recipe = layer.recipe
    match recipe:
        case WheelsRecipe():
            files = recipe.wheels
        case BaseRecipe():
            files = tuple(package.file for package in recipe.packages)
        case InterpreterRecipe():
            files = (recipe.archive,)
        case _:
            files = ()
    return [{"name": file.name, "size": file.size, "sha256": file.sha256} for file in files]

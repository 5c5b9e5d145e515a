"""A plan as plain data, for ``trainload plan --json`` and its table."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

from trainload.digest import Digest
from trainload.lock.model import Made
from trainload.plan.key import recipe_key
from trainload.plan.model import (
    BaseRecipe,
    CondaRecipe,
    InterpreterRecipe,
    Plan,
    PlannedLayer,
    PlannedMount,
    SystemRecipe,
    UnbuiltRecipe,
    WeightsRecipe,
    WheelsRecipe,
)


def as_data(plan: Plan, present: Collection[Digest] = ()) -> dict[str, Any]:
    """The plan as JSON values. ``present``: keys of recipes whose layer is already in the store."""
    return {
        "name": plan.name,
        "platform": str(plan.platform),
        "layers": [_layer(layer, present) for layer in plan.layers],
        **({"mounts": [_mount(one, present) for one in plan.mounts]} if plan.mounts else {}),
        "config": asdict(plan.config),
        "warnings": [str(warning) for warning in plan.warnings],
    }


def _mount(mount: PlannedMount, present: Collection[Digest]) -> dict[str, Any]:
    layers = [_layer(layer, present) for layer in mount.layers]
    return {"title": mount.title, "path": f"/{mount.path}", "layers": layers}


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
        "builds": builds(layer),
    }


def builds(layer: PlannedLayer) -> list[dict[str, Any]]:
    """Packages of the layer that are built from source, with the sha256 of the wheel where that is known."""
    match layer.recipe:
        case UnbuiltRecipe(wheels, unbuilt):
            coming = [{"package": f"{build.name} {build.release}", "wheel": None} for build in unbuilt]
        case WheelsRecipe(wheels):
            coming = []
        case _:
            return []
    there = [
        {"package": " ".join(file.name.split("-")[:2]), "wheel": file.sha256}
        for file in wheels
        if isinstance(file.location, Made)
    ]
    return [*coming, *there]


def inputs(layer: PlannedLayer) -> list[dict[str, Any]]:
    """The outside files that go into a layer: name, bytes and sha256."""
    recipe = layer.recipe
    match recipe:
        case WheelsRecipe():
            files = recipe.wheels
        case BaseRecipe() | SystemRecipe():
            files = tuple(package.file for package in recipe.packages)
        case CondaRecipe():
            files = tuple(package.archive for package in recipe.packages)
        case UnbuiltRecipe():
            files = (*recipe.wheels, *(build.source.sdist for build in recipe.builds))
        case InterpreterRecipe():
            files = (recipe.archive,)
        case WeightsRecipe():
            files = tuple(one.file for one in recipe.files)
        case _:
            files = ()
    return [{"name": file.name, "size": file.size, "sha256": file.sha256} for file in files]

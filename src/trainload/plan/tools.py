"""Tools on top of a project's packages: layers of their own, above all that is the project's, below its code.

So the layers below stay what they are, bytecode included, and tools that come and go move nothing else. The tools
themselves are not compiled ahead: they start once, and compiling them would mean to look into everything below.
"""

from __future__ import annotations

from collections.abc import Sequence

from trainload.errors import Text
from trainload.lock.model import PythonFile
from trainload.plan.below import check_count
from trainload.plan.model import (
    CodeRecipe,
    CondaEnvironmentRecipe,
    Kind,
    Plan,
    PlannedLayer,
    PrefixWheelsRecipe,
    WheelsRecipe,
)
from trainload.plan.order import MOST_LAYERS, group
from trainload.values import replace

_LAYERS = 6
"""Most layers of tools: Jupyter Lab has some ninety packages, and they change together."""


def with_tools(plan: Plan, tools: Sequence[PythonFile], python: str) -> Plan:
    """``plan`` with ``tools`` in layers of their own. ``python``: minor version of the image's interpreter.

    Raises :class:`PlanError` for more layers than engines take.
    """
    if not tools:
        return plan
    below = tuple(layer for layer in plan.layers if not isinstance(layer.recipe, CodeRecipe))
    above = plan.layers[len(below) :]
    room = max(2, min(_LAYERS, MOST_LAYERS - len(plan.layers)))
    grouping = group(tools, room)
    conda = any(isinstance(layer.recipe, CondaEnvironmentRecipe) for layer in plan.layers)
    recipe = PrefixWheelsRecipe if conda else WheelsRecipe
    layers = [_layer(files, recipe, python) for files in (*([file] for file in grouping.own), *grouping.together)]
    made = (*below, *layers, *above)
    check_count(made, plan.base)
    return replace(plan, layers=made)


def _layer(files: Sequence[PythonFile], recipe: type[WheelsRecipe], python: str) -> PlannedLayer:
    title = f"{files[0].name} {files[0].version}" if len(files) == 1 else f"tools, {len(files)} packages"
    wheels = recipe(tuple(file.file for file in files), python)
    size = sum(file.file.size or 0 for file in files)
    return PlannedLayer(Kind.TOOLS, title, wheels, size, Text("a tool, and no part of the project"))

"""Tools on top: the project's own layers stay what they are."""

from __future__ import annotations

import dataclasses

import pytest

from trainload.errors import PlanError
from trainload.plan.build import CodeFacts, make_plan
from trainload.plan.model import Kind, Plan, WheelsRecipe
from trainload.plan.order import MOST_LAYERS
from trainload.plan.tools import with_tools
from trainload.platform import Platform
from trainload.testing import values

CODE = CodeFacts("c" * 64, 1_234, 3)


def plan() -> Plan:
    packages = [values.wheel("numpy", size=18_000_000), values.wheel("click")]
    return make_plan(values.project(bytecode=True), values.lock(), Platform("linux", "amd64"), packages, CODE)


def test_tools_lie_above_everything_of_the_project_but_its_code() -> None:
    own = plan()
    tools = [values.wheel("jupyterlab", size=12_000_000), values.wheel("tornado"), values.wheel("jinja2")]
    made = with_tools(own, tools, "3.11")
    below, added, above = made.layers[: len(own.layers) - 1], made.layers[len(own.layers) - 1 : -1], made.layers[-1]
    assert below == own.layers[:-1]
    assert above == own.layers[-1]
    assert above.kind is Kind.CODE
    assert {layer.kind for layer in added} == {Kind.TOOLS}
    recipes = [layer.recipe for layer in added if isinstance(layer.recipe, WheelsRecipe)]
    names = {wheel.name.partition("-")[0] for recipe in recipes for wheel in recipe.wheels}
    assert names == {"jupyterlab", "tornado", "jinja2"}
    assert made.config == own.config


def test_ninety_tools_take_few_layers_and_none_takes_none() -> None:
    own = plan()
    assert with_tools(own, [], "3.11") == own
    tools = [values.wheel(f"tool{number}", size=50_000 * number) for number in range(90)]
    assert len(with_tools(own, tools, "3.11").layers) <= len(own.layers) + 6


def test_an_image_that_is_full_says_so() -> None:
    own = plan()
    crowd = dataclasses.replace(own, layers=(*[own.layers[0]] * (MOST_LAYERS - len(own.layers)), *own.layers))
    with pytest.raises(PlanError):
        with_tools(crowd, [values.wheel("one")], "3.11")

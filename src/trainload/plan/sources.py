"""Packages built from source: what each build is made of, and the plan once their wheels are known; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields

from trainload.digest import Digest
from trainload.errors import LockError, PlanError, Problems, Text
from trainload.limits import DEFAULT, Limits
from trainload.lock.model import Build, File, Lock, PythonFile
from trainload.lock.select import choose, target_of
from trainload.lock.source import BuildSystem
from trainload.plan.base import base_of, environment_of, interpreter_of
from trainload.plan.conda import package_layers
from trainload.plan.key import recipe_key
from trainload.plan.model import (
    BuildRecipe,
    CondaBuildRecipe,
    CondaRecipe,
    Plan,
    PlannedLayer,
    PrefixWheelsRecipe,
    SourceRecipe,
    UnbuiltRecipe,
    WheelsRecipe,
)
from trainload.platform import Platform
from trainload.values import dataclass, replace


def build_recipe(lock: Lock, platform: Platform, package: PythonFile) -> BuildRecipe:
    """How the wheel of ``package``, an sdist, is made for ``platform``.

    Raises :class:`LockError` for an sdist whose build is not locked, :class:`PlanError` as the base's recipe does.
    """
    found = [build for build in lock.builds if (build.name, build.version) == (package.name, package.version)]
    if not found:
        raise LockError(
            Text("the lock does not say what builds {name} {version}", name=package.name, version=package.version),
            hints=[Text("run: trainload lock")],
        )
    made = BuildRecipe(
        name=package.name,
        release=package.version,
        source=SourceRecipe(package.file),
        base=base_of(lock.build_base or lock.base, platform),
        interpreter=interpreter_of(lock, platform),
        environment=environment_of(lock, platform),
        tools=WheelsRecipe(_tools(lock, platform, found[0]), lock.python),
    )
    if lock.conda is None:
        return made
    recipes = (layer.recipe for layer in package_layers(lock.conda, platform))
    beside = tuple(recipe for recipe in recipes if isinstance(recipe, CondaRecipe))
    return CondaBuildRecipe(**{each.name: getattr(made, each.name) for each in fields(made)}, conda=beside)


def _tools(lock: Lock, platform: Platform, build: Build) -> tuple[File, ...]:
    problems = Problems()
    chosen = choose(build.packages, target_of(lock, platform), problems, sdists=False)
    problems.check()
    return tuple(file.file for file in chosen)


def unbuilt(plan: Plan) -> tuple[BuildRecipe, ...]:
    """Every wheel of ``plan`` that is still to be built, in the order of the layers."""
    recipes = [layer.recipe for layer in plan.layers if isinstance(layer.recipe, UnbuiltRecipe)]
    return tuple(build for recipe in recipes for build in recipe.builds)


def settled(plan: Plan, built: Mapping[Digest, File]) -> Plan:
    """The plan with wheels in place of the builds in ``built`` (key of the recipe → wheel)."""
    return replace(plan, layers=tuple(_settled(layer, built) for layer in plan.layers))


def _settled(layer: PlannedLayer, built: Mapping[Digest, File]) -> PlannedLayer:
    recipe = layer.recipe
    if not isinstance(recipe, UnbuiltRecipe):
        return layer
    keys = [recipe_key(build) for build in recipe.builds]
    if any(key not in built for key in keys):
        return layer
    wheels = (*recipe.wheels, *(built[key] for key in keys))
    # by name, as a layer has them whose wheels were there from the first
    ordered = tuple(sorted(wheels, key=lambda file: _project(file.name)))
    beside = any(isinstance(build, CondaBuildRecipe) for build in recipe.builds)
    kind = PrefixWheelsRecipe if beside else WheelsRecipe
    return replace(layer, recipe=kind(ordered, recipe.python))


def _project(wheel: str) -> str:
    return re.sub("[-_.]+", "-", wheel.partition("-")[0]).lower()


def refuse_platform(build: BuildRecipe, platform: Platform) -> PlanError:
    """What to say where the sandbox cannot run what the target runs."""
    return PlanError(
        Text(
            "{name} {version} has only its source, and only a machine that is {platform} can build it",
            name=build.name,
            version=build.release,
            platform=platform,
        ),
        got=f"{Platform.host()}",
        hints=[
            Text("build the image on a machine that is {platform}", platform=platform),
            Text("or put a wheel of it for {platform} into a find-links folder", platform=platform),
        ],
    )


@dataclass(frozen=True, slots=True)
class Job:
    """What the build backend of an sdist is asked (PEP 517)."""

    label: str
    """Name and version, for messages."""
    system: BuildSystem
    hooks: tuple[str, ...]
    """``requires``: what else it needs; ``metadata``; ``wheel``. In order; the first that fails is the last."""
    seconds: float
    """So long it may take."""
    limits: Limits = DEFAULT
    """Of what is unpacked for it."""

"""Project and lock become a plan; pure, and the only place that decides what an image is made of."""

from __future__ import annotations

from collections.abc import Sequence

from trainload.errors import PlanError, Text
from trainload.lock.model import Lock, PythonFile
from trainload.plan.base import base_name, environment_of, interpreter_of, python_of
from trainload.plan.below import base_layers, base_warnings, check_count, configures, user_layer
from trainload.plan.conda import conda_layers, wheels
from trainload.plan.model import (
    VENV,
    BaseDocument,
    BytecodeRecipe,
    CodeRecipe,
    Kind,
    Plan,
    PlannedLayer,
    UnbuiltRecipe,
    WheelsRecipe,
)
from trainload.plan.order import LAYERS, MOST_LAYERS, OWN_LAYER, Grouping, group
from trainload.plan.runtime import runtime
from trainload.plan.sources import build_recipe
from trainload.plan.weights import weight_layers, weight_mounts
from trainload.platform import Platform
from trainload.project.model import Project
from trainload.values import dataclass

_NAMED = 3
"""Packages of a shared layer that its title names."""


@dataclass(frozen=True, slots=True)
class CodeFacts:
    """What the plan needs to know of the code listing."""

    content: str
    """:attr:`CodeRecipe.content`."""
    size: int
    files: int


def make_plan(
    project: Project,
    lock: Lock,
    platform: Platform,
    packages: Sequence[PythonFile],
    code: CodeFacts,
    base: BaseDocument | None = None,
) -> Plan:
    """The image of ``project`` on ``platform``.

    ``packages`` are the Python files selected for the platform; ``base`` is the image the lock names, if it names
    one. Raises :class:`PlanError` for a platform the lock does not hold, and for more layers than engines take.
    """
    if platform not in lock.platforms:
        raise PlanError(
            Text("the lock does not hold {platform}", platform=platform),
            got=", ".join(map(str, lock.platforms)),
            hints=[Text('add "{platform}" to platforms and run `trainload lock`', platform=platform)],
        )
    conda = lock.conda is not None
    below = (*base_layers(project, lock, platform, base), *(() if conda else _python_layers(lock, platform)))
    above = (
        *_bytecode_layer(project, lock),
        *(() if configures(project) else user_layer(project, lock, platform)),
        *weight_layers(project, lock),
        _code_layer(project, code),
    )
    room = MOST_LAYERS - len(below) - len(above)
    placed = conda_layers(project, lock, platform, room - (room // 3 if packages else 1))
    room = min(room, LAYERS) - len(placed) if conda else room
    layers = (*below, *placed, *_package_layers(lock, platform, packages, room), *above)
    check_count(layers, base)
    return Plan(
        name=project.settings.name.value,
        platform=platform,
        layers=layers,
        config=runtime(project, lock, platform, base.config if base is not None else None),
        warnings=(*project.warnings, *_on_trust(lock, packages), *base_warnings(project, lock, packages, base)),
        base=base,
        mounts=weight_mounts(project, lock),
    )


def _on_trust(lock: Lock, packages: Sequence[PythonFile]) -> tuple[Text, ...]:
    """THREATS F01: said whenever such a file goes in."""
    names = sorted({package.file.name for package in packages} & set(lock.unhashed))
    return (
        (Text("{files}: locked on trust, without a hash of its publisher", files=", ".join(names)),)
        if names
        else ()
    )


def _python_layers(lock: Lock, platform: Platform) -> tuple[PlannedLayer, ...]:
    own: tuple[PlannedLayer, ...] = ()
    made, found = interpreter_of(lock, platform), python_of(lock, platform)
    if made is not None and lock.interpreter is not None:
        why = Text("{suite} has no Python {python}", suite=base_name(lock), python=lock.python)
        title = f"python {lock.interpreter.version}"
        own = (PlannedLayer(Kind.INTERPRETER, title, made, made.archive.size, why),)
    elif found is not None and found.is_ours:
        return ()  # the base's own environment lies where ours would, and our packages go into it
    recipe = environment_of(lock, platform)
    why = Text("packages do not depend on the base")
    if recipe.system_site_packages:
        why = Text("it sees the packages that the base has")
    return *own, PlannedLayer(Kind.ENVIRONMENT, f"virtual environment {VENV}", recipe, None, why)


def _package_layers(
    lock: Lock, platform: Platform, packages: Sequence[PythonFile], room: int
) -> tuple[PlannedLayer, ...]:
    """``room``: layers that may be."""

    def placed(group: Sequence[PythonFile]) -> WheelsRecipe | UnbuiltRecipe:
        files = tuple(package.file for package in group if package.is_wheel)
        builds = tuple(build_recipe(lock, platform, package) for package in group if not package.is_wheel)
        return UnbuiltRecipe(files, builds, lock.python) if builds else wheels(lock, files)

    grouping = group(packages, max(1, min(LAYERS, room)))
    own = tuple(
        PlannedLayer(
            Kind.PACKAGE,
            f"{package.name} {package.version}",
            placed([package]),
            package.file.size,
            Text("{kilobytes} kB or more: a layer of its own", kilobytes=_least(package, grouping) // 1000),
        )
        for package in grouping.own
    )
    shared = tuple(
        PlannedLayer(
            Kind.SMALL,
            _names(files),
            placed(files),
            sum(package.file.size or 0 for package in files),
            Text("smaller packages share layers"),
        )
        for files in grouping.together
    )
    return *own, *shared


def _least(package: PythonFile, grouping: Grouping[PythonFile]) -> int:
    return OWN_LAYER if (package.file.size or 0) >= OWN_LAYER else grouping.grain


def _names(packages: Sequence[PythonFile]) -> str:
    """For an image's history: ``filelock 3.20.0``, ``jinja2, markupsafe``, ``a, b, c and 4 more``."""
    if len(packages) == 1:
        return f"{packages[0].name} {packages[0].version}"
    names = ", ".join(package.name for package in packages[:_NAMED])
    return names if len(packages) <= _NAMED else f"{names} and {len(packages) - _NAMED} more"


def _bytecode_layer(project: Project, lock: Lock) -> tuple[PlannedLayer, ...]:
    if not project.settings.bytecode.value or not lock.python:
        return ()
    recipe = BytecodeRecipe((), lock.python)
    return (PlannedLayer(Kind.BYTECODE, "bytecode", recipe, None, project.settings.bytecode.reason),)


def _code_layer(project: Project, code: CodeFacts) -> PlannedLayer:
    settings = project.settings
    recipe = CodeRecipe(settings.workdir.value, settings.user.value, code.content)
    return PlannedLayer(
        Kind.CODE,
        f"code, {_counted(code.files, 'file')}",
        recipe,
        code.size,
        Text("last, so that an edit moves kilobytes"),
    )


def _counted(count: int, thing: str) -> str:
    """For an image's history, which is English whoever builds it."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"

"""Project and lock become a plan; pure, and the only place that decides what an image is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trainload.errors import PlanError, Text
from trainload.lock.model import Lock, PythonFile
from trainload.plan.base import INTERPRETER, base_of, environment_of, interpreter_of
from trainload.plan.model import (
    VENV,
    BytecodeRecipe,
    CodeRecipe,
    ConfiguredRecipe,
    Kind,
    Plan,
    PlannedLayer,
    RuntimeConfig,
    UnbuiltRecipe,
    UserRecipe,
    WheelsRecipe,
)
from trainload.plan.order import OWN_LAYER, Grouping, group
from trainload.plan.sources import build_recipe
from trainload.platform import Platform
from trainload.project.keys import Configure
from trainload.project.model import Project

DEFAULT_USER = 1000
"""The user every composed base knows."""

_NAMED = 3
"""Packages of a shared layer that its title names."""

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class CodeFacts:
    """What the plan needs to know of the code listing."""

    content: str
    """:attr:`CodeRecipe.content`."""
    size: int
    files: int


def make_plan(
    project: Project, lock: Lock, platform: Platform, packages: Sequence[PythonFile], code: CodeFacts
) -> Plan:
    """The image of ``project`` on ``platform``.

    ``packages`` are the Python files selected for the platform. Raises :class:`PlanError` for a base or platform
    the lock does not hold.
    """
    if platform not in lock.platforms:
        raise PlanError(
            Text("the lock does not hold {platform}", platform=platform),
            got=", ".join(map(str, lock.platforms)),
            hints=[Text('add "{platform}" to platforms and run `trainload lock`', platform=platform)],
        )
    layers = (
        *_distribution_layers(project, lock, platform),
        *_python_layers(lock, platform),
        *_package_layers(lock, platform, packages),
        *_bytecode_layer(project, lock),
        *(() if _configures(project) else _user_layer(project, lock, platform)),
        _code_layer(project, code),
    )
    return Plan(
        name=project.settings.name.value,
        platform=platform,
        layers=layers,
        config=_runtime(project, lock, platform),
        warnings=(*project.warnings, *_on_trust(lock, packages)),
    )


def _on_trust(lock: Lock, packages: Sequence[PythonFile]) -> tuple[Text, ...]:
    """THREATS F01: said whenever such a file goes in."""
    names = sorted({package.file.name for package in packages} & set(lock.unhashed))
    return (
        (Text("{files}: locked on trust, without a hash of its publisher", files=", ".join(names)),)
        if names
        else ()
    )


def _configures(project: Project) -> bool:
    return project.settings.configure.value == Configure.SANDBOX


def _distribution_layers(project: Project, lock: Lock, platform: Platform) -> tuple[PlannedLayer, ...]:
    """The base; with ``configure = "sandbox"`` its user, if it needs one, and what its scripts change."""
    recipe = base_of(lock.base, platform)
    base = PlannedLayer(
        Kind.BASE,
        f"{recipe.distribution} {recipe.suite} {recipe.profile}",
        recipe,
        sum(package.file.size or 0 for package in recipe.packages),
        project.settings.base.reason,
    )
    if not _configures(project):
        return (base,)
    user = _user_layer(project, lock, platform)
    configured = PlannedLayer(
        Kind.CONFIGURED,
        "scripts of the distribution",
        ConfiguredRecipe(recipe, project.settings.user.value if user else None),
        None,
        Text("dpkg runs scripts that are not modelled in the sandbox"),
    )
    return base, *user, configured


def _python_layers(lock: Lock, platform: Platform) -> tuple[PlannedLayer, ...]:
    own: tuple[PlannedLayer, ...] = ()
    made = interpreter_of(lock, platform)
    if made is not None and lock.interpreter is not None:
        suite = base_of(lock.base, platform).suite
        why = Text("{suite} has no Python {python}", suite=suite, python=lock.python)
        title = f"python {lock.interpreter.version}"
        own = (PlannedLayer(Kind.INTERPRETER, title, made, made.archive.size, why),)
    environment = PlannedLayer(
        Kind.ENVIRONMENT,
        f"virtual environment {VENV}",
        environment_of(lock),
        None,
        Text("packages do not depend on the base"),
    )
    return *own, environment


def _package_layers(lock: Lock, platform: Platform, packages: Sequence[PythonFile]) -> tuple[PlannedLayer, ...]:
    def placed(group: Sequence[PythonFile]) -> WheelsRecipe | UnbuiltRecipe:
        wheels = tuple(package.file for package in group if package.is_wheel)
        builds = tuple(build_recipe(lock, platform, package) for package in group if not package.is_wheel)
        return UnbuiltRecipe(wheels, builds, lock.python) if builds else WheelsRecipe(wheels, lock.python)

    grouping = group(packages)
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


def _least(package: PythonFile, grouping: Grouping) -> int:
    return OWN_LAYER if (package.file.size or 0) >= OWN_LAYER else grouping.grain


def _names(packages: Sequence[PythonFile]) -> str:
    """For an image's history: ``filelock 3.20.0``, ``jinja2, markupsafe``, ``a, b, c and 4 more``."""
    if len(packages) == 1:
        return f"{packages[0].name} {packages[0].version}"
    names = ", ".join(package.name for package in packages[:_NAMED])
    return names if len(packages) <= _NAMED else f"{names} and {len(packages) - _NAMED} more"


def _bytecode_layer(project: Project, lock: Lock) -> tuple[PlannedLayer, ...]:
    if not project.settings.bytecode.value:
        return ()
    recipe = BytecodeRecipe((), lock.python)
    return (PlannedLayer(Kind.BYTECODE, "bytecode", recipe, None, project.settings.bytecode.reason),)


def _user_layer(project: Project, lock: Lock, platform: Platform) -> tuple[PlannedLayer, ...]:
    uid = project.settings.user.value
    if uid in (0, DEFAULT_USER):
        return ()
    recipe = UserRecipe(uid, base_of(lock.base, platform))
    return (PlannedLayer(Kind.USER, f"user {uid}", recipe, None, project.settings.user.reason),)


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


def _runtime(project: Project, lock: Lock, platform: Platform) -> RuntimeConfig:
    settings = project.settings
    has_init = any(p.name == "tini" for p in base_of(lock.base, platform).packages)
    return RuntimeConfig(
        user=str(settings.user.value),
        workdir=settings.workdir.value,
        command=settings.command.value,
        entrypoint=("/usr/bin/tini", "--") if has_init else (),
        env=environment(lock, settings.env.value),
        labels={},  # not the name: it may be the folder's, and another checkout is the same image
    )


def environment(lock: Lock, chosen: Mapping[str, str]) -> dict[str, str]:
    """The image's environment: ours, then the user's."""
    path = f"{VENV}/bin:{_SYSTEM_PATH}"
    if lock.interpreter is not None:
        path = f"{VENV}/bin:{INTERPRETER}/bin:{_SYSTEM_PATH}"
    env = {
        "PATH": path,
        "VIRTUAL_ENV": VENV,
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",  # logs at once; "0" would mean buffered
    }
    if lock.accelerator.startswith("cu"):
        # the container toolkit injects the driver for these (PyPI's torch brings the CUDA libraries)
        env |= {"NVIDIA_VISIBLE_DEVICES": "all", "NVIDIA_DRIVER_CAPABILITIES": "compute,utility"}
    return env | dict(chosen)

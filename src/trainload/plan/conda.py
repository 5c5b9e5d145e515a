"""Layers of a conda environment: large packages alone, small ones together, and what makes them an environment.

The order and the cut are those of wheels (``order.py``, docs/adr/0019). A layer names no Python unless something in
it depends on one, so that it is the same bytes beside every Python.
"""

from __future__ import annotations

from collections.abc import Sequence

from trainload.errors import PlanError, Text
from trainload.lock.model import ChannelPath, CondaEnvironment, CondaPackage, File, Lock
from trainload.plan.model import (
    CONDA,
    CondaEnvironmentRecipe,
    CondaFiles,
    CondaRecipe,
    Kind,
    PlannedLayer,
    PrefixWheelsRecipe,
    WheelsRecipe,
)
from trainload.plan.order import group
from trainload.platform import Platform
from trainload.project.model import CondaFile, Project

LAYERS = 40
"""Most layers of conda packages; what pip puts beside them has the rest of ``order.LAYERS``."""
_NAMED = 3


def conda_layers(project: Project, lock: Lock, platform: Platform, most: int) -> tuple[PlannedLayer, ...]:
    """At most ``most`` layers of conda packages, and one that says what they are together; none without conda.

    Raises :class:`PlanError` for a platform the lock does not hold.
    """
    environment = lock.conda
    if environment is None:
        return ()
    return *package_layers(environment, platform, most), _environment(
        project, environment, _of(environment, platform)
    )


def package_layers(
    environment: CondaEnvironment, platform: Platform, most: int = LAYERS
) -> tuple[PlannedLayer, ...]:
    """The layers of the packages alone. Raises :class:`PlanError` for a platform the lock does not hold."""
    grouping = group(_of(environment, platform), max(1, min(LAYERS, most)))
    groups = [*([package] for package in grouping.own), *grouping.together]
    return tuple(_layer(each, environment) for each in groups)


def package_layer(packages: Sequence[CondaPackage], site_packages: str, python: str, why: Text) -> PlannedLayer:
    """One layer of ``packages``; ``site_packages`` and ``python``: of the environment."""
    ordered = sorted(packages, key=lambda package: package.name)
    needs = any(package.noarch == "python" for package in ordered)
    recipe = CondaRecipe(
        tuple(map(_files, ordered)),
        site_packages if needs else "",
        ".".join(python.split(".")[:2]) if needs else "",
    )
    size = sum(package.file.size or 0 for package in ordered)
    return PlannedLayer(Kind.CONDA, _title(ordered), recipe, size, why)


def _of(environment: CondaEnvironment, platform: Platform) -> tuple[CondaPackage, ...]:
    packages = environment.packages.get(platform.architecture)
    if packages is None:
        raise PlanError(Text("the lock holds no conda packages for {platform}", platform=platform))
    return packages


def wheels(lock: Lock, files: tuple[File, ...]) -> WheelsRecipe:
    """The recipe of ``files`` where the lock's Python looks for them."""
    return WheelsRecipe(files, lock.python) if lock.conda is None else PrefixWheelsRecipe(files, lock.python)


def variables(project: Project) -> dict[str, str]:
    """What ``variables:`` of an environment sets."""
    value = project.settings.dependencies.value
    return dict(value.variables) if isinstance(value, CondaFile) else {}


def name(project: Project) -> str:
    """The environment's name; ``base`` is what conda calls the one it lies in itself."""
    value = project.settings.dependencies.value
    return value.name if isinstance(value, CondaFile) and value.name else "base"


def _layer(packages: Sequence[CondaPackage], environment: CondaEnvironment) -> PlannedLayer:
    many = len(packages) > 1
    why = Text("smaller packages share layers") if many else Text("large enough for a layer of its own")
    return package_layer(packages, environment.site_packages, environment.python, why)


def _title(packages: Sequence[CondaPackage]) -> str:
    """For an image's history: ``numpy 1.26.4``, ``xz, zlib``, ``a, b, c and 4 more``."""
    if len(packages) == 1:
        return f"{packages[0].name} {packages[0].version}"
    names = ", ".join(package.name for package in packages[:_NAMED])
    return names if len(packages) <= _NAMED else f"{names} and {len(packages) - _NAMED} more"


def _files(package: CondaPackage) -> CondaFiles:
    location = package.file.location
    assert isinstance(location, ChannelPath)
    return CondaFiles(
        package.name,
        package.version,
        package.build,
        package.file,
        location.channel,
        f"{location.address}/{location.path}",
        package.depends,
        package.constrains,
        package.noarch,
    )


def _environment(project: Project, environment: CondaEnvironment, packages: Sequence[CondaPackage]) -> PlannedLayer:
    value = project.settings.dependencies.value
    own = value.paths if isinstance(value, CondaFile) and environment.site_packages else ()
    workdir = project.settings.workdir.value.rstrip("/")
    recipe = CondaEnvironmentRecipe(
        requested=environment.requested,
        packages=tuple(sorted(f"{_channel(each)}::{each.name}-{each.version}-{each.build}" for each in packages)),
        variables=tuple(sorted(variables(project).items())),
        paths=tuple(f"{workdir}/{path}".rstrip("/") for path in own),
        site_packages=environment.site_packages if own else "",
    )
    why = Text("what conda knows of the packages together")
    return PlannedLayer(Kind.CONDA, f"conda environment {CONDA}", recipe, None, why)


def _channel(package: CondaPackage) -> str:
    """``conda-forge/linux-64``, as conda's history writes it."""
    location = package.file.location
    assert isinstance(location, ChannelPath)
    return f"{location.channel}/{package.subdir}"

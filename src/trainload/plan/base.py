"""What lies below the packages: recipes of the base, the interpreter and the virtual environment, from a lock."""

from __future__ import annotations

from trainload.errors import PlanError, Text
from trainload.lock.model import Base, DistributionBase, Lock
from trainload.plan.model import BaseRecipe, EnvironmentRecipe, InterpreterRecipe
from trainload.platform import Platform

INTERPRETER = "/opt/python"
"""Where a Python that the distribution lacks is placed."""


def base_of(base: Base, platform: Platform) -> BaseRecipe:
    """The recipe of a base composed from distribution packages. Raises :class:`PlanError` for any other base."""
    if not isinstance(base, DistributionBase):
        raise PlanError(
            Text("a base from a registry cannot be used yet: {reference}", reference=base.reference),
            hints=[Text('set base = "apt:bookworm" (or apt:trixie, apt:jammy, apt:noble)')],
        )
    packages = base.packages.get(platform.architecture)
    if packages is None:
        raise PlanError(Text("the lock holds no base packages for {platform}", platform=platform))
    return BaseRecipe(
        distribution=base.distribution,
        suite=base.suite,
        profile=base.profile,
        architecture=platform.architecture,
        requested=base.requested,
        packages=packages,
    )


def interpreter_of(lock: Lock, platform: Platform) -> InterpreterRecipe | None:
    """The recipe of a Python of its own; None: the base's is used."""
    if lock.interpreter is None:
        return None
    archive = lock.interpreter.archives.get(platform.architecture)
    if archive is None:
        raise PlanError(Text("the lock holds no Python for {platform}", platform=platform))
    return InterpreterRecipe(archive, lock.python)


def environment_of(lock: Lock) -> EnvironmentRecipe:
    """The recipe of the virtual environment over the Python that the image has."""
    if lock.interpreter is not None:
        return EnvironmentRecipe(lock.interpreter.version, f"{INTERPRETER}/bin/python{lock.python}")
    return EnvironmentRecipe(lock.python, f"/usr/bin/python{lock.python}")

"""What lies below the packages: recipes of the base, the interpreter and the virtual environment, from a lock."""

from __future__ import annotations

from trainload.errors import PlanError, Text
from trainload.lock.model import Base, BaseImage, BasePython, DistributionBase, ImageBase, Lock
from trainload.plan.model import CONDA, BareBaseRecipe, BaseRecipe, EnvironmentRecipe, InterpreterRecipe
from trainload.platform import Platform
from trainload.values import names_of

INTERPRETER = "/opt/python"
"""Where a Python that the base lacks is placed."""


def base_of(base: Base, platform: Platform) -> BaseRecipe:
    """The recipe of a base composed from distribution packages. Raises :class:`PlanError` for any other base."""
    if not isinstance(base, DistributionBase):
        raise PlanError(
            Text("{reference} is an image, not composed of packages", reference=base.reference),
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


def bare(recipe: BaseRecipe) -> BareBaseRecipe:
    """``recipe`` without a user of ours."""
    return BareBaseRecipe(*(getattr(recipe, name) for name in names_of(BaseRecipe) or ()))


def interpreter_of(lock: Lock, platform: Platform) -> InterpreterRecipe | None:
    """The recipe of a Python of its own; None: the base's is used."""
    if lock.interpreter is None:
        return None
    archive = lock.interpreter.archives.get(platform.architecture)
    if archive is None:
        raise PlanError(Text("the lock holds no Python for {platform}", platform=platform))
    return InterpreterRecipe(archive, lock.python)


def environment_of(lock: Lock, platform: Platform) -> EnvironmentRecipe:
    """The recipe of the virtual environment over the Python that the image has."""
    if lock.conda is not None:
        return EnvironmentRecipe(lock.conda.python, f"{CONDA}/bin/python{lock.python}")
    if lock.interpreter is not None:
        return EnvironmentRecipe(lock.interpreter.version, f"{INTERPRETER}/bin/python{lock.python}")
    found = python_of(lock, platform)
    if found is None:
        return EnvironmentRecipe(lock.python, f"/usr/bin/python{lock.python}")
    return EnvironmentRecipe(found.version, found.path, bool(found.installed), found.folders)


def base_image(lock: Lock, platform: Platform) -> BaseImage | None:
    """What the lock knows of the base image; None for another base. Raises :class:`PlanError`."""
    if not isinstance(lock.base, ImageBase):
        return None
    image = lock.base.images.get(platform.architecture)
    if image is None:
        raise PlanError(Text("the lock holds no base image for {platform}", platform=platform))
    return image


def python_of(lock: Lock, platform: Platform) -> BasePython | None:
    """The interpreter of a base image that packages go with; None where another is used."""
    image = base_image(lock, platform)
    return None if image is None or lock.interpreter is not None else image.python


def base_name(lock: Lock) -> str:
    """The base as people know it."""
    return lock.base.suite if isinstance(lock.base, DistributionBase) else lock.base.reference

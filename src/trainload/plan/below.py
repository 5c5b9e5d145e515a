"""Layers of the base: composed of packages in one, or an image's as they are; and the user it may lack."""

from __future__ import annotations

import re
from collections.abc import Sequence

from trainload.errors import PlanError, Text
from trainload.lock.model import BaseImage, ImageBase, Lock, PythonFile
from trainload.plan.base import base_image, base_of
from trainload.plan.model import (
    AccountFiles,
    BaseDocument,
    ConfiguredRecipe,
    Kind,
    PlannedLayer,
    SystemRecipe,
    UserRecipe,
)
from trainload.plan.order import MOST_LAYERS
from trainload.plan.runtime import entrypoint_warning
from trainload.platform import Platform
from trainload.project.keys import Configure
from trainload.project.model import Project

DEFAULT_USER = 1000
"""The user every composed base knows."""
_TITLE = 60
"""Characters of a line of a foreign history that are told."""


def configures(project: Project) -> bool:
    """Whether maintainer scripts are to run."""
    return project.settings.configure.value == Configure.SANDBOX


def base_layers(
    project: Project, lock: Lock, platform: Platform, base: BaseDocument | None
) -> tuple[PlannedLayer, ...]:
    """The lowest layers, in order. Raises :class:`PlanError` for a platform the lock does not hold."""
    if isinstance(lock.base, ImageBase):
        if base is None:
            raise PlanError(Text("the base image {reference} was not looked up", reference=lock.base.reference))
        return *_image_layers(base, project), *_system_layer(project, lock, platform, base)
    return _distribution_layers(project, lock, platform)


def user_layer(project: Project, lock: Lock, platform: Platform) -> tuple[PlannedLayer, ...]:
    """A layer that makes the user known, if the base does not know it."""
    uid = project.settings.user.value
    image = base_image(lock, platform)
    if image is None:
        if uid in (0, DEFAULT_USER):
            return ()
        recipe = UserRecipe(uid, base_of(lock.base, platform))
    elif image.packages or _knows(image, uid):
        return ()  # the layer of packages makes it known
    else:
        recipe = UserRecipe(uid, AccountFiles(*image.accounts))
    return (PlannedLayer(Kind.USER, f"user {uid}", recipe, None, project.settings.user.reason),)


def check_count(layers: Sequence[PlannedLayer], base: BaseDocument | None) -> None:
    """Raises :class:`PlanError` for more layers than engines take."""
    if len(layers) <= MOST_LAYERS:
        return
    below = len(base.layers) if base is not None else 0
    raise PlanError(
        Text("the image would have {count} layers, {below} of them the base's", count=len(layers), below=below),
        want=f"at most {MOST_LAYERS}",
        hints=[Text("take a base with fewer layers: engines mount at most 125 at once")],
    )


def base_warnings(
    project: Project, lock: Lock, packages: Sequence[PythonFile], base: BaseDocument | None
) -> tuple[Text, ...]:
    """What somebody who builds on this image should know first."""
    if base is None:
        return ()
    entrypoint = entrypoint_warning(project, base.config)
    return (*_twice_cuda(lock, packages, base), *((entrypoint,) if entrypoint is not None else ()))


def _image_layers(base: BaseDocument, project: Project) -> tuple[PlannedLayer, ...]:
    said = [str(entry.get("created_by", "")) for entry in base.history if not entry.get("empty_layer")]
    return tuple(
        PlannedLayer(
            Kind.BASE,
            _title(said[number]) if number < len(said) else layer.diff_id,
            layer,
            layer.size,
            project.settings.base.reason,
        )
        for number, layer in enumerate(base.layers)
    )


def _title(created_by: str) -> str:
    """A line of a foreign history without what every line has."""
    words = " ".join(created_by.split())
    words = re.sub(r"^(?:/bin/sh -c )?(?:#\(nop\) )?|^RUN \|?\d* ?(?:/bin/sh -c )?| # buildkit$", "", words).strip()
    return words if len(words) <= _TITLE else words[: _TITLE - 1] + "…"


def _system_layer(project: Project, lock: Lock, platform: Platform, base: BaseDocument) -> tuple[PlannedLayer, ...]:
    image = base_image(lock, platform)
    assert image is not None and isinstance(lock.base, ImageBase)
    if not image.packages:
        return ()
    uid = project.settings.user.value
    recipe = SystemRecipe(
        below=tuple(layer.diff_id for layer in base.layers),
        suite=image.suite,
        profile=lock.base.profile,
        architecture=platform.architecture,
        packages=image.packages,
        uid=None if _knows(image, uid) else uid,
    )
    count = len(image.packages)
    return (
        PlannedLayer(
            Kind.SYSTEM,
            f"{count} {image.distribution} package{'' if count == 1 else 's'}",
            recipe,
            sum(package.file.size or 0 for package in image.packages),
            Text("what the base lacks of {suite}", suite=image.suite),
        ),
    )


def _knows(image: BaseImage, uid: int) -> bool:
    return uid == 0 or any(line.split(":")[2:3] == [str(uid)] for line in image.accounts[0])


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
    if not configures(project):
        return (base,)
    user = user_layer(project, lock, platform)
    configured = PlannedLayer(
        Kind.CONFIGURED,
        "scripts of the distribution",
        ConfiguredRecipe(recipe, project.settings.user.value if user else None),
        None,
        Text("dpkg runs scripts that are not modelled in the sandbox"),
    )
    return base, *user, configured


def _twice_cuda(lock: Lock, packages: Sequence[PythonFile], base: BaseDocument) -> tuple[Text, ...]:
    """PyPI's torch carries CUDA's libraries, and so does a CUDA base: they are stored and sent twice."""
    env = base.config.env
    version = env.get("CUDA_VERSION") or env.get("NV_CUDA_LIB_VERSION")
    wheels = [package for package in packages if package.name.startswith("nvidia-")]
    if not version or not wheels:
        return ()
    return (
        Text(
            "the base brings CUDA {version}, and {names} of the project bring CUDA once more: {size} MB beside "
            "the base's {base_size} MB; a base without CUDA, such as apt:jammy, is enough",
            version=version,
            names=", ".join(package.name for package in wheels[:3]) + (" …" if len(wheels) > 3 else ""),
            size=sum(package.file.size or 0 for package in wheels) // 1_000_000,
            base_size=sum(layer.size for layer in base.layers) // 1_000_000,
        ),
    )

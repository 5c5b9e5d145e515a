"""The conda environment in the words of a Dockerfile: the lock's exact packages, placed by micromamba."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence

from trainload.lock.freeze import address, explicit
from trainload.lock.model import ChannelPath, CondaPackage, Lock
from trainload.plan.model import CONDA, PATHS, VENV, CondaEnvironmentRecipe, Plan
from trainload.platform import Platform

IMAGE = "mambaorg/micromamba:2.0.5"
"""Whoever has another one names it: ``--conda-from``."""
LIST = "conda.trainload.lock"
"""The file beside the Dockerfile."""
FOLDER = "conda"
"""Of the folder with wheels: there channels lie."""
_INSIDE = "/tmp/conda"  # noqa: S108 - a stage of the build
_MAMBA = "micromamba install --yes --no-rc --root-prefix /opt/conda --prefix /opt/conda"


def packages(lock: Lock, platform: Platform) -> Sequence[CondaPackage]:
    return lock.conda.packages.get(platform.architecture, ()) if lock.conda is not None else ()


def path(package: CondaPackage) -> str:
    """Where a package lies below :data:`FOLDER`."""
    location = package.file.location
    assert isinstance(location, ChannelPath)
    return f"{location.channel.strip('/').replace('/', '-')}/{location.path}"


def listed(lock: Lock, platform: Platform, *, folder: bool) -> str:
    """The list that micromamba takes; ``folder``: all of them lie in the build context."""
    text = explicit(lock, platform)
    for package in packages(lock, platform) if folder else ():
        text = text.replace(f"\n{address(package.file)}#", f"\nfile://{_INSIDE}/{path(package)}#")
    return text


def stage(lock: Lock, image: str, wheels: str) -> str:
    """The stage that holds the environment. ``wheels``: the folder that all lies in; empty: there is none."""
    lines = [f"FROM {image} AS conda", "USER root", f"COPY {LIST} /tmp/"]
    if wheels:
        lines += [
            f"COPY {wheels}/{FOLDER} {_INSIDE}",
            f"RUN {_MAMBA} --file /tmp/{LIST} \\",
            "    && micromamba clean --all --yes --root-prefix /opt/conda",
        ]
        return "\n".join(lines)
    # where most of them lie: a second place is a channel of the user's own
    alias = Counter(_alias(one) for some in _every(lock) for one in some).most_common(1)[0][0]
    mirrored = f' sed -i "s|^{alias}/|${{CONDA_MIRROR:-{alias}}}/|" /tmp/{LIST} \\'
    return "\n".join([
        *lines,
        "# a mirror of the channels: --build-arg CONDA_MIRROR=https://…",
        "ARG CONDA_MIRROR",
        f"RUN --mount=type=cache,target={CONDA}/pkgs \\",
        f"   {mirrored}",
        f"    && {_MAMBA} --file /tmp/{LIST}",
    ])  # fmt: skip


def _every(lock: Lock) -> Sequence[Sequence[CondaPackage]]:
    return tuple(lock.conda.packages.values()) if lock.conda is not None else ()


def _alias(package: CondaPackage) -> str:
    """Where the channel lies, without its name: what a mirror stands for."""
    location = package.file.location
    assert isinstance(location, ChannelPath)
    return location.address.rstrip("/").removesuffix(f"/{location.channel}")


def pip() -> tuple[str, str]:
    """The lines before it, and pip's command: one that goes into the environment without being of it."""
    return f"RUN {CONDA}/bin/python -m venv /tmp/pip", f"/tmp/pip/bin/pip --python {CONDA}/bin/python"  # noqa: S108


def taken(source: str, plan: Plan) -> list[str]:
    """What puts it into the last stage; it belongs to root."""
    lines = [f"COPY --from={source} --chown=0:0 {CONDA} {CONDA}", f"RUN ln -s {CONDA} {VENV}"]
    for recipe in (layer.recipe for layer in plan.layers):
        if isinstance(recipe, CondaEnvironmentRecipe) and recipe.paths:
            folders = " ".join(shlex.quote(path) for path in recipe.paths)
            lines[-1] += f" && printf '%s\\n' {folders} > {CONDA}/{recipe.site_packages}/{PATHS}"
    return lines

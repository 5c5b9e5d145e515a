"""The image's runtime config: ours over the base's, by the rules of docs/reference/base-images.md."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from trainload.errors import Text
from trainload.lock.model import DistributionBase, ImageBase, Lock
from trainload.plan import conda
from trainload.plan.base import INTERPRETER
from trainload.plan.model import CONDA, VENV, RuntimeConfig
from trainload.plan.weights import weight_environment
from trainload.platform import Platform
from trainload.project.model import Origin, Project
from trainload.values import replace

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_WRAPPERS = ("tini", "tini-static", "dumb-init", "docker-init", "nvidia_entrypoint.sh", "docker-entrypoint.sh")
"""Entrypoints that are known to run the command they are given and nothing else for long."""


def runtime(project: Project, lock: Lock, platform: Platform, base: RuntimeConfig | None) -> RuntimeConfig:
    """What runs and how. ``base``: the config of the image below, if the base is one."""
    settings = project.settings
    below = base or RuntimeConfig("", "", (), (), {}, {})
    chosen = settings.entrypoint.value
    return replace(
        below,
        user=str(settings.user.value),
        workdir=settings.workdir.value,
        command=_command(project, lock),
        entrypoint=chosen if chosen is not None else below.entrypoint or _init(lock, platform),
        env=environment(
            lock, {**weight_environment(project), **settings.env.value}, below.env, _conda(project, lock)
        ),
        onbuild=(),  # for Dockerfiles that are built on it
        # no label of ours, not the name: it may be the folder's, and another checkout is the same image
    )


def _command(project: Project, lock: Lock) -> tuple[str, ...]:
    """Without a Python its prompt is none, and a shell is."""
    command = project.settings.command
    return ("sh",) if not lock.python and command.origin is Origin.DEFAULT else command.value


def _conda(project: Project, lock: Lock) -> dict[str, str]:
    """What ``conda activate`` would set, and the environment's own variables."""
    if lock.conda is None:
        return {}
    activated = {"CONDA_PREFIX": CONDA, "CONDA_DEFAULT_ENV": conda.name(project), "CONDA_SHLVL": "1"}
    return {**conda.variables(project), **activated}


def environment(
    lock: Lock,
    chosen: Mapping[str, str],
    below: Mapping[str, str],
    activated: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, str]:
    """The image's environment: the base's, ours, that of a conda environment, then the user's."""
    python = [f"{INTERPRETER}/bin"] if lock.interpreter is not None else []
    own = CONDA if lock.conda is not None else VENV
    path = [f"{own}/bin", *python, *(below.get("PATH") or SYSTEM_PATH).split(":")]
    env = {
        **below,
        "PATH": ":".join(dict.fromkeys(path)),
        **({"VIRTUAL_ENV": VENV} if lock.conda is None else activated),
        "LANG": below.get("LANG") or "C.UTF-8",
        "PYTHONUNBUFFERED": "1",  # logs at once; "0" would mean buffered
    }
    if lock.accelerator.startswith("cu"):
        # the container toolkit injects the driver for these (PyPI's torch brings the CUDA libraries)
        gpu = {"NVIDIA_VISIBLE_DEVICES": "all", "NVIDIA_DRIVER_CAPABILITIES": "compute,utility"}
        env = {**gpu, **env}
    return env | dict(chosen)


def entrypoint_warning(project: Project, base: RuntimeConfig) -> Text | None:
    """The base's entrypoint stays, as in a Dockerfile; one that may not run our command is told."""
    if project.settings.entrypoint.value is not None or not base.entrypoint:
        return None
    program = base.entrypoint[0].rpartition("/")[2]
    if program in _WRAPPERS:
        return None
    return Text(
        "the base's entrypoint stays, and gets the command as its arguments: {entrypoint}; "
        "set entrypoint = [] to run the command itself",
        entrypoint=" ".join(base.entrypoint),
    )


def _init(lock: Lock, platform: Platform) -> tuple[str, ...]:
    """tini, where there is one: it reaps and forwards signals as process 1."""
    base = lock.base
    if isinstance(base, DistributionBase):
        has = any(package.name == "tini" for package in base.packages[platform.architecture])
        return ("/usr/bin/tini", "--") if has else ()
    assert isinstance(base, ImageBase)
    image = base.images[platform.architecture]
    placed = any(package.name == "tini" for package in image.packages)
    init = "/usr/bin/tini" if placed else image.init
    return (init, "--") if init else ()

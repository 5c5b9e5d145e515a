"""A project as ``devcontainer.json``, for editors that open containers (containers.dev: json_reference).

The image is the one that is built here; nothing is built by the editor, and no features are added to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from trainload.plan.model import VENV

PLACES = (".devcontainer/devcontainer.json", ".devcontainer.json")
"""Where editors look for it, the first first."""
_ALL = "all"
_EXTENSIONS = ("ms-python.python", "ms-python.debugpy", "ms-toolsai.jupyter")


@dataclass(frozen=True, slots=True)
class Container:
    """What the editor's container is to be like."""

    name: str
    image: str
    """A reference that the engine of the editor knows or can pull."""
    workdir: str
    user: str
    """Its name inside."""
    uid: int = 0
    engine: str = "docker"
    """Whose words ``runArgs`` are: docker or podman."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Beside the image's own."""
    mounts: Sequence[tuple[str, str, bool, bool]] = ()
    """(source, target, read-only, is a volume); sources below the project as editors write them."""
    ports: Sequence[int] = ()
    gpus: str | None = None
    shm: int | None = None
    """Bytes."""
    memory: int | None = None
    cpus: float | None = None
    bring: Sequence[str] = ()
    """A command of this machine that brings the image to the engine, before the container is made."""


def document(container: Container) -> dict[str, object]:
    """The document, with its keys in the order in which people read them."""
    found: dict[str, object] = {"name": container.name, "image": container.image}
    if container.bring:
        found["initializeCommand"] = list(container.bring)
    found["workspaceFolder"] = container.workdir
    found["workspaceMount"] = f"source=${{localWorkspaceFolder}},target={container.workdir},type=bind"
    if container.mounts:
        found["mounts"] = [_mount(*mount) for mount in container.mounts]
    found["remoteUser"] = container.user
    found["updateRemoteUserUID"] = container.engine == "docker"  # so that files in the folder stay ours
    found["init"] = True
    found["overrideCommand"] = True  # the editor's container waits, the program is started by hand
    if container.env:
        found["containerEnv"] = dict(container.env)
    if container.ports:
        found["forwardPorts"] = list(container.ports)
    if arguments := _run_arguments(container):
        found["runArgs"] = arguments
    if requirements := _requirements(container):
        found["hostRequirements"] = requirements
    found["customizations"] = {
        "vscode": {
            "extensions": list(_EXTENSIONS),
            "settings": {"python.defaultInterpreterPath": f"{VENV}/bin/python"},
        },
        "jetbrains": {"backend": "PyCharm"},
    }
    return found


def _mount(source: str, target: str, read_only: bool, volume: bool) -> str:  # noqa: FBT001
    kind = "volume" if volume else "bind"
    return f"source={source},target={target},type={kind}" + (",readonly" if read_only else "")


def _run_arguments(container: Container) -> list[str]:
    """The engine's words for what the format has none for."""
    arguments: list[str] = []
    if container.gpus and container.engine == "podman":
        arguments += [f"--device=nvidia.com/gpu={device}" for device in _devices(container.gpus)]
    elif container.gpus and container.gpus != _ALL:
        arguments.append(f"--gpus={container.gpus}")
    if container.engine == "podman" and container.uid:
        # an ordinary user's Podman: what the user inside writes is ours
        arguments.append(f"--userns=keep-id:uid={container.uid},gid={container.uid}")
    if container.shm:
        arguments.append(f"--shm-size={container.shm}")
    return arguments


def _devices(gpus: str) -> list[str]:
    """Names of CDI devices (Podman) for ``all``, a number, or ``device=0,1``."""
    if gpus == _ALL:
        return [_ALL]
    if gpus.isdecimal():
        return [str(number) for number in range(int(gpus))]
    return gpus.strip('"').removeprefix("device=").strip('"').split(",")


def _requirements(container: Container) -> dict[str, object]:
    """What the machine must have: clouds choose one by it, and an editor warns."""
    found: dict[str, object] = {}
    if container.gpus == _ALL and container.engine == "docker":
        found["gpu"] = True  # editors add `--gpus all` for it, so a choice of some must not say it
    if container.cpus:
        found["cpus"] = max(1, round(container.cpus))
    if container.memory:
        found["memory"] = f"{max(1, container.memory >> 20)}mb"
    return found

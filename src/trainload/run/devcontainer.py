"""A project as ``devcontainer.json``, for editors that open containers (containers.dev: json_reference).

The image is the one that is built here; nothing is built by the editor, and no features are added to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from trainload.plan.model import VENV

PLACES = (".devcontainer/devcontainer.json", ".devcontainer.json")
"""Where editors look for it, the first first."""
_EXTENSIONS = ("ms-python.python", "ms-python.debugpy", "ms-toolsai.jupyter")


@dataclass(frozen=True, slots=True)
class Container:
    """What the editor's container is to be like."""

    name: str
    image: str
    """A reference that the engine of the editor knows or can pull."""
    workdir: str
    user: str
    """A name or number inside."""
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
    found["updateRemoteUserUID"] = True  # so that files in the folder stay ours
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
    """Docker's and Podman's words for what the format has none for."""
    arguments = ["--init"]
    if container.gpus:
        arguments += ["--gpus", container.gpus]
    if container.shm:
        arguments.append(f"--shm-size={container.shm}")
    return arguments


def _requirements(container: Container) -> dict[str, object]:
    """What the machine must have: clouds choose one by it, and an editor warns."""
    found: dict[str, object] = {}
    if container.gpus:
        found["gpu"] = True
    if container.cpus:
        found["cpus"] = max(1, round(container.cpus))
    if container.memory:
        found["memory"] = f"{max(1, container.memory >> 20)}mb"
    return found

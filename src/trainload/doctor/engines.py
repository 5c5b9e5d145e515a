"""Docker and Podman: there, running, ours to use."""

from __future__ import annotations

import json
from collections.abc import Iterator

from trainload.doctor.families import container_toolkit, install, service, start_docker
from trainload.doctor.finding import Finding, Status
from trainload.doctor.machine import Answer, Daemon, Machine
from trainload.doctor.sandbox import forbidden
from trainload.errors import Text
from trainload.run.gpus.grant import NVIDIA

_DOCKER, _PODMAN = Text("Docker"), Text("Podman")


def docker(machine: Machine) -> Iterator[Finding]:
    """Not needed where the sandbox works; what is installed should work."""
    daemon = machine.docker()
    installed = machine.program("docker") is not None or machine.program("dockerd") is not None
    if daemon.answer is Answer.ABSENT and not installed:
        yield Finding(_DOCKER, Status.OK, Text("not installed, and not needed"), daemon.address)
        return
    if daemon.answer is not Answer.WELL:
        text, mend = _away(machine, daemon.address)[daemon.answer]
        chosen = next((name for name in ("DOCKER_HOST", "DOCKER_CONTEXT") if machine.environ.get(name)), None)
        if chosen is not None and daemon.answer is not Answer.DENIED:
            mend = (f"unset {chosen}", *(mend if daemon.address.startswith("unix://") else ()))
        yield Finding(_DOCKER, Status.PROBLEM, text, daemon.address, mend, engine=True)
        return
    info = daemon.info
    driver = str(info.get("Driver", ""))
    rootless = any("rootless" in str(option) for option in info.get("SecurityOptions") or ())
    text = Text("{version}, storage driver {driver}", version=info.get("ServerVersion", "?"), driver=driver)
    if rootless:
        text = Text("{version}, storage driver {driver}, rootless", version=info.get("ServerVersion", "?"),
                    driver=driver)  # fmt: skip
    yield Finding(_DOCKER, Status.OK, text, daemon.address, engine=True)
    if driver == "vfs":
        slow = Text("the storage driver vfs copies every layer whole: slow, and large")
        storage = """echo '{"storage-driver": "overlay2"}' | sudo tee /etc/docker/daemon.json"""
        yield Finding(
            _DOCKER, Status.WARNING, slow, daemon.address, (storage, service(machine, "restart", "docker"))
        )
    if _has_nvidia(machine) and not _knows_nvidia(machine, daemon):
        blind = Text("it does not know NVIDIA's container toolkit: runs there get no GPU")
        toolkit = "sudo nvidia-ctk runtime configure --runtime=docker"
        mend = (*container_toolkit(machine), toolkit, service(machine, "restart", "docker"))
        yield Finding(_DOCKER, Status.WARNING, blind, daemon.address, mend)


def _knows_nvidia(machine: Machine, daemon: Daemon) -> bool:
    """Docker of this machine finds the toolkit's hook unconfigured (moby: nvidia_linux.go)."""
    info = daemon.info
    if "nvidia" in (info.get("Runtimes") or {}) or info.get("DiscoveredDevices"):
        return True
    return daemon.address.startswith("unix://") and machine.program("nvidia-container-runtime-hook") is not None


def _away(machine: Machine, address: str) -> dict[Answer, tuple[Text, tuple[str, ...]]]:
    start = start_docker(machine, address)
    return {
        Answer.ABSENT: (Text("installed, and its daemon does not run"), start),
        Answer.REFUSED: (Text("its daemon does not run: the socket is there, and nobody answers"), start),
        Answer.DENIED: _denied(machine),
        Answer.SILENT: (Text("its daemon does not answer"), start_docker(machine, address, "restart")),
    }


def _denied(machine: Machine) -> tuple[Text, tuple[str, ...]]:
    """The group's new members are known to new logins only."""
    user = machine.environ.get("USER") or machine.environ.get("LOGNAME") or ""
    lines = [line.split(":") for line in (machine.text("/etc/group") or "").splitlines()]
    members = next((line[3].split(",") for line in lines if line[0] == "docker" and len(line) == 4), None)
    if members is not None and user in members:
        return Text("this user is in the group docker since the last login only"), ("newgrp docker",)
    join = ("sudo usermod -aG docker $USER", "newgrp docker")
    text = Text("this user may not talk to it: not in the group docker")
    if members is None and lines:  # its socket is root's then, until the daemon starts again
        return text, ("sudo groupadd docker", service(machine, "restart", "docker"), *join)
    return text, join


def _has_nvidia(machine: Machine) -> bool:
    return any(path.startswith("/dev/nvidia") for path in machine.gpus().nodes)


def podman(machine: Machine) -> Iterator[Finding]:
    """Asked for its own view of the machine."""
    if machine.program("podman") is None:
        yield Finding(_PODMAN, Status.OK, Text("not installed, and not needed"), "podman")
        return
    said = machine.ask("podman", "info", "--format", "json")
    if said is None:
        yield Finding(_PODMAN, Status.WARNING, Text("installed, and does not answer"), "podman info",
                      ("podman system migrate",))  # fmt: skip
        return
    if said.exit_code != 0:
        yield Finding(_PODMAN, Status.PROBLEM, *_complaint(machine, said.stderr), engine=True)
        return
    version = _version(said.stdout)
    yield Finding(_PODMAN, Status.OK, Text("version {version}", version=version), "podman info", engine=True)
    specs = any(spec.kind == NVIDIA for spec in machine.gpus().specs)
    if _has_nvidia(machine) and not specs:
        text = Text("it takes GPUs by a CDI specification, and there is none")
        generate = "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"
        mend = (*container_toolkit(machine), generate)
        yield Finding(_PODMAN, Status.WARNING, text, "/etc/cdi", mend)


def _complaint(machine: Machine, said: str) -> tuple[Text, str, tuple[str, ...]]:
    """What it says, where that comes from, and what mends it."""
    lines = [line for line in said.strip().splitlines() if line] or ["?"]
    if "cannot clone" in said:
        found = forbidden(machine)
        if found is not None:
            return (
                Text("this machine does not let it make namespaces: {reason}", reason=found[0]),
                "podman info",
                found[1],
            )
    mend: tuple[str, ...] = ("podman system migrate",)
    if "subuid" in said or "newuidmap" in said:
        mend = ("sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER", *mend)
        if machine.program("newuidmap") is None:
            mend = (install(machine, "uidmap"), *mend)
    return Text("it says: {reason}", reason=lines[-1]), "podman info", mend


def _version(text: str) -> str:
    try:
        return str(json.loads(text)["version"]["Version"])
    except (ValueError, KeyError, TypeError):
        return "?"

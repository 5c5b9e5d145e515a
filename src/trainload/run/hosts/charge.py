"""What the far side is told to run, in the words of whoever runs it there; pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trainload.errors import RunError, Text
from trainload.image.history import steps
from trainload.image.model import Image
from trainload.run.engines.inspected import name_of
from trainload.run.engines.podman import render as podman
from trainload.run.handwritten import FRONT, executable
from trainload.run.hosts import words
from trainload.run.hosts.place import with_outputs
from trainload.run.model import Mount, RunSpec
from trainload.run.words import signal_number
from trainload.runner.byprogram import ENV_FILE, IMAGE

EMBEDDED = "embedded"
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True, slots=True)
class Facts:
    """What matters of the far machine."""

    uid: int
    gid: int
    machine: str
    """As uname(1) says it."""
    memory: int
    """Bytes."""
    open_files: int
    may_raise_limits: bool
    rootless: bool
    bwrap: bool
    """bubblewrap is installed there."""

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Facts:
        """What a runner answered."""
        return cls(
            uid=int(told["uid"]), gid=int(told["gid"]), machine=str(told["machine"]), memory=int(told["memory"]),
            open_files=int(told["open_files"]), may_raise_limits=bool(told["may_raise_limits"]),
            rootless=bool(told["rootless"]), bwrap=told["bwrap"] is not None,
        )  # fmt: skip


def by_program(engine: str, spec: RunSpec, image: Image, facts: Facts, folder: str) -> dict[str, object]:
    """For Docker and Podman; ``folder``: the run's own there."""
    caller = (facts.uid, facts.gid) if spec.caller is not None else None
    settled = replace(spec, mounts=with_outputs(spec.mounts, folder), caller=caller)
    shm = facts.memory // 2
    if engine == "podman":
        here = podman.Here(facts.rootless, shm, facts.may_raise_limits, facts.open_files)
        argv = podman.create(settled, IMAGE, ENV_FILE, here, detached=True)
    else:
        argv = words.create(settled, IMAGE, ENV_FILE, shm=shm)
    env = "".join(f"{name}={value}\n" for name, value in podman.environment(settled)[0].items())
    ids = [str(image.manifest.config.digest), str(image.digest)]  # the second in containerd's image store
    return {"words": list(argv), "env": env, "container": name_of(spec), "images": ids}


def embedded(
    spec: RunSpec, image: Image, facts: Facts, folder: str, tool: Sequence[Sequence[str]]
) -> dict[str, object]:
    """For what travels along; ``tool``: path and digest of each file of the bubblewrap that was sent.

    Raises :class:`RunError` for an image of another machine.
    """
    made = image.config.platform.architecture
    if _MACHINES.get(made, made) != facts.machine:
        raise RunError(
            Text("the image is for {image}, the server is {machine}", image=image.config.platform,
                 machine=facts.machine),
            hints=[Text("build it for that machine: --platform linux/{architecture}",
                        architecture=_architecture(facts.machine))],
        )  # fmt: skip
    return {
        "layers": layers_of(image),
        "command": list(spec.command),
        "env": dict(spec.env),
        "user": spec.user,
        "workdir": spec.workdir,
        "hostname": spec.hostname or spec.id,
        "mounts": [_mount(mount, folder) for mount in spec.mounts],
        "network": spec.network,
        "shm": spec.limits.shm or facts.memory // 2,
        "read_only": spec.read_only,
        "terminal": spec.tty,
        "open": spec.open,
        "front": _front(made) if spec.tty else "",
        "stop_signal": signal_number(spec.stop_signal) or 15,
        "grace": spec.grace,
        "tool": [list(one) for one in tool],
        "nodes": [],
        "links": [],
        "modes": [],
    }  # fmt: skip


def _front(architecture: str) -> str:
    """What goes before a program on a terminal; without it Ctrl-C may end its container instead."""
    return base64.b64encode(executable(FRONT, architecture)).decode("ascii") if architecture in FRONT else ""


def layers_of(image: Image) -> list[dict[str, object]]:
    """What is to be unpacked there, base first."""
    return [
        {"digest": str(step.layer.digest), "diff_id": str(step.diff_id), "size": step.layer.size,
         "title": step.title or step.layer.digest.short}
        for step in steps(image) if step.layer is not None
    ]  # fmt: skip


def _mount(mount: Mount, folder: str) -> list[object]:
    settled = with_outputs((mount,), folder)[0]
    return [settled.source, mount.target, mount.read_only, "volume" if mount.volume else "folder"]


def _architecture(machine: str) -> str:
    return next((name for name, told in _MACHINES.items() if told == machine), machine)

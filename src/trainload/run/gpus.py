"""NVIDIA GPUs for the embedded engine: device nodes and the driver's libraries of this machine.

Without the container toolkit's hooks: nodes are bound as they are, and the libraries lie in one folder that comes
first for the dynamic loader.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trainload.errors import RunError, Text
from trainload.run.model import Mount

_FOLDER = "/usr/local/nvidia/lib64"  # nvidia-docker's place; CUDA images have it in LD_LIBRARY_PATH already
_NODES = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset")
_LIBRARY = re.compile(r"lib(cuda|nvidia-[a-z0-9-]+|nvcuvid|cudadebugger)\.so\.[0-9]+")
_NODE = re.compile(r"nvidia([0-9]+)")


@dataclass(frozen=True, slots=True)
class Devices:
    """What a container gets to see of the GPUs."""

    nodes: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)


def devices(wanted: str | None, dev: Path = Path("/dev"), listing: str | None = None) -> Devices:
    """For ``--gpus`` ``all``, ``2`` (that many) or ``device=0,1``; ``listing`` is the text of ``ldconfig -p``.

    Raises :class:`RunError` when this machine has not got them.
    """
    if wanted is None:
        return Devices()
    there = sorted(int(match[1]) for path in dev.glob("nvidia*") if (match := _NODE.fullmatch(path.name)))
    if not there:
        raise RunError(
            Text("--gpus {wanted}: this machine has no NVIDIA GPU that can be used", wanted=wanted),
            hints=(
                "the driver's device nodes (/dev/nvidia0) are missing: install the driver, or run without --gpus",
            ),
        )
    chosen = _chosen(wanted, there)
    nodes = [dev / f"nvidia{number}" for number in chosen] + [dev / name for name in _NODES]
    libraries = _libraries(_ldconfig() if listing is None else listing)
    return Devices(
        nodes=tuple(str(node) for node in nodes if node.exists()),
        mounts=tuple(Mount(source, f"{_FOLDER}/{name}", read_only=True) for name, source in libraries.items()),
        env={"LD_LIBRARY_PATH": _FOLDER},
    )


def _chosen(wanted: str, there: list[int]) -> list[int]:
    if wanted == "all":
        return there
    numbers = wanted.removeprefix("device=").strip('"').split(",")
    if not all(number.isdecimal() for number in numbers):
        raise RunError(
            Text("--gpus {wanted} is not understood", wanted=wanted), want="all, a number, or device=0,1"
        )
    if wanted.isdecimal():
        if int(wanted) > len(there):
            raise RunError(Text("there are not that many GPUs"), got=wanted, want=f"at most {len(there)}")
        return there[: int(wanted)]
    missing = [number for number in numbers if int(number) not in there]
    if missing:
        raise RunError(Text("there is no GPU {number}", number=missing[0]), want=", ".join(map(str, there)))
    return [int(number) for number in numbers]


def _libraries(listing: str) -> dict[str, str]:
    """soname → file, from ``ldconfig -p``: the first of each name is the one the loader takes."""
    found: dict[str, str] = {}
    for line in listing.splitlines():
        name, _, path = line.strip().partition(" => ")
        name = name.split(" ")[0]
        if path and _LIBRARY.fullmatch(name):
            found.setdefault(name, path)
    return found


def _ldconfig() -> str:
    from trainload.system.process import ProcessError, run

    for program in ("ldconfig", "/sbin/ldconfig"):
        try:
            return run([program, "-p"], timeout=10).stdout.decode("utf-8", "replace")
        except ProcessError:
            continue
    return ""

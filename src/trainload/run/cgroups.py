"""Memory, cpu and process limits: control groups, where this machine gives them to us.

Root: cgroup v2, or the v1 controllers of older and hybrid machines, below the group we are in. An ordinary
user: what systemd delegated to the user's own group, or gives us when it is asked (``delegation.py``). Whatever
cannot be had is said.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from trainload.errors import Text
from trainload.run.model import Limits
from trainload.values import dataclass

_PERIOD = 100_000  # µs; the kernel's default for cpu.cfs_period_us and cpu.max
NAMES = {"memory": "memory", "cpu": "cpus", "pids": "processes"}
"""Controller → what the user calls it."""


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Where groups can be made: per controller (v1), or one folder for all (v2)."""

    version: int
    folders: dict[str, Path]
    """controller → our own group's folder."""


@dataclass(frozen=True, slots=True)
class Group:
    """A control group of one run; ``folders`` as in :class:`Hierarchy`."""

    version: int
    folders: dict[str, Path]

    def add(self, pid: int) -> None:
        for folder in set(self.folders.values()):
            (folder / "cgroup.procs").write_text(str(pid), encoding="ascii")

    def memory_kills(self) -> int:
        """How many processes the kernel killed because of the memory limit."""
        if "memory" not in self.folders:
            return 0
        name = "memory.events" if self.version == 2 else "memory.oom_control"
        lines = (self.folders["memory"] / name).read_text(encoding="ascii").splitlines()
        return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)

    def remove(self) -> None:
        """Best effort for two seconds: the kernel is slow to forget processes that have just ended."""
        for folder in set(self.folders.values()):
            for _ in range(200):
                try:
                    folder.rmdir()
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.01)
                else:
                    break


def hierarchy(mountinfo: str, own: str, root: Path = Path("/")) -> Hierarchy:
    """From the texts of ``/proc/self/mountinfo`` and ``/proc/self/cgroup`` (cgroups(7)).

    A controller counts where its files are; v2 is preferred when it has any.
    """
    v1: dict[str, Path] = {}
    v2: Path | None = None
    paths: dict[str, str] = {}
    for line in own.splitlines():
        _, controllers, path = line.split(":", 2)
        paths.update(dict.fromkeys(controllers.split(","), path))
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        below, at = left.split(" ")[3:5]
        if kind == "cgroup2":
            v2 = _group(root, at, below, paths.get("", "/"))
        elif kind == "cgroup":
            for controller in set(options.split(" ")[-1].split(",")) & set(NAMES):
                v1[controller] = _group(root, at, below, paths.get(controller, "/"))
    if v2 is not None and (v2 / "cgroup.controllers").is_file():
        offered = (v2 / "cgroup.controllers").read_text(encoding="ascii").split()
        if set(offered) & set(NAMES):
            return Hierarchy(2, {name: v2 for name in NAMES if name in offered})
    return Hierarchy(1, v1)


def _group(root: Path, at: str, below: str, path: str) -> Path:
    """The folder of the group ``path`` under a mount that shows the hierarchy from ``below`` on."""
    inside = os.path.relpath(path, below) if below != "/" else path.lstrip("/")
    return root / at.lstrip("/") / (inside if not inside.startswith("..") else "")


def wanted(limits: Limits) -> dict[str, str]:
    """controller → what the user calls it, for the limits that are set."""
    return {
        name: NAMES[name]
        for name, value in (
            ("memory", limits.memory or limits.memory_swap),
            ("cpu", limits.cpus),
            ("pids", limits.pids),
        )
        if value is not None
    }


def not_in_force(limits: Limits, found: Hierarchy) -> tuple[Text, ...]:
    """What of ``limits`` this machine does not let us do."""
    missing = [
        word
        for controller, word in wanted(limits).items()
        if controller not in found.folders or not _may_make(found.version, found.folders[controller])
    ]
    if not missing:
        return ()
    why = (
        Text(
            "the limits on {what} are not in force: this machine offers no control groups for them",
            what=", ".join(missing),
        )
        if os.geteuid() == 0
        else Text(
            "the limits on {what} are not in force: an ordinary user has no control groups for them here; run as"
            " root, or have systemd delegate them (Delegate=yes in user@.service)",
            what=", ".join(missing),
        )
    )
    return (why,)


def _may_make(version: int, folder: Path) -> bool:
    if not os.access(folder, os.W_OK) or not os.access(folder / "cgroup.procs", os.W_OK):
        return False
    return version == 1 or _parent_v2(folder) is not None


def _parent_v2(folder: Path) -> Path | None:
    """Where a v2 group with controllers may be made: in the root group, or beside us (no inner processes)."""
    for place in (folder, folder.parent):
        if not (place / "cgroup.procs").is_file() or not os.access(place / "cgroup.procs", os.W_OK):
            continue
        is_root = not (place / "cgroup.type").exists()
        if is_root or not (place / "cgroup.procs").read_text(encoding="ascii").strip():
            return place
    return None


def make(name: str, limits: Limits, found: Hierarchy) -> Group | None:
    """A group for one run with every limit that can be in force; None when there is none."""
    folders: dict[str, Path] = {}
    for controller in wanted(limits):
        own = found.folders.get(controller)
        if own is None or not _may_make(found.version, own):
            continue
        place = own if found.version == 1 else _parent_v2(own)
        assert place is not None
        if found.version == 2:
            (place / "cgroup.subtree_control").write_text(f"+{controller}", encoding="ascii")
        folder = place / name
        folder.mkdir(exist_ok=True)
        folders[controller] = folder
    group = Group(found.version, folders)
    for file, value in settings(limits, found.version):
        _write(group, file, value)
    return group if folders else None


def forget(name: str, found: Hierarchy) -> None:
    """Remove the group a killed run left behind, if there is one."""
    places = {own if found.version == 1 else _parent_v2(own) for own in found.folders.values()}
    Group(found.version, {str(place): place / name for place in places if place is not None}).remove()


def _write(group: Group, file: str, value: str) -> None:
    folder = group.folders.get(file.partition(".")[0])
    # without swap accounting the swap files are missing: then there is nothing to limit
    if folder is not None and (folder / file).exists():
        (folder / file).write_text(value, encoding="ascii")


def settings(limits: Limits, version: int) -> tuple[tuple[str, str], ...]:
    """(file, value) in the order they must be written (memory-swap is both together, as in Docker)."""
    out: list[tuple[str, str]] = []
    memory, swap = limits.memory, limits.memory_swap
    if memory is not None:
        out.append(("memory.max" if version == 2 else "memory.limit_in_bytes", str(memory)))
        both = swap if swap is not None else memory * 2  # Docker: as much swap as memory, unless said
        if version == 2:
            out.append(("memory.swap.max", str(max(both - memory, 0)) if both >= 0 else "max"))
        else:
            out.append(("memory.memsw.limit_in_bytes", str(both)))
    if limits.cpus is not None:
        quota = round(limits.cpus * _PERIOD)
        out.append(("cpu.max", f"{quota} {_PERIOD}") if version == 2 else ("cpu.cfs_quota_us", str(quota)))
    if limits.pids is not None:
        out.append(("pids.max", str(limits.pids)))
    return tuple(out)


def this_machine() -> Hierarchy:
    """What this process may use."""
    try:
        return hierarchy(
            Path("/proc/self/mountinfo").read_text(encoding="utf-8"),
            Path("/proc/self/cgroup").read_text(encoding="utf-8"),
        )
    except OSError:
        return Hierarchy(1, {})

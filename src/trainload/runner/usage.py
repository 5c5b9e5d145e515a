"""What a container uses: by its control groups where they are its own, else by its processes in /proc."""

from __future__ import annotations

import os
from pathlib import Path

from trainload.runner.trouble import Trouble

_GROUPS = Path("/sys/fs/cgroup")
_UNIFIED = ("", "unified")
"""Where the second version's hierarchy lies: alone, or beside the first's."""
_NANO, _MICRO = 1e9, 1e6


def usage(pid: int, container: str) -> dict[str, object]:
    """Of the container whose first process is ``pid``; ``container``: its id, which its groups are called by.

    Raises :class:`Trouble` when it does not run, or nothing of it may be seen.
    """
    try:
        groups = _groups(pid) if container else {}
    except OSError:
        raise Trouble("ended") from None
    if any(container in path for path in groups.values()):
        found = _second(groups) or _first(groups)
        if found is not None:
            return found
    return _processes(pid)


def _groups(pid: int) -> dict[str, str]:
    """Its path in each hierarchy; the second version's has no name."""
    lines = Path(f"/proc/{pid}/cgroup").read_text("utf-8", "replace").splitlines()
    parts = [line.split(":", 2) for line in lines if line.count(":") >= 2]
    return {name: path for _, names, path in parts for name in names.split(",")}


def _second(groups: dict[str, str]) -> dict[str, object] | None:
    for mount in _UNIFIED:
        folder = _GROUPS / mount / groups.get("", "/").lstrip("/")
        memory, cpu = _number(folder / "memory.current"), _field(folder / "cpu.stat", "usage_usec")
        if memory is not None and cpu is not None:
            idle = _field(folder / "memory.stat", "inactive_file") or 0
            return {"cpu_seconds": cpu / _MICRO, "memory": max(0, memory - idle),
                    "processes": _number(folder / "pids.current") or 0}  # fmt: skip
    return None


def _first(groups: dict[str, str]) -> dict[str, object] | None:
    def folder(name: str) -> Path:
        return _GROUPS / name / groups.get(name, "/").lstrip("/")

    memory, cpu = _number(folder("memory") / "memory.usage_in_bytes"), _number(folder("cpuacct") / "cpuacct.usage")
    if memory is None or cpu is None:
        return None
    idle = _field(folder("memory") / "memory.stat", "total_inactive_file") or 0
    count = _number(folder("pids") / "pids.current")
    return {"cpu_seconds": cpu / _NANO, "memory": max(0, memory - idle), "processes": count or 0}


def _processes(pid: int) -> dict[str, object]:
    """Those of its pid namespace; shared memory counts with each process that has it."""
    tick, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    try:
        space = os.readlink(f"/proc/{pid}/ns/pid")  # noqa: PTH115
    except OSError:
        raise Trouble("usage") from None
    ticks = pages = count = 0
    for name in os.listdir("/proc"):
        if not name.isdecimal():
            continue
        try:
            if os.readlink(f"/proc/{name}/ns/pid") != space:  # noqa: PTH115
                continue
            fields = Path(f"/proc/{name}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
            ticks += sum(int(field) for field in fields[11:15])  # proc(5): utime stime cutime cstime
            pages += int(Path(f"/proc/{name}/statm").read_text(encoding="ascii").split()[1])
            count += 1
        except OSError:
            continue  # another user's, or gone
    return {"cpu_seconds": ticks / tick, "memory": pages * page, "processes": count}


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _field(path: Path, name: str) -> int | None:
    try:
        pairs = (line.split() for line in path.read_text(encoding="ascii").splitlines())
        return next(int(value) for key, value in pairs if key == name)
    except (OSError, ValueError, StopIteration):
        return None

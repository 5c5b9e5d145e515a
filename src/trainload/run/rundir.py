"""The folder of one run: what it writes over the layers, and a lock that tells whether it still lives.

The lock is held by the process that runs; the kernel lets go of it on ``kill -9``, so :func:`dead` finds what a
killed Trainload left behind, and :func:`clear` ends and removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainload.run.unpack import remove


@contextmanager
def run_folder(rootfs: Path, name: str) -> Iterator[Path]:
    """``rootfs/runs/NAME`` with ``upper``, ``work``, ``merged`` and ``etc``; removed at the end."""
    folder = rootfs / "runs" / name
    folder.mkdir(parents=True, mode=0o700)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for part in ("upper", "work", "merged", "etc"):
            (folder / part).mkdir()
            (folder / part).chmod(0o755)  # the upper folder's mode is that of / inside, whatever our umask
        try:
            yield folder
        finally:
            remove(folder)


def note_process(folder: Path, pid: int) -> None:
    """Remember the container's first process, so that it can be ended if we are killed."""
    note = {"pid": pid, "started": _started(pid)}
    (folder / "process.json").write_text(json.dumps(note), encoding="ascii")


def alive(rootfs: Path, name: str) -> bool:
    """Whether the process that runs ``name`` is there."""
    try:
        lock = (rootfs / "runs" / name / "lock").open("r+")
    except OSError:
        return False
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def clear(rootfs: Path) -> tuple[str, ...]:
    """End and remove every run whose Trainload was killed; their names."""
    runs = rootfs / "runs"
    dead = [path.name for path in sorted(runs.iterdir()) if not alive(rootfs, path.name)] if runs.is_dir() else []
    for name in dead:
        folder = runs / name
        _end(folder / "process.json")
        with contextlib.suppress(OSError):
            remove(folder)
    return tuple(dead)


def _end(note: Path) -> None:
    try:
        process = json.loads(note.read_bytes())
    except (OSError, json.JSONDecodeError):
        return
    if _started(process["pid"]) == process["started"] is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process["pid"], signal.SIGKILL)


def _started(pid: int) -> str | None:
    """When a process began, in the kernel's ticks: with its pid it is unique (proc(5), field 22)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except OSError:
        return None

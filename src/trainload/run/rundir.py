"""The folder of one run: what it writes over the layers, and a lock that tells whether it still lives.

The lock is held by the process that runs; the kernel lets go of it on ``kill -9``, so :func:`clear` finds
what a killed Trainload left behind, ends and removes it.
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
from typing import IO

from trainload.run.unpack import remove


@contextmanager
def run_folder(rootfs: Path, name: str) -> Iterator[Path]:
    """``rootfs/runs/NAME`` with ``upper``, ``work``, ``merged`` and ``etc``; removed at the end.

    Its lock lies beside it and is held before the folder is there until it is gone, so that nobody who clears up
    ever sees the folder of a living run without its lock.
    """
    folder = rootfs / "runs" / name
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _held(_lock(folder)):
        try:
            folder.mkdir(mode=0o700)
            for part in ("upper", "work", "merged", "etc"):
                (folder / part).mkdir()
                (folder / part).chmod(0o755)  # the upper folder's mode is that of / inside, whatever our umask
            yield folder
        finally:
            remove(folder)
            _lock(folder).unlink(missing_ok=True)


def _lock(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Hold the lock at ``path``; one that somebody removed before it was ours is no lock, so it is made again."""
    while True:
        with path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if _still_there(path, lock):
                yield
                return


def _still_there(path: Path, lock: IO[str]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(lock.fileno()))
    except FileNotFoundError:
        return False


def note_process(folder: Path, pid: int) -> None:
    """Remember the container's first process, so that it can be ended if we are killed."""
    note = {"pid": pid, "started": born(pid)}
    (folder / "process.json").write_text(json.dumps(note), encoding="ascii")


def alive(rootfs: Path, name: str) -> bool:
    """Whether the process that runs ``name`` is there."""
    try:
        lock = _lock(rootfs / "runs" / name).open("r+")
    except OSError:
        return False
    with lock:
        return not _taken(lock, shared=True)  # with all others who look: none of them is taken for the run


def clear(rootfs: Path) -> tuple[str, ...]:
    """End and remove every run whose Trainload was killed; their names."""
    runs = rootfs / "runs"
    names = sorted({path.name.removesuffix(".lock") for path in runs.iterdir()}) if runs.is_dir() else []
    return tuple(name for name in names if _cleared(runs / name))


def _cleared(folder: Path) -> bool:
    """Remove the run's folder under its lock, unless the run lives or has just ended on its own."""
    with contextlib.suppress(OSError), _lock(folder).open("w") as lock:
        if not _taken(lock) or not _still_there(_lock(folder), lock):
            return False
        was_there = folder.exists()
        _end(folder / "process.json")
        remove(folder)
        _lock(folder).unlink(missing_ok=True)
        return was_there
    return False


def _taken(lock: IO[str], *, shared: bool = False) -> bool:
    """Whether the lock is ours now; the kernel gives it to one at a time, or to all who share it."""
    try:
        fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _end(note: Path) -> None:
    try:
        process = json.loads(note.read_bytes())
    except (OSError, json.JSONDecodeError):
        return
    if born(process["pid"]) == process["started"] is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process["pid"], signal.SIGKILL)


def born(pid: int) -> str | None:
    """When a process began, in the kernel's ticks: with its pid it is unique (proc(5), field 22)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2]  # a name may be cut within a letter
    except OSError:
        return None
    return fields.split()[19].decode("ascii")


def sees_files(pid: int, since: str | None) -> bool:
    """Whether the process that began at ``since`` has its files still: they go before it does."""
    return since is not None and os.path.exists(f"/proc/{pid}/root/.") and born(pid) == since  # noqa: PTH110

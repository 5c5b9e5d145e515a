"""The folder of a detached run, ``containers/ID/`` in the store: what it wrote, its log, its state, a lock.

The supervisor holds the lock; the kernel lets go of it on ``kill -9``, so whether a run lives is never guessed.
No value of the environment is ever written here.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from trainload.errors import RunError, Text
from trainload.run.engines.interface import Health, Phase, State
from trainload.run.model import Outcome
from trainload.run.rundir import born
from trainload.run.unpack import remove
from trainload.values import dataclass, replace


@dataclass(frozen=True, slots=True)
class Note:
    """What the supervisor writes down about its run."""

    phase: Phase = Phase.STARTING
    started: str | None = None
    ended: str | None = None
    exit_code: int | None = None
    reason: tuple[str, Mapping[str, str]] | None = None
    health: Health | None = None
    restarts: int = 0
    supervisor: int = 0
    """Its pid."""
    pid: int = 0
    """Of the container's first process."""
    born: str | None = None
    """When that process began, in the kernel's ticks: with the pid it is unique."""
    letter: int = 0
    """The supervisor's descriptor with what nobody may find on the disk."""
    groups: tuple[str, ...] = ()
    """Folders of its control group."""
    image: str = ""
    """Digest of its manifest."""
    memory: int | None = None
    """Its limit."""
    front: bool = False
    """It ran in the foreground, and what it changed was kept."""
    tty: bool = False
    """It has a terminal of its own."""
    open: bool = False
    """It reads what those say who are attached."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One run's folder."""

    folder: Path

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def root(self) -> Path:
        """With ``upper``, ``work``, ``merged`` and ``etc``."""
        return self.folder / "root"

    @property
    def wish(self) -> Path:
        """There when the user asked it to end: it is not started again. Its text: seconds of grace, or nothing."""
        return self.folder / "stop"

    @property
    def _lock(self) -> Path:
        return self.folder / "lock"

    @property
    def _note(self) -> Path:
        return self.folder / "state.json"

    def make(self) -> None:
        """Raises :class:`FileExistsError`."""
        self.folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder.mkdir(mode=0o700)

    def take(self) -> int:
        """Hold the lock as long as the returned descriptor is open."""
        lock = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        return lock

    def lives(self) -> bool:
        """Whether its supervisor is there."""
        with self._opened() as lock:
            return lock is not None and not _free(lock)

    def until_end(self) -> None:
        """Wait for the end of its supervisor."""
        with self._opened() as lock:
            if lock is not None:
                fcntl.flock(lock, fcntl.LOCK_SH)

    def write(self, note: Note) -> None:
        temporary = self._note.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(note)), encoding="utf-8")
        temporary.replace(self._note)

    def end(self, outcome: Outcome) -> None:
        """Write down how a run in the foreground ended, if something of it was kept."""
        note = self.note()
        if note is not None:
            told = outcome.reason.template, {key: str(value) for key, value in outcome.reason.values.items()}
            self.write(replace(note, exit_code=outcome.exit_code, reason=told))

    def note(self) -> Note | None:
        try:
            data = json.loads(self._note.read_bytes())
        except FileNotFoundError:
            return None
        health = data.pop("health")
        return Note(
            **{**data, "phase": Phase(data["phase"]), "health": Health(health) if health else None,
               "reason": tuple(data["reason"]) if data["reason"] else None, "groups": tuple(data["groups"])}
        )  # fmt: skip

    def state(self) -> State | None:
        """None: it was removed, or never began."""
        living = self.lives()  # first: an end that comes between is then read, not taken for a loss
        note = self.note()
        if note is None:
            return State(self.id, Phase.STARTING) if living else None
        state = State(
            id=self.id,
            phase=note.phase,
            started=_time(note.started),
            ended=_time(note.ended),
            exit_code=note.exit_code,
            reason=Text(note.reason[0], **note.reason[1]) if note.reason else None,
            health=note.health,
            restarts=note.restarts,
            open=note.tty or note.open,
        )
        if state.lives and not living:
            return State(
                self.id, Phase.LOST, state.started, reason=Text("lost: its supervisor was killed"),
                restarts=state.restarts,
            )  # fmt: skip
        return state

    def process(self) -> tuple[Note, int]:
        """The note and the program's process of a run that runs. Raises :class:`RunError`.

        The program's namespaces are complete; those of the process above it were not from the beginning.
        """
        note = self.note() if self.lives() else None
        pid = program(note.pid) if note is not None and note.phase is Phase.RUNNING else None
        if note is None or pid is None or born(note.pid) != note.born:
            raise RunError(Text("{id} is not running", id=self.id))
        return note, pid

    def remove(self) -> None:
        remove(self.folder)

    @contextmanager
    def place(self, _rootfs: Path, _name: str) -> Iterator[Path]:
        """As ``rundir.run_folder``, but it stays: a restart finds what the run wrote."""
        for part in ("upper", "merged", "etc"):
            (self.root / part).mkdir(parents=True, exist_ok=True)
            (self.root / part).chmod(0o755)  # the upper folder's mode is that of / inside, whatever our umask
        remove(self.root / "work")  # overlayfs leaves a mark there that forbids a second mount (volatile)
        (self.root / "work").mkdir()
        yield self.root

    @contextmanager
    def _opened(self) -> Iterator[int | None]:
        try:
            lock = os.open(self._lock, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            yield None
            return
        try:
            yield lock
        finally:
            os.close(lock)


def all_kept(folder: Path) -> tuple[Kept, ...]:
    """Every run under ``folder``."""
    try:
        return tuple(Kept(path) for path in sorted(folder.iterdir()) if path.is_dir())
    except FileNotFoundError:
        return ()


def program(pid: int) -> int | None:
    """The program below a container's first process, once the container is complete."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:
        return None
    return int(children[0]) if children else None


def _free(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)

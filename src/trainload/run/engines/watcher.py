"""A process that watches over one detached run of Docker or Podman: it starts again what is unhealthy.

Docker only marks a container that is unhealthy (moby #28400); Podman checks health through systemd, and without it
not at all. So ``run -d`` starts this process, which lives as long as the run. Whether it is there is never guessed:
it holds a lock that the kernel frees when it dies, and a run that nobody watches over any more says so
(:func:`seen`). What it does is done under a second lock, so that a stop by the user never meets a restart.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

from trainload.errors import RunError, Text, TrainloadError
from trainload.run.engines.interface import Health, Phase, State
from trainload.run.model import Again, HealthCheck, Restart, RunSpec

_WATCH = "import sys; from trainload.run.engines.watcher import main; main(int(sys.argv[1]))"
_SHORTEST = 0.2
"""Seconds between two looks; a check is a process in the container."""
_AWAY = 60.0
"""Seconds for which an engine may not answer, as when it is restarted."""


@dataclass(frozen=True, slots=True)
class Duty:
    """What a watcher is given."""

    home: Path
    engine: str
    environ: Mapping[str, str]
    run: str
    health: HealthCheck
    restart: Restart
    grace: float


def duty(home: Path, engine: str, environ: Mapping[str, str], spec: RunSpec) -> Duty:
    """Of a run with a health check."""
    assert spec.health is not None
    return Duty(home, engine, dict(environ), spec.id, spec.health, spec.restart, spec.grace)


class Watched(Protocol):
    """What a watcher asks of its engine."""

    def state(self, run: str) -> State | None: ...

    def check(self, run: str, seconds: float) -> None:
        """One health check, where the engine makes none by itself."""

    def again(self, run: str, grace: float) -> None:
        """Stop it and start it."""

    def halt(self, run: str, grace: float) -> None:
        """Stop it for good, as by the user."""


class _Maker(Protocol):
    def make(self, site: object) -> Watched: ...


@dataclass(frozen=True, slots=True)
class Note:
    """What a watcher did."""

    restarts: int = 0
    gave_up: bool = False
    """It was unhealthy once more than it may be started again."""


@dataclass(frozen=True, slots=True)
class Watch:
    """The folder of one watcher, ``watched/ID/`` in the store."""

    folder: Path

    @property
    def wish(self) -> Path:
        """There when the user ended the run."""
        return self.folder / "stop"

    def note(self) -> Note | None:
        """None: nobody ever watched over it."""
        try:
            return Note(**json.loads((self.folder / "state.json").read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None

    def write(self, note: Note) -> None:
        temporary = self.folder / "state.tmp"
        temporary.write_text(json.dumps(asdict(note)), encoding="utf-8")
        temporary.replace(self.folder / "state.json")

    def lives(self) -> bool:
        return self._is_held("lock")

    def busy(self) -> bool:
        """A stop or a restart is on its way."""
        return self._is_held("busy")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Neither a stop nor a restart happens meanwhile."""
        lock = self._opened("busy")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def take(self) -> int:
        """Hold the lock as long as the returned descriptor is open."""
        lock = self._opened("lock")
        fcntl.flock(lock, fcntl.LOCK_EX)
        return lock

    def _is_held(self, name: str) -> bool:
        """Whoever looks takes the lock with all others who look: none of them is taken for its holder."""
        lock = self._opened(name)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def _opened(self, name: str) -> int:
        return os.open(self.folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def watch(home: Path, run: str) -> Watch:
    """The watcher's folder of a run."""
    return Watch(home / "watched" / run)


def begin(duty: Duty) -> None:
    """Start a watcher. Raises :class:`RunError`."""
    place = watch(duty.home, duty.run)
    place.folder.mkdir(parents=True, mode=0o700)
    told_out, told_in = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-P", "-c", _WATCH, str(told_in)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, pass_fds=[told_in], start_new_session=True,
    )  # fmt: skip
    os.close(told_in)
    assert child.stdin is not None
    with contextlib.suppress(BrokenPipeError), child.stdin as letter:
        pickle.dump(duty, letter)
    with os.fdopen(told_out, "rb") as told:
        if not told.read():
            child.wait()
            place.remove()
            raise RunError(Text("the process that watches over the run's health could not be started"))
    child.returncode = 0  # it outlives us on purpose; nobody shall wait for it, or complain


@contextmanager
def ending(home: Path, run: str) -> Iterator[None]:
    """Around a stop by the user: the watcher does not start the run again."""
    place = watch(home, run)
    if place.note() is None:
        yield
        return
    with place.alone():
        place.wish.touch()
        yield


def settled(home: Path, run: str) -> None:
    """Until no stop or restart is on its way."""
    place = watch(home, run)
    if place.note() is not None:
        with place.alone():
            pass


def seen(home: Path, state: State) -> State:
    """The engine's own word, with what a watcher did, and whether it is there."""
    place = watch(home, state.id)
    note = place.note()
    if note is None:
        return state
    state = replace(state, restarts=state.restarts + note.restarts)
    if not state.lives and not place.wish.exists() and place.busy():
        return replace(state, phase=Phase.RESTARTING)
    if note.gave_up and not state.lives:
        return replace(state, reason=Text("stopped because it was unhealthy"))
    if state.lives and not place.wish.exists() and not place.lives():
        lost = Text("nobody watches over its health any more: the process that did was ended")
        return replace(state, notes=(*state.notes, lost))
    return state


def main(report: int) -> None:
    """The process' whole life; ``report``: the descriptor that is told that it watches."""
    import importlib

    from trainload.run.engines.table import ENGINES, Site
    from trainload.store.store import Store

    given: Duty = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the process that started us, over a pipe
    os.chdir("/")
    place = watch(given.home, given.run)
    lock = place.take()
    place.write(Note())
    module: _Maker = importlib.import_module(ENGINES[given.engine])
    engine = module.make(Site(Store.open(given.home), given.environ))
    os.write(report, b"watching")
    os.close(report)
    try:
        _watch(engine, given, place)
    finally:
        os.close(lock)


def _watch(engine: Watched, given: Duty, place: Watch) -> None:
    """Until the run ended for good."""
    away = 0.0
    pause = max(_SHORTEST, given.health.interval)
    while away < _AWAY:
        time.sleep(pause)
        try:
            state = engine.state(given.run)
            if state is None or not state.lives or place.wish.exists():
                return
            if state.phase is Phase.RUNNING:
                engine.check(given.run, given.health.timeout)
                state = engine.state(given.run)
                if state is not None and state.health is Health.UNHEALTHY:
                    _mend(engine, given, place)
            away = 0.0
        except TrainloadError:  # the engine is away, or the run just ended
            away += pause


def _mend(engine: Watched, given: Duty, place: Watch) -> None:
    """What is unhealthy starts again, if it may."""
    if given.restart.again is Again.NO:
        return
    with place.alone():
        if place.wish.exists():
            return
        note = place.note() or Note()
        if given.restart.most is not None and note.restarts >= given.restart.most:
            place.write(replace(note, gave_up=True))
            engine.halt(given.run, given.grace)
            return
        place.write(replace(note, restarts=note.restarts + 1))
        engine.again(given.run, given.grace)

"""The process that looks after one detached run: starts it, writes its log, checks its health, starts it again.

It is started by ``trainload run -d`` and ends with its run; there is no daemon. Its charge comes over standard
input, so that nothing secret is seen in the list of processes or on the disk; how the start went is told over
a pipe. SIGTERM means ``stop``; further signals go to the program.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

from trainload.errors import Text, TrainloadError
from trainload.events import SILENT, Noting
from trainload.limits import Limits
from trainload.run.embedded import EmbeddedEngine, Watch
from trainload.run.engines.embedded.execute import Entry, Streams, execute
from trainload.run.engines.embedded.kept import Kept, Note, program
from trainload.run.engines.embedded.site import containers, layers_of
from trainload.run.engines.embedded.speaking import speaking
from trainload.run.engines.interface import Health, Phase
from trainload.run.engines.restarts import Attempts, Pulse, again, checked
from trainload.run.model import Again, HealthCheck, Outcome, RunSpec
from trainload.run.preparation import told_error
from trainload.run.rundir import born
from trainload.store.runs import RunRecords
from trainload.store.store import Store
from trainload.system.flag import Flag
from trainload.system.host import now


@dataclass(frozen=True, slots=True)
class Charge:
    """What a supervisor is given."""

    home: Path
    spec: RunSpec
    limits: Limits


def main(report: int) -> None:
    """The process' whole life; ``report``: the descriptor that is told how the start went."""
    charge: Charge = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the process that started us, over a pipe
    os.chdir("/")
    kept = Kept(containers(charge.home) / charge.spec.id)
    lock = kept.take()
    log = speaking(kept, charge.spec)
    store = Store.open(charge.home)
    try:
        with store.writing():
            store.hold(charge.spec.image)
            _Supervisor(charge, kept, store, report).run()
    finally:
        log.close()
        if charge.spec.remove:
            kept.remove()
        os.close(lock)


class _Supervisor:
    def __init__(self, charge: Charge, kept: Kept, store: Store, report: int) -> None:
        self._charge, self._spec, self._kept = charge, charge.spec, kept
        self._home, self._report = charge.home, report
        self._stopping = Flag()
        self._guard = threading.Lock()
        self._unhealthy = False
        self._attempts = Attempts()
        self._letter = os.memfd_create("letter")
        os.write(self._letter, pickle.dumps(self._spec))
        self._note = Note(
            supervisor=os.getpid(),
            letter=self._letter,
            image=str(self._spec.image),
            memory=self._spec.limits.memory,
            tty=self._spec.tty,
            open=self._spec.open,
        )
        self._engine = EmbeddedEngine(
            store.rootfs, layers_of(store), Noting(SILENT, self._noted), limits=charge.limits, place=kept.place,
            watch=Watch(self._started, self._grace),
        )  # fmt: skip

    def _noted(self, note: Text) -> None:
        RunRecords(self._home).note(self._spec.id, note)

    def run(self) -> None:
        """Until it ended for good. The first start's failure is told and leaves nothing."""
        signal.signal(signal.SIGTERM, self._asked)  # between two starts
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)  # SIG_IGN would be the program's, too
        while True:
            began = time.monotonic()
            try:
                outcome = self._engine.run(self._spec)
            except TrainloadError as error:
                if self._note.phase is Phase.STARTING:
                    self._kept.remove()
                    self._tell(error)
                    return
                outcome = Outcome(error.exit_code, error.text, 0.0)
            if not self._starts_again(outcome, time.monotonic() - began):
                return

    def _asked(self, number: int, frame: FrameType | None) -> None:
        """A signal of our own, because it was unhealthy, is no stop: it came a moment after the program ended."""
        if not self._unhealthy or self._kept.wish.exists():
            self._stopping.set()

    def _starts_again(self, outcome: Outcome, lasted: float) -> bool:
        stopped = self._kept.wish.exists() or self._stopping.is_set()
        code = outcome.exit_code
        if self._unhealthy and not stopped:
            outcome, code = replace(outcome, reason=Text("stopped because it was unhealthy")), code or 1
        following = again(self._spec.restart, self._attempts, code, lasted, stopped=stopped)
        self._write(
            phase=Phase.ENDED if following is None else Phase.RESTARTING,
            ended=now().isoformat(),
            exit_code=outcome.exit_code,
            reason=_plain(outcome.reason),
            health=None,
        )
        if following is None:
            RunRecords(self._home).end(self._spec.id, now(), outcome.exit_code, outcome.reason)
            return False
        self._attempts, self._unhealthy = following, False
        if self._stopping.wait(following.pause):
            self._write(phase=Phase.ENDED)
            RunRecords(self._home).end(self._spec.id, now(), outcome.exit_code, outcome.reason)
            return False
        return True

    def _started(self, pid: int, groups: Sequence[Path]) -> None:
        inner = _complete(pid)
        first = self._note.phase is Phase.STARTING
        self._unhealthy = False
        check = self._spec.health
        self._write(
            phase=Phase.RUNNING,
            started=now().isoformat(),
            ended=None,
            exit_code=None,
            reason=None,
            pid=pid,
            born=born(pid),
            groups=tuple(str(group) for group in groups),
            health=Health.STARTING if check else None,
            restarts=self._attempts.restarts,
        )
        if first:
            self._tell(None)
        if self._stopping.is_set():  # it came while this start was prepared
            os.kill(os.getpid(), signal.SIGTERM)
        if check is not None:
            threading.Thread(target=self._check, args=(check, inner), daemon=True).start()

    def _check(self, check: HealthCheck, pid: int) -> None:
        """One start's health, until its end."""
        signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
        started, pulse = time.monotonic(), Pulse()
        entry = Entry(pid, born(pid), self._spec, check.command, groups=self._note.groups)
        while not self._stopping.wait(check.interval) and born(pid) == entry.born:
            try:
                well = execute(entry, streams=Streams.NONE, seconds=check.timeout) == 0
            except TrainloadError:
                well = False
            pulse = checked(check, pulse, well=well, age=time.monotonic() - started)
            if born(pid) != entry.born:
                return  # the check ended with the program
            if self._note.phase is Phase.RUNNING:
                self._write(health=pulse.health)
            if pulse.health is Health.UNHEALTHY and self._spec.restart.again is not Again.NO:
                self._unhealthy = True
                os.kill(os.getpid(), signal.SIGTERM)  # as a stop, but nobody wished it
                return

    def _grace(self) -> float | None:
        with contextlib.suppress(OSError, ValueError):
            return float(self._kept.wish.read_text(encoding="ascii"))
        return None

    def _write(self, **changed: object) -> None:
        with self._guard:
            self._note = replace(self._note, **changed)  # type: ignore[arg-type]
            self._kept.write(self._note)

    def _tell(self, error: TrainloadError | None) -> None:
        if error is not None:
            os.write(self._report, json.dumps(_error(error)).encode())
        else:
            os.write(self._report, b"started")
        os.close(self._report)


def _complete(pid: int) -> int:
    """The program's process, once bubblewrap is done with its container; its own when the program ended already."""
    while (inner := program(pid)) is None:
        try:
            if Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] in b"ZX":
                return pid
        except OSError:
            return pid
        time.sleep(0.001)
    return inner


def failure(data: bytes) -> TrainloadError | None:
    """What a supervisor told: None, it started."""
    if data == b"started":
        return None
    return told_error(data) if data else TrainloadError(Text("the run's supervisor ended before it began"))


def _error(error: TrainloadError) -> Mapping[str, object]:
    return {
        "way": False,
        "text": _plain(error.text),
        "hints": [_plain(hint) for hint in error.hints],
        "got": None if error.got is None else str(error.got),
        "want": None if error.want is None else str(error.want),
        "exit_code": error.exit_code,
    }


def _plain(text: Text) -> tuple[str, dict[str, str]]:
    return text.template, {key: str(value) for key, value in text.values.items()}

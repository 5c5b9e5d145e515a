"""Questions to an engine and its answers as plain values, so that one in another process can be asked."""

from __future__ import annotations

import dataclasses
import fcntl
import os
import select
import signal
import struct
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from trainload.digest import Digest
from trainload.errors import TrainloadError
from trainload.image.model import Image
from trainload.run.engines.copied import extract
from trainload.run.engines.interface import Ability, Engine, Execution, LogQuery
from trainload.run.engines.logs import collapsed
from trainload.run.model import Again, HealthCheck, Limits, Mount, Restart, RunSpec
from trainload.system import scratch

_LONG = 60.0
"""Seconds until something must have happened, on a machine with too much to do."""
Ask = Mapping[str, Any]
"""``do``: a method of :class:`Engine`; the rest: its arguments, or fields of a :class:`RunSpec`."""


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What came of one ask."""

    value: Any = None
    """What the method gave, as plain values; an exit code of a run or an execution."""
    reason: str = ""
    """Of an end or an error."""
    failed: bool = False
    """The engine raised an error; ``value`` is its exit code."""
    output: str = ""
    """What came on standard output meanwhile."""


def ask(engine: Engine, image: Image, asks: Sequence[Ask]) -> list[Answer]:
    """Deliver ``image`` and put the questions, one after the other."""
    engine.deliver(image, "tiny")
    return [_asked(engine, image.digest, one) for one in asks]


def _asked(engine: Engine, image: Digest, one: Ask) -> Answer:
    """``errors``: what comes on standard error is said, too."""
    sys.stdout.flush()
    with ExitStack() as both, os.fdopen(os.memfd_create("said"), "r+b") as said:
        for number in (1, 2) if one.get("errors") else (1,):
            both.enter_context(_stream(number, said.fileno()))
        try:
            answer = _ASKS[one["do"]](engine, image, one)
        except TrainloadError as error:
            answer = Answer(error.exit_code, str(error), failed=True)
        said.seek(0)
        return dataclasses.replace(answer, output=answer.output or said.read().decode())


@contextmanager
def _stream(number: int, descriptor: int) -> Iterator[None]:
    ours = os.dup(number)
    os.dup2(descriptor, number)
    try:
        yield
    finally:
        os.dup2(ours, number)
        os.close(ours)


def spec(image: Digest, one: Ask) -> RunSpec:
    """The run that an ask describes."""
    limits, health = one.get("limits", {}), one.get("health")
    restart = one.get("restart", ("no", None))
    return RunSpec(
        image=Digest.parse(one["image"]) if "image" in one else image,
        id=one.get("id", "contract"),
        command=tuple(one["command"]),
        user=one.get("user", "1000"),
        workdir=one.get("workdir", "/"),
        env={"PATH": "/bin", **one.get("env", {})},
        mounts=tuple(Mount(*mount) for mount in one.get("mounts", ())),
        limits=Limits(**limits),
        network=one.get("network", True),
        network_name=one.get("network_name", "host"),
        hostname=one.get("hostname"),
        read_only=one.get("read_only", False),
        grace=one.get("grace", 10.0),
        stop_signal=one.get("stop_signal", "SIGTERM"),
        restart=Restart(Again(restart[0]), restart[1]),
        health=HealthCheck(**{**health, "command": tuple(health["command"])}) if health else None,
        init=one.get("init", False),
        tty=one.get("tty", False),
        open=one.get("open", False),
    )


def _run(engine: Engine, image: Digest, one: Ask) -> Answer:
    """``stdin``, so many ``times``: what it reads; ``signal``: sent to us, by number, once it said ``ready``."""
    number = one.get("signal", 0)
    if number:
        threading.Thread(target=_signal_when_ready, args=(number,), daemon=True).start()
    with _standard_input((one.get("stdin", "") * one.get("times", 1)).encode()):
        outcome = engine.run(spec(image, one))
    return Answer(outcome.exit_code, str(outcome.reason))


def _signal_when_ready(number: int) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))  # they are the main thread's
    end = time.monotonic() + _LONG
    while time.monotonic() < end:
        if b"ready" in os.pread(1, 64, 0):
            os.kill(os.getpid(), number)
            return
        time.sleep(0.02)


@contextmanager
def _standard_input(data: bytes) -> Iterator[None]:
    ours = os.dup(0)
    with os.fdopen(os.memfd_create("stdin"), "r+b") as file:
        file.write(data)
        file.seek(0)
        os.dup2(file.fileno(), 0)
        try:
            yield
        finally:
            os.dup2(ours, 0)
            os.close(ours)


def _start(engine: Engine, image: Digest, one: Ask) -> Answer:
    engine.start(spec(image, one))
    return Answer()


def _state(engine: Engine, image: Digest, one: Ask) -> Answer:
    state = engine.state(one["id"])
    if state is None:
        return Answer()
    return Answer(
        {
            "phase": state.phase,
            "exit_code": state.exit_code,
            "health": state.health,
            "restarts": state.restarts,
            "notes": [str(note) for note in state.notes],
            "open": state.open,
        },
        str(state.reason or ""),
    )


def _until(engine: Engine, image: Digest, one: Ask) -> Answer:
    """Look until the state has what is wanted, a minute at most."""
    want = one["want"].items()
    return _looked(
        lambda: _state(engine, image, one),
        lambda value: value and all(value[key] == wanted for key, wanted in want),
    )


def _said(engine: Engine, image: Digest, one: Ask) -> Answer:
    """Look until the log has the line, a minute at most."""
    return _looked(lambda: _logs(engine, image, one), lambda value: one["line"] in value)


def _looked(look: Callable[[], Answer], right: Callable[[Any], bool]) -> Answer:
    end = time.monotonic() + _LONG
    while not right((answer := look()).value) and time.monotonic() < end:
        time.sleep(0.05)
    return answer


def _wait(engine: Engine, image: Digest, one: Ask) -> Answer:
    state = engine.wait(one["id"])
    return Answer(state.exit_code, str(state.reason or ""))


def _logs(engine: Engine, image: Digest, one: Ask) -> Answer:
    query = LogQuery(follow=one.get("follow", False), tail=one.get("tail"))
    return Answer([line.text.decode() for line in collapsed(engine.logs(one["id"], query))])


def _execute(engine: Engine, image: Digest, one: Ask) -> Answer:
    execution = Execution(
        tuple(one["command"]), one.get("user"), one.get("workdir"), one.get("env", {}),
        interactive=one.get("interactive", False),
    )  # fmt: skip
    with _standard_input((one.get("stdin", "") * one.get("times", 1)).encode()):
        return Answer(engine.execute(one["id"], execution))


def _copy_out(engine: Engine, image: Digest, one: Ask) -> Answer:
    with scratch.folder("copied") as folder, engine.copy_out(one["id"], one["path"]) as stream:
        copied = extract(stream, folder, one["path"])
        return Answer(copied.place.read_text())


def _on_a_terminal(engine: Engine, image: Digest, one: Ask) -> Answer:
    """``act``: ``attach``, or an ask that is an ``execute``, on a terminal of its own with ``size``; ``talk``: each
    word to be waited for, and what is typed then. ``value``: its exit code, -1 when the user left.
    """
    terminal, theirs = os.openpty()
    rows, columns = one.get("size", (24, 80))
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    child = os.fork()
    if child == 0:
        code = 99
        os.close(terminal)
        os.login_tty(theirs)
        try:
            if one["act"] == "attach":
                state = engine.attach(one["id"])
                code = 98 if state is None else state.exit_code or 0
            else:
                command = tuple(one["command"])
                code = engine.execute(one["id"], Execution(command, tty=True, interactive=True))
        except TrainloadError as error:
            os.write(1, str(error).encode())
        finally:
            os._exit(code)
    name = os.ttyname(theirs)
    os.close(theirs)
    shown = ""
    for word, typed in one["talk"]:
        shown, missing = _shown(terminal, shown, word)
        if missing:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return Answer(-2, f"no {word!r}", output=shown)
        for key in [typed] if "\n" in typed else typed:  # as by hand: Podman knows keys one by one only
            os.write(terminal, key.encode())
            _until_read(name)
    shown, late = _shown(terminal, shown, None)
    if late:
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.close(terminal)
    return Answer(-1 if code == 98 else code, output=shown.replace("\r\n", "\n"))


def _until_read(name: str) -> None:
    """Nothing that was typed waits any more, and whoever read it has had a moment."""
    far = os.open(name, os.O_RDONLY | os.O_NOCTTY)
    with suppress(OSError):
        end = time.monotonic() + _LONG
        while any(fcntl.ioctl(far, termios.FIONREAD, b"\0" * 4)) and time.monotonic() < end:
            time.sleep(0.02)
    os.close(far)
    time.sleep(0.05)


def _shown(terminal: int, shown: str, word: str | None) -> tuple[str, bool]:
    """All that was shown, until ``word`` is new in it (None: to the end), and whether that did not come."""
    seen, end = len(shown), time.monotonic() + _LONG
    while word is None or word not in shown[seen:]:
        if not select.select([terminal], [], [], max(0.0, end - time.monotonic()))[0]:
            return shown, True
        try:
            data = os.read(terminal, 4096)
        except OSError:  # EIO: nobody has it any more
            data = b""
        if not data:
            return shown, word is not None
        shown += data.decode("utf-8", "replace")
    return shown, False


def _usage(engine: Engine, image: Digest, one: Ask) -> Answer:
    return Answer(dataclasses.asdict(engine.usage(one["id"])))


def _told(method: Callable[[Engine, Ask], object]) -> Callable[[Engine, Digest, Ask], Answer]:
    def told(engine: Engine, image: Digest, one: Ask) -> Answer:
        method(engine, one)
        return Answer()

    return told


_ASKS: Mapping[str, Callable[[Engine, Digest, Ask], Answer]] = {
    "run": _run,
    "start": _start,
    "state": _state,
    "until": _until,
    "said": _said,
    "on a terminal": _on_a_terminal,
    "wait": _wait,
    "logs": _logs,
    "execute": _execute,
    "copy_out": _copy_out,
    "usage": _usage,
    "states": lambda engine, image, one: Answer([state.id for state in engine.states()]),
    "lacks": lambda engine, image, one: Answer(sorted(engine.lacks(frozenset(Ability)))),
    "pause": _told(lambda engine, one: time.sleep(one["seconds"])),
    "stop": _told(lambda engine, one: engine.stop(one["id"], one.get("grace"))),
    "kill": _told(lambda engine, one: engine.kill(one["id"], one["signal"])),
    "remove": _told(lambda engine, one: engine.remove(one["id"])),
}

"""A further program in a running container: joins its namespaces, its control group and its limits.

Two forks: the first joins the namespaces, and only the second is in the pid namespace it joined. The program gets
what bubblewrap gave the first one: its user, no further capabilities, no typing for the user on our terminal.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import FrameType
from typing import NoReturn

from trainload.errors import RunError, Text
from trainload.run import kernel
from trainload.run.inside import Inside, Person
from trainload.run.model import RunSpec
from trainload.run.preparation import PATH
from trainload.run.rundir import sees_files
from trainload.run.seccomp import terminal_filter
from trainload.run.started import NOT_EXECUTABLE, NOT_FOUND

# linux/capability.h: the numbers of bwrap._ROOT_CAPABILITIES
_OF_ROOT = frozenset({0, 1, 3, 4, 5, 6, 7, 8, 10, 18, 31})
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_Handler = Callable[[int, FrameType | None], object] | int | None
_MOST_DESCRIPTORS = 2**31 - 1
_MOMENT = 0.01  # seconds between looks whether it ended, when it may only take so long


class Streams(Enum):
    """Which of our standard streams a program gets; it finds /dev/null in place of the others."""

    ALL = ()
    OUTPUT = (0,)
    NONE = (0, 1, 2)


@dataclass(frozen=True, slots=True)
class Entry:
    """What runs where."""

    pid: int
    """Of the program: it begins when the container is complete, the process above it before."""
    born: str | None
    """When it began, so that no other is meant."""
    spec: RunSpec
    """Of the run."""
    command: tuple[str, ...]
    user: str | None = None
    workdir: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    groups: Sequence[str] = ()
    """Folders of its control group."""


def execute(entry: Entry, *, streams: Streams = Streams.ALL, seconds: float | None = None) -> int:
    """Its exit code. ``seconds``: killed after so long, which counts as 124.

    Raises :class:`RunError` when it cannot start, with exit code 126 or 127 for the command.
    """
    terminal = streams is Streams.ALL and os.isatty(0)
    person = _person(entry)
    told_out, told_in = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(told_out)
        _guarded(told_in, lambda: _join(entry, person, told_in, streams, terminal=terminal))
    os.close(told_in)
    handlers = {} if streams is Streams.NONE else _forwarding(child)
    try:
        with os.fdopen(told_out, "rb") as pipe:
            told = pipe.read()
        status = _waited(child, seconds)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if terminal:
            _take_terminal_back()
    if told:
        raise _error(json.loads(told), entry)
    return status


def _person(entry: Entry) -> Person:
    """Who it is, by the container's own files. Raises :class:`RunError` when it has ended meanwhile."""
    inside = Inside(Path(f"/proc/{entry.pid}/root"))
    try:
        person = inside.person(entry.user or entry.spec.user)
    except (OSError, RunError):
        if sees_files(entry.pid, entry.born):
            raise
    if not sees_files(entry.pid, entry.born):
        raise RunError(Text("{id} is not running", id=entry.spec.id))
    if os.geteuid() != 0 and entry.user is not None and person.uid != inside.person(entry.spec.user).uid:
        raise RunError(
            Text("a container of an ordinary user has one user only: {user}", user=entry.spec.user or "0"),
            hints=(Text("start the run with --user {user}", user=entry.user),),
        )
    return person


def _join(entry: Entry, person: Person, told: int, streams: Streams, *, terminal: bool) -> int:
    for group in entry.groups:
        Path(group, "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
    if not terminal:
        os.setsid()
    kernel.enter(entry.pid)
    program = os.fork()
    if program == 0:
        _guarded(told, lambda: _become(entry, person, streams, told, terminal=terminal))
    os.close(told)
    for number in _FORWARDED:
        signal.signal(number, lambda number, _: os.kill(program, number))
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    _, status = os.waitpid(program, 0)
    return _shell_code(status)


def _become(entry: Entry, person: Person, streams: Streams, told: int, *, terminal: bool) -> NoReturn:
    for number in (*_FORWARDED, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    if terminal:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
        os.setpgid(0, 0)
        os.tcsetpgrp(0, os.getpgrp())
    os.closerange(3, told)  # whoever called us may have left more open (THREATS L17)
    os.closerange(told + 1, _MOST_DESCRIPTORS)
    void = os.open(os.devnull, os.O_RDWR)
    for descriptor in streams.value:
        os.dup2(void, descriptor)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.chdir(entry.workdir or entry.spec.workdir)
    kernel.keep_capabilities(_OF_ROOT if person.uid == 0 else ())  # before we are nobody who may
    if os.getuid() != person.uid or os.getgid() != person.gid:
        os.setgroups(person.groups)
        os.setresgid(person.gid, person.gid, person.gid)
        os.setresuid(person.uid, person.uid, person.uid)
    kernel.die_with_parent()  # here: a change of user forgets it
    if terminal:
        kernel.filter_calls(terminal_filter())
    env = {"PATH": PATH, "HOSTNAME": entry.spec.hostname or entry.spec.id, "HOME": person.home}
    if terminal:
        env["TERM"] = os.environ.get("TERM", "xterm")
    env.update(entry.spec.env)
    env.update(entry.env)
    os.execvpe(entry.command[0], entry.command, env)  # noqa: S606 - there is no shell on purpose


def _guarded(told: int, work: Callable[[], int]) -> NoReturn:
    """Ends this process with what ``work`` returns; what goes wrong is told over the pipe."""
    code = 1
    try:
        code = work()
    except OSError as error:
        os.write(told, json.dumps([error.errno, error.strerror, os.fsdecode(error.filename or "")]).encode())
    except BaseException:  # noqa: BLE001 - a bug: its traceback is all that is left of this process
        traceback.print_exc()
    finally:
        os._exit(code)


def _error(told: list[object], entry: Entry) -> RunError:
    number, reason, what = told
    command = entry.command[0]
    if str(what).rpartition("/")[2] == command.rpartition("/")[2]:
        code = NOT_FOUND if number in (2, 20) else NOT_EXECUTABLE
        text = "the image has no program {command}" if code == NOT_FOUND else (
            "{command} is not a program that can be executed"
        )  # fmt: skip
        error = RunError(Text(text, command=command))
        error.exit_code = code
        return error
    where = f"{what}: " if what else ""
    return RunError(Text("the container could not be entered: {reason}", reason=f"{where}{reason}"))


def _waited(child: int, seconds: float | None) -> int:
    if seconds is None:
        return _shell_code(os.waitpid(child, 0)[1])
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return _shell_code(status)
        time.sleep(_MOMENT)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 124  # timeout(1)


def _forwarding(child: int) -> dict[int, _Handler]:
    def forward(number: int, _: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    return {number: signal.signal(number, forward) for number in _FORWARDED}


def _take_terminal_back() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    with contextlib.suppress(OSError):
        os.tcsetpgrp(0, os.getpgrp())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTTOU})


def _shell_code(status: int) -> int:
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

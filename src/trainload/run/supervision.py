"""A container's process from outside: start, signals, exit code.

With a terminal the program shares ours and the kernel gives it Ctrl-C, Ctrl-Z and window changes; everything
else is forwarded. Without one it has its own session and gets every signal from us, exactly once. bubblewrap's
outer process may die of a Ctrl-C the program survives: its inner one is then our child (subreaper), and
its exit code is the program's. SIGTERM asks us to stop the run: the program gets the image's stop signal instead,
as from ``docker stop``.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import termios
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from trainload.errors import RunError
from trainload.run import kernel
from trainload.run.preparation import told_error
from trainload.values import dataclass

_FORWARDED = frozenset(
    {
        signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2,
        signal.SIGWINCH, signal.SIGCONT,
    }
)  # fmt: skip
_ENDING = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
_SI_KERNEL = 0x80  # siginfo.si_code of what the terminal sends
_MOMENT = 0.1  # seconds
_WATCHED = _FORWARDED | {signal.SIGCHLD}


@dataclass(frozen=True, slots=True)
class Ended:
    """How the program ended."""

    exit_code: int
    """128 + signal when it was killed."""
    stopped: bool
    """We killed it after the grace period."""
    late: bool = False
    """We killed it because it took too long."""
    grace: float = 0.0
    """So long it was, in seconds, if it began."""


class Supervision:
    """One container from fork to end; used once, in the main thread."""

    def __init__(
        self,
        *,
        terminal: bool,
        grace: Callable[[], float],
        stop_signal: int = signal.SIGTERM,
        seconds: float | None = None,
        step: bool = False,
    ) -> None:
        """``seconds``: after so long everything is killed. ``step``: :attr:`RunSpec.step`."""
        self._step = step
        self._asked: int | None = None
        self._latest = None if seconds is None else time.monotonic() + seconds
        self._late = False
        self._terminal = terminal
        self._grace = grace
        self._given = 0.0
        self._stop_signal = stop_signal
        self._outer = 0
        self._inner: int | None = None
        self._deadline: float | None = None
        self._stopped = False
        self._early: list[int] = []
        """Signals that came before there was a program."""

    def run(
        self,
        child: Callable[[int, int], NoReturn],
        placed: Callable[[int], None],
        started: Callable[[int], None],
    ) -> Ended:
        """Fork, call ``child(status, errors)`` there, and wait for its end.

        ``placed`` is called with the child's pid before it does anything (control groups), ``started`` with the
        pid of the container's first process. Raises :class:`RunError` when it does not come to a start.
        """
        kernel.become_subreaper()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        look = termios.tcgetattr(0) if self._terminal else None
        try:
            status = self._start(child, placed, before)
            return self._wait(status, started)
        finally:
            if look is not None:
                self._take_terminal_back(look)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            if self._asked is not None:
                signal.raise_signal(self._asked)

    def _start(
        self,
        child: Callable[[int, int], NoReturn],
        placed: Callable[[int], None],
        mask: set[signal.Signals] | set[int],
    ) -> int:
        status_out, status_in = os.pipe()
        errors_out, errors_in = os.pipe()
        go_out, go_in = os.pipe()
        self._outer = os.fork()
        if self._outer == 0:
            try:
                for number in _ENDING | {signal.SIGPIPE, signal.SIGXFSZ}:
                    if number not in _ENDING or signal.getsignal(number) is not signal.SIG_IGN:
                        signal.signal(
                            number, signal.SIG_DFL
                        )  # Python ignores two, and a program would inherit that
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
                os.close(go_in)
                if not os.read(go_out, 1):
                    os._exit(1)  # the parent is gone
                if not self._terminal:
                    os.setsid()
                    kernel.die_with_parent()
                child(status_in, errors_in)
            except BaseException:  # noqa: BLE001 - a bug: its traceback is all that is left of this process
                traceback.print_exc()
            finally:
                os._exit(1)
        for descriptor in (status_in, errors_in, go_out):
            os.close(descriptor)
        try:
            placed(self._outer)
            os.write(go_in, b"1")
        except BaseException:
            os.kill(self._outer, signal.SIGKILL)
            os.waitpid(self._outer, 0)
            raise
        finally:
            os.close(go_in)
        with os.fdopen(errors_out, "rb") as errors:
            told = errors.read()
        if told:
            os.waitpid(self._outer, 0)
            os.close(status_out)
            raise told_error(told)
        return status_out

    def _wait(self, status: int, started: Callable[[int], None]) -> Ended:
        with os.fdopen(status, "rb") as reports:
            first = reports.readline()
            if first:
                self._inner = int(json.loads(first)["child-pid"])
                started(self._inner)
            outer = self._until_outer_ends()
            last = self._exit_code_told(reports.read()) if os.WIFEXITED(outer) else None
        inner = self._end_inner(wait=os.WIFSIGNALED(outer) and not self._stopped)
        if last is not None:
            return Ended(last, self._stopped, self._late, self._given)
        if self._stopped:
            return Ended(128 + signal.SIGKILL, stopped=True, late=self._late, grace=self._given)
        if os.WIFSIGNALED(outer) and inner is not None:
            return Ended(_shell_code(inner), stopped=False)
        if os.WIFEXITED(outer) and first:
            # the program ended before bwrap could say how; its exit code is bwrap's
            return Ended(os.waitstatus_to_exitcode(outer), stopped=False)
        raise RunError(
            "the container could not be started",
            hints=("what bubblewrap says is above",),
        )

    def _exit_code_told(self, reports: bytes) -> int | None:
        for line in reports.splitlines():
            report = json.loads(line)
            if "exit-code" in report:
                return int(report["exit-code"])
        return None

    def _until_outer_ends(self) -> int:
        """Forward signals until bwrap's outer process ends; its wait status."""
        while True:
            pid, status = os.waitpid(self._outer, os.WNOHANG)
            if pid:
                return status
            self._one_signal()

    def _one_signal(self) -> None:
        """Wait for a signal, at most a moment: another thread of ours may have taken SIGCHLD."""
        told = signal.sigtimedwait(_WATCHED, _MOMENT)
        if told is not None and told.si_signo != signal.SIGCHLD:
            self._forward(told)
        elif self._early:
            self._deliver()
        if self._latest is not None and time.monotonic() >= self._latest:
            self._latest, self._late = None, True
            self._kill()
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self._kill()

    def _forward(self, told: signal.struct_siginfo) -> None:
        if self._terminal and told.si_code == _SI_KERNEL:
            return  # the terminal gave it to the program, too
        number = told.si_signo
        if self._step:
            if number in _ENDING:
                self._asked = number
                self._kill()
            return
        if number in _ENDING and self._deadline is None:
            self._given = self._grace()
            self._deadline = time.monotonic() + self._given
        if number == signal.SIGTERM:
            number = self._stop_signal
        self._early.append(number)
        self._deliver()

    def _deliver(self) -> None:
        """To the program; until it is there they are kept."""
        for pid in self._programs():
            for number in self._early:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            self._early.clear()

    def _programs(self) -> tuple[int, ...]:
        """The program: the first process' child; while there is none yet, bwrap itself."""
        if self._inner is None:
            return (self._outer,)
        try:
            children = Path(f"/proc/{self._inner}/task/{self._inner}/children").read_text(encoding="ascii")
        except OSError:
            return ()
        return tuple(int(pid) for pid in children.split()[:1])

    def _kill(self) -> None:
        self._deadline = None
        self._stopped = True
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._inner if self._inner is not None else self._outer, signal.SIGKILL)

    def _end_inner(self, *, wait: bool) -> int | None:
        """No process of the container outlives its program. The first process' wait status, if it is ours."""
        if self._inner is None:
            return None
        if wait:
            return self._until_inner_ends()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._inner, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            return os.waitpid(self._inner, 0)[1]
        return None

    def _until_inner_ends(self) -> int | None:
        """As :meth:`_until_outer_ends`, once the outer process was killed by a signal of the terminal."""
        assert self._inner is not None
        while True:
            try:
                pid, status = os.waitpid(self._inner, os.WNOHANG)
            except ChildProcessError:
                return None
            if pid:
                return status
            self._one_signal()

    def _take_terminal_back(self, look: list[object]) -> None:
        """A shell that was killed leaves the terminal in its own mode and group."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
        with contextlib.suppress(OSError, termios.error):
            os.tcsetpgrp(0, os.getpgrp())
            termios.tcsetattr(0, termios.TCSADRAIN, look)  # type: ignore[arg-type]
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTTOU})


def _shell_code(status: int) -> int:
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

"""Podman's program: called for an answer, or given our standard streams."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from trainload.errors import RunError, Text
from trainload.run.engines.podman.passing import Passed, Relay
from trainload.system.process import run

_WATCHED = {
    signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD,
}  # fmt: skip
_ENDING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
_SI_KERNEL = 0x80  # siginfo.si_code of what the terminal sends
_MOMENT = 0.1  # seconds
_HANDED = 3  # podman-exec(1): --preserve-fds begins there
_COMPLAINT = b"Error: "
"""Before what Podman itself says on standard error."""


class PodmanError(RunError):
    """Podman said no."""

    def __init__(self, message: str) -> None:
        super().__init__(Text("Podman says: {message}", message=message))
        self.message = message


@dataclass(frozen=True, slots=True)
class Program:
    """``podman`` with an environment."""

    environ: Mapping[str, str]
    options: tuple[str, ...] = ()
    """Before every verb."""

    def missing(self) -> bool:
        return shutil.which("podman", path=self.environ.get("PATH")) is None

    def call(
        self, *words: str, cwd: Path | None = None, timeout: float | None = None, codes: Collection[int] = (0,)
    ) -> str:
        """What it says on standard output; ``codes``: exit codes that are no error. Raises :class:`PodmanError`."""
        done = run(["podman", *self.options, *words], env=self.environ, cwd=cwd, timeout=timeout)
        if done.exit_code not in codes:
            raise PodmanError(complaint(done.stderr))
        return done.stdout.decode("utf-8", "replace").strip()

    def ask(self, *words: str) -> Any:  # noqa: ANN401 - a document
        text = self.call(*words)
        return json.loads(text) if text else None

    def with_file(self, data: bytes, words: Callable[[str], Sequence[str]]) -> str:
        """As :meth:`call`; the words get the path of a file in memory that holds ``data``."""
        file = os.memfd_create("podman")
        try:
            os.write(file, data)
            done = subprocess.run(
                ["podman", *self.options, *words(f"/proc/self/fd/{file}")], env=dict(self.environ),
                stdin=subprocess.DEVNULL, capture_output=True, check=False, pass_fds=[file],
            )  # fmt: skip
        finally:
            os.close(file)
        if done.returncode != 0:
            raise PodmanError(complaint(done.stderr))
        return done.stdout.decode("utf-8", "replace").strip()

    def fed(self, write: Callable[[IO[bytes]], object], *words: str) -> str:
        """As :meth:`call`; ``write`` writes what it reads."""
        said, complaints = (os.fdopen(os.memfd_create(name), "w+b") for name in ("said", "complaints"))
        with said, complaints:
            child = subprocess.Popen(
                ["podman", *self.options, *words], env=dict(self.environ), stdin=subprocess.PIPE, stdout=said,
                stderr=complaints,
            )  # fmt: skip
            assert child.stdin is not None
            try:
                with contextlib.suppress(BrokenPipeError), child:  # then it complains
                    write(child.stdin)
                    child.stdin.flush()
            except BaseException:
                child.kill()
                raise
            said.seek(0)
            complaints.seek(0)
            if child.returncode != 0:
                raise PodmanError(complaint(complaints.read()))
            return said.read().decode("utf-8", "replace").strip()

    @contextlib.contextmanager
    def output(self, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """Its standard output to be read; one that is not read to its end is ended."""
        child = subprocess.Popen(
            ["podman", *self.options, *words], env=dict(self.environ), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        with child:
            try:
                yield child
            finally:
                child.terminate()

    def messages(self, *words: str) -> Iterator[tuple[bool, bytes]]:
        """(stderr, line) as they come, from a program that speaks on both streams."""
        with self.output(*words) as child, selectors.DefaultSelector() as selector:
            assert child.stdout is not None
            assert child.stderr is not None
            rests = {child.stdout.fileno(): b"", child.stderr.fileno(): b""}
            for number in rests:
                selector.register(number, selectors.EVENT_READ)
            while selector.get_map():
                for key, _ in selector.select():
                    data = os.read(key.fd, 1 << 16)
                    *lines, rests[key.fd] = (rests[key.fd] + data).split(b"\n")
                    if not data:
                        selector.unregister(key.fd)
                        lines += [rests[key.fd]] if rests[key.fd] else []
                    for line in lines:
                        yield key.fd == child.stderr.fileno(), line + b"\n"

    def talk(self, words: Sequence[str], control: Control) -> Talked:
        """Run it with our standard streams. Its own complaints are kept, what the program says is passed on."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        try:
            argv = ["podman", *self.options, *words]
            path = shutil.which("podman", path=self.environ.get("PATH")) or "podman"
            relays = [Relay(2, held=_COMPLAINT), *([Relay(1)] if control.counted else [])]
            nothing = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
            actions = [
                *((os.POSIX_SPAWN_DUP2, relay.into, relay.to) for relay in relays),
                *(((os.POSIX_SPAWN_DUP2, 0, _HANDED),) if control.handed else ()),
                *((nothing,) if control.handed or not control.stdin else ()),
            ]
            child = os.posix_spawn(path, argv, dict(self.environ), file_actions=actions, setsigmask=before)
            for relay in relays:
                os.close(relay.into)
                relay.start()
            status, killed = _until_end(child, control)
            for relay in relays:
                relay.join()
            return Talked(_shell_code(status), killed, relays[0], {relay.to: relay.passed for relay in relays})
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@dataclass(frozen=True, slots=True)
class Control:
    """What can be done to a program that Podman talks to."""

    send: Callable[[int], object] | None
    """A signal, by number; None: it is for Podman's program itself."""
    stop_signal: int = signal.SIGTERM
    grace: float | None = None
    """None: no force after it."""
    stdin: bool = True
    handed: bool = False
    """Our standard input is handed through as descriptor 3, and Podman itself reads nothing."""
    counted: bool = False
    """Standard output, too, goes through us."""


@dataclass(frozen=True, slots=True)
class Talked:
    """How it went."""

    exit_code: int
    killed: bool
    """The grace was over."""
    errors: Relay
    passed: Mapping[int, Passed]
    """By the number of the stream; only those that went through us."""

    @property
    def complaint(self) -> str:
        """Of Podman itself, or of a program that begins in the same way; empty when there is none."""
        return self.errors.complaint.decode("utf-8", "replace")

    def was_the_programs(self) -> None:
        """The complaint: it is passed on."""
        with contextlib.suppress(BrokenPipeError):
            self.errors.release()


def complaint(stderr: bytes) -> str:
    """The last thing it complained about, without the word."""
    lines = stderr.decode("utf-8", "replace").strip().splitlines()
    found = [line for line in lines if line.startswith("Error: ")] or lines[-1:]
    return found[-1].removeprefix("Error: ") if found else "it said nothing"


def _until_end(child: int, control: Control) -> tuple[int, bool]:
    """Forward signals until it ends; the terminal's own reach it without us."""
    deadline, killed = None, False
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status, killed
        told = signal.sigtimedwait(_WATCHED, _MOMENT)
        if told is not None and told.si_signo != signal.SIGCHLD and told.si_code != _SI_KERNEL:
            if told.si_signo in _ENDING and deadline is None and control.grace is not None:
                deadline = time.monotonic() + control.grace
            if control.send is None:
                os.kill(child, told.si_signo)
                continue
            with contextlib.suppress(RunError):
                control.send(control.stop_signal if told.si_signo == signal.SIGTERM else told.si_signo)
        if deadline is not None and time.monotonic() >= deadline:
            deadline, killed = None, True
            with contextlib.suppress(RunError):
                (control.send or (lambda number: os.kill(child, number)))(signal.SIGKILL)


def _shell_code(status: int) -> int:
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

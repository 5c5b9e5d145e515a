"""One ssh session: a plain shell that is told what to do over its standard input, until it becomes a runner.

Nothing a user names is part of a command line there, whatever that account's own shell is. What comes back is read
by lines that begin with a mark of ours; everything else is somebody's banner (THREATS S03, S07, S08).
"""

from __future__ import annotations

import re
import secrets
import shlex
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

from trainload.address import Address
from trainload.destinations.ship.bundle import program
from trainload.errors import HostError, Text
from trainload.limits import MiB
from trainload.system.ssh import Session

_OLDEST = (3, 8)
_GREETING = 60.0
"""Seconds for a login, a jump host and a slow profile."""
_QUESTION = 60.0
_FAREWELL = 1.0
_NOISE = 8 * MiB
"""Bytes that a banner may have, and an engine's words."""
_TOLD = 5
"""Lines of what was printed before the end that are told."""
_BOOT = (
    "import sys;i=sys.stdin.buffer;"
    'print(chr(10)+"{half}""{rest} boot %d %d"%sys.version_info[:2],flush=True);'
    'exec(i.read(int(i.readline())),{{"__name__":"boot"}})'
)


@dataclass(frozen=True, slots=True)
class Answered:
    """What a command there printed, both streams, and its exit code."""

    code: int
    text: str

    @property
    def line(self) -> str:
        """Its last line that says anything."""
        return next((line.strip() for line in reversed(self.text.splitlines()) if line.strip()), "")


class There:
    """The far side; a context manager."""

    def __init__(
        self, address: Address, forward: int | None = None, environ: Mapping[str, str] | None = None,
        *, apart: bool = False, greeting: float | None = None,
    ) -> None:  # fmt: skip
        """``apart``: no Ctrl-C of our terminal reaches it. ``greeting``: seconds for a login; None: a minute."""
        self.address = address
        self.mark = secrets.token_hex(16)
        self.session = Session(address, "sh", forward=forward, environ=environ, apart=apart, connect=greeting)
        self._greeting = greeting or _GREETING
        self._rest = b""

    def __enter__(self) -> There:
        self.session.__enter__()
        try:
            self._send("printf '\\n%s%s ready\\n'")
            self._until("ready", self._greeting)
        except BaseException as error:
            self.session.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.session.__exit__(kind, error, trace)

    def ask(self, script: str, timeout: float | None = _QUESTION) -> Answered:
        """Run a script of the POSIX shell there. ``timeout``: seconds without a word; None: as long as it takes.

        Raises :class:`HostError` when the connection ends.
        """
        self._send(f"{{ {script}\n}} </dev/null 2>&1; printf '\\n%s%s answered %d\\n'", "$?")
        words, said = self._until("answered", timeout)
        return Answered(int(words[0]), said)

    def feed(self, script: str, write: Callable[[Session], object]) -> Answered:
        """Run a script there, whose standard input is what ``write`` writes; nothing can be asked afterwards.

        Raises :class:`HostError` when the connection ends before the script did.
        """
        # dash reads ahead, so nothing is written before it is at work; without `exit` it would execute what is left
        half, rest = self.mark[:16], self.mark[16:]
        begin = f"printf '\\n%s%s begun\\n' {half} {rest}"
        self._send(f"{{ {begin}; {{ {script}\n}} 2>&1; printf '\\n%s%s answered %d\\n'", "$?; exit; }")
        self._until("begun", _QUESTION)
        try:
            write(self.session)
            self.session.end_input()
        except HostError as lost:
            # it may have ended of itself, and then its last words are the reason
            try:
                words, said = self._until("answered", _QUESTION)
            except HostError:
                raise lost from None
            return Answered(int(words[0]) or 1, said)
        words, said = self._until("answered", None)
        return Answered(int(words[0]), said)

    def become_runner(self, *, runs: bool) -> None:
        """From now on a runner reads what is written; ``runs``: one that knows of runs, too.

        Raises :class:`HostError` without a new enough Python.
        """
        half, rest = self.mark[:16], self.mark[16:]
        python = f"python3 -IS -c {shlex.quote(_BOOT.format(half=half, rest=rest))}"
        self._send(f"command -v python3 >/dev/null && exec {python} || printf '\\n%s%s none\\n'")
        try:
            words, _ = self._until(None, _QUESTION)
        except HostError as error:
            if error.retryable:
                raise
            broken = HostError(
                Text("the python3 of {host} does not start", host=self.address), got=error.got, want="Python 3.8",
                hints=[Text("`python3 --version` there must answer")],
            )  # fmt: skip
            broken.said = error.said
            raise broken from error
        if words[0] == "none":
            raise HostError(
                Text("{host} has no python3", host=self.address),
                want="Python 3.8",
                hints=[Text("install it there (apt-get install python3, dnf install python3)")],
            )
        version = (int(words[1]), int(words[2]))
        if version < _OLDEST:
            raise HostError(
                Text("the python3 of {host} is too old", host=self.address),
                got="Python {}.{}".format(*version), want="Python 3.8",
                hints=[Text("put a newer one first in PATH there, or install Docker or Podman")],
            )  # fmt: skip
        self.session.write(program(self.mark, runs=runs))

    def read_line(self, timeout: float | None = None) -> bytes:
        """The next line. Raises :class:`HostError` at the end of the connection."""
        while b"\n" not in self._rest:
            data = self.session.read(timeout)
            if not data:
                raise self.session.lost()
            if len(self._rest) > _NOISE:
                raise self._noisy()
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def read_bytes(self, size: int, timeout: float | None = None) -> bytes:
        """The next ``size`` bytes. Raises :class:`HostError` at the end of the connection."""
        while len(self._rest) < size:
            data = self.session.read(timeout)
            if not data:
                raise self.session.lost()
            self._rest += data
        found, self._rest = self._rest[:size], self._rest[size:]
        return found

    def _send(self, command: str, *words: str) -> None:
        """A command whose ``printf`` gets our mark in two halves: a shell that echoes does not answer by that."""
        try:
            self.session.write(" ".join([command, self.mark[:16], self.mark[16:], *words]).encode() + b"\n")
        except HostError as error:  # it may have ended of itself, before it read a word
            error.said = (*error.said, *self._last_words())[-_TOLD:]
            raise

    def _last_words(self) -> list[str]:
        """What was printed before the end."""
        with suppress(HostError):
            while len(self._rest) < _NOISE and (data := self.session.read(_FAREWELL)):
                self._rest += data
        return [line for line in self._rest.decode("utf-8", "replace").splitlines() if line.strip()]

    def _until(self, word: str | None, timeout: float | None) -> tuple[list[str], str]:
        """The words after our mark and ``word`` (None: any), and what was printed before."""
        said: list[str] = []
        size = 0
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            left = None if end is None else max(0.0, end - time.monotonic())
            try:
                text = self.read_line(left).decode("utf-8", "replace")
            except HostError as error:
                error.said = (*error.said, *(line for line in said if line.strip()))[-_TOLD:]
                raise
            match = re.match(rf"{self.mark} (\w+) ?(.*)", text)
            if match and word in (None, match[1]):
                words = match[2].split()
                return ([match[1], *words] if word is None else words), "\n".join(said)
            size += len(text)
            if size > _NOISE:
                raise self._noisy()
            said.append(text)

    def _noisy(self) -> HostError:
        return HostError(
            Text("{host} prints without end when somebody logs in", host=self.address),
            hints=[Text("look into ~/.bashrc and ~/.profile there: they should be silent without a terminal")],
        )

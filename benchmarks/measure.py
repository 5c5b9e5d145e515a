"""What is measured, and how a measurement reads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

LONGEST = 400.0
"""Seconds after which a command of a peer counts as one that hangs."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value beside its target."""

    what: str
    value: float
    unit: str
    target: float | None = None
    at_least: bool = False
    """The target is a lower bound; else an upper one."""
    note: str = ""
    least: float | None = None
    """What the work costs at least, whoever does it: measured in the same run."""

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target

    def line(self) -> str:
        sign = {None: " ", True: "✓", False: "✗"}[self.met]
        bound = "" if self.target is None else f"{'≥' if self.at_least else '≤'} {self.target:g}"
        least = f"{self.value / self.least:.1f} × the least, {self.least:.3f} {self.unit}" if self.least else ""
        told = "; ".join(word for word in (self.note, least) if word)
        return f"{sign} {self.what:<58} {self.value:>8.2f} {self.unit:<3} {bound:<8} {told}".rstrip()


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that was measured."""

    seconds: float
    peak: int
    """Bytes: the largest resident size of the process itself."""
    first_output: float
    """Seconds until its first byte on stdout; equal to ``seconds`` when there was none."""
    cpu: float = 0.0
    """Seconds of its processors, user and system, with those of its children."""


_PARENT = """
import os, sys, time
out = int(sys.argv[1])
os.set_inheritable(out, False)
began = time.perf_counter()
child = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(child, 0)
ended = time.perf_counter()
code = os.waitstatus_to_exitcode(status)
os.write(out, f"{began} {ended} {code} {usage.ru_maxrss} {usage.ru_utime + usage.ru_stime}".encode())
"""
"""Starts the process, and is small: Linux counts what the parent had in memory as the peak of its child, too."""


def process(argv: Sequence[str], *, cwd: Path, environ: Mapping[str, str]) -> Ended:
    """Runs ``argv``; raises CalledProcessError, with what it said, when it fails."""
    told, tells = os.pipe()
    words = [sys.executable, "-IS", "-c", _PARENT, str(tells), *argv]
    with (
        os.fdopen(told, "rb") as notes,
        subprocess.Popen(
            words, cwd=cwd, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, pass_fds=(tells,), start_new_session=True,
        ) as parent,
        _ended_with(parent),
    ):  # fmt: skip
        os.close(tells)
        assert parent.stdout is not None
        first = parent.stdout.read(1)
        spoke = time.perf_counter()
        said = first + parent.stdout.read()
        parent.wait()
        numbers = notes.read().split()
    if parent.returncode == -signal.SIGKILL:
        raise subprocess.TimeoutExpired(list(argv), LONGEST, said)
    began, ended, code, peak, cpu = map(float, numbers or (0, 0, 127, 0, 0))
    if code:
        raise subprocess.CalledProcessError(int(code), argv, said.decode("utf-8", "replace"))
    return Ended(ended - began, int(peak) * 1024, (spoke if first else ended) - began, cpu)


@contextmanager
def _ended_with(parent: subprocess.Popen[bytes]) -> Iterator[None]:
    """What it started ends when it takes too long, or when we are to end."""
    watch = threading.Timer(LONGEST, os.killpg, (parent.pid, signal.SIGKILL))
    watch.daemon = True
    watch.start()
    try:
        yield
    except BaseException:
        os.killpg(parent.pid, signal.SIGKILL)
        raise
    finally:
        watch.cancel()


@dataclass(slots=True)
class Trouble:
    what: str = ""
    """Why it did not work; empty when it did."""


@contextmanager
def trouble() -> Iterator[Trouble]:
    """Others go on when one tool fails, hangs, or cannot be had."""
    found = Trouble()
    try:
        yield found
    except subprocess.CalledProcessError as error:
        said = error.stderr or error.output or b""
        text = said if isinstance(said, str) else said.decode("utf-8", "replace")
        found.what = f"{_command(error.cmd)} ended with {error.returncode}: {text.strip()[-500:]}"
    except subprocess.TimeoutExpired as error:
        found.what = f"{_command(error.cmd)} was not over after {error.timeout:.0f} s"
    except (OSError, AssertionError, ValueError, LookupError) as error:
        found.what = f"{type(error).__name__}: {error}"


def _command(argv: Sequence[str] | str) -> str:
    words = [argv] if isinstance(argv, str) else list(map(str, argv))
    return " ".join([Path(words[0]).name, *words[1:]])[:200]


def best(times: int, work: Callable[[], float]) -> float:
    """The shortest of several times: what the machine can do when nothing disturbs it."""
    return min(work() for _ in range(times))


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def spread(seconds: Sequence[float]) -> str:
    return f"{min(seconds):.2f}–{max(seconds):.2f}"


@cache
def python_starts() -> float:
    """Seconds until a Python that does nothing has ended: no command of ours is shorter."""
    return best(5, lambda: timed(lambda: subprocess.run([sys.executable, "-I", "-c", ""], check=True)))


def touch_memory(size: int = 3 << 30) -> None:
    """Has ``size`` bytes of memory handed out by whoever runs this virtual machine, and gives them back.

    Page cache on memory that was never touched costs its first writer many times what writing costs; what is
    measured next, ours and theirs, finds memory as a machine that has been up for a while does.
    """
    code = f"memory = bytearray({size}); [memory.__setitem__(at, 1) for at in range(0, {size}, 4096)]"
    subprocess.run([sys.executable, "-c", code], check=True)

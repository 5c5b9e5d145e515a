"""What is measured, and how a measurement reads."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target

    def line(self) -> str:
        sign = {None: " ", True: "✓", False: "✗"}[self.met]
        bound = "" if self.target is None else f"{'≥' if self.at_least else '≤'} {self.target:g}"
        return f"{sign} {self.what:<58} {self.value:>8.2f} {self.unit:<3} {bound:<8} {self.note}".rstrip()


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


def process(argv: Sequence[str], *, cwd: Path, environ: Mapping[str, str]) -> Ended:
    """Runs ``argv``; raises CalledProcessError, with what it said, when it fails."""
    began = time.perf_counter()
    with subprocess.Popen(
        argv, cwd=cwd, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
    ) as child:
        assert child.stdout is not None
        watch = threading.Timer(LONGEST, child.kill)
        watch.daemon = True
        watch.start()
        first = child.stdout.read(1)
        first_output = time.perf_counter() - began
        said = first + child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        watch.cancel()
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, argv, said.decode("utf-8", "replace"))
    return Ended(
        seconds, usage.ru_maxrss * 1024, first_output if first else seconds, usage.ru_utime + usage.ru_stime
    )


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


def touch_memory(size: int = 3 << 30) -> None:
    """Has ``size`` bytes of memory handed out by whoever runs this virtual machine, and gives them back.

    Page cache on memory that was never touched costs its first writer many times what writing costs; what is
    measured next, ours and theirs, finds memory as a machine that has been up for a while does.
    """
    code = f"memory = bytearray({size}); [memory.__setitem__(at, 1) for at in range(0, {size}, 4096)]"
    subprocess.run([sys.executable, "-c", code], check=True)

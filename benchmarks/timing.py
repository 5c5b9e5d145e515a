"""Whole processes, timed from outside: wall and processor seconds, peak memory; medians of several runs."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Timing:
    """Of several runs of one command; seconds and bytes."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]
    peak: int
    """Of the largest single process."""

    @property
    def median(self) -> float:
        return statistics.median(self.wall)

    def __str__(self) -> str:
        return f"{self.median:.2f} s ({min(self.wall):.2f}–{max(self.wall):.2f}), {self.peak / 1e6:.0f} MB"


@dataclass(frozen=True)
class Row:
    """One line of the table; ``ratio`` against what the line names."""

    what: str
    figure: str
    against: str = ""
    ratio: float | None = None
    target: str = ""

    def cells(self) -> tuple[str, ...]:
        ratio = f"{self.ratio:.2f} ×" if self.ratio is not None else ""
        return self.what, self.figure, ratio, self.against, self.target


def measure(
    argv: Sequence[str | Path],
    *,
    cwd: Path,
    environ: Mapping[str, str],
    runs: int = 5,
    before: Callable[[int], object] = lambda run: None,
) -> Timing:
    """Run ``argv`` ``runs`` times, ``before(n)`` ahead of each, not timed. A run that fails ends the benchmark."""
    wall, cpu, peak = [], [], 0
    for run in range(runs):
        before(run)
        began = time.perf_counter()
        child = subprocess.Popen(
            list(map(str, argv)), cwd=cwd, env=dict(environ), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        assert child.stderr is not None
        said = child.stderr.read()
        _, status, usage = os.wait4(child.pid, 0)
        wall.append(time.perf_counter() - began)
        child.returncode = os.waitstatus_to_exitcode(status)
        child.stderr.close()
        if child.returncode != 0:
            sys.exit(f"{argv[0]} failed: {said.decode(errors='replace')[-2000:]}")
        cpu.append(usage.ru_utime + usage.ru_stime)
        peak = max(peak, usage.ru_maxrss * 1024)
    return Timing(tuple(wall), tuple(cpu), peak)

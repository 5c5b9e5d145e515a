"""One measurement: seconds, the machine's CPU seconds, and the memory it took at most meanwhile."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_HERTZ = os.sysconf("SC_CLK_TCK")
_EVERY = 0.05  # seconds between looks at the memory


@dataclass(frozen=True, slots=True)
class Sample:
    """CPU and memory are the whole machine's: a daemon's work for a client counts, and nothing else runs."""

    seconds: float
    cpu: float
    """Seconds, user and system, of all processors."""
    memory: int
    """Bytes in use at the highest point, above what was in use before."""
    sent: int | None = None
    """Bytes to the registry, where they are counted."""


@dataclass(frozen=True, slots=True)
class Series:
    """The same thing several times."""

    samples: tuple[Sample, ...]

    @property
    def seconds(self) -> float:
        return statistics.median(one.seconds for one in self.samples)

    @property
    def spread(self) -> tuple[float, float]:
        times = [one.seconds for one in self.samples]
        return min(times), max(times)

    @property
    def cpu(self) -> float:
        return statistics.median(one.cpu for one in self.samples)

    @property
    def memory(self) -> int:
        return max(one.memory for one in self.samples)

    @property
    def sent(self) -> int | None:
        found = [one.sent for one in self.samples if one.sent is not None]
        return round(statistics.median(found)) if found else None


def series(samples: Sequence[Sample]) -> Series:
    return Series(tuple(samples))


def measured(work: Callable[[], float | None], counter: Callable[[], int] | None = None) -> Sample:
    """``work`` may say itself how long the part took that counts; ``counter`` counts bytes."""
    watch, cpu, bytes_before = _Memory(), _cpu(), counter() if counter else 0
    with watch:
        began = time.perf_counter()
        said = work()
        seconds = time.perf_counter() - began
    sent = counter() - bytes_before if counter else None
    return Sample(seconds if said is None else said, _cpu() - cpu, watch.peak, sent)


def _cpu() -> float:
    """proc(5), /proc/stat: user, nice, system, irq, softirq."""
    fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    return sum(int(fields[index]) for index in (0, 1, 2, 5, 6)) / _HERTZ


def _used() -> int:
    rows = dict(line.split(":") for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
    return (int(rows["MemTotal"].split()[0]) - int(rows["MemAvailable"].split()[0])) * 1024


class _Memory:
    """Looks at the memory in use until it is left."""

    def __init__(self) -> None:
        self._before = self._highest = _used()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(_EVERY):
            self._highest = max(self._highest, _used())

    @property
    def peak(self) -> int:
        return self._highest - self._before

"""What a build costs by number of packages, bytes, files, builds at once and processors, from made-up wheels."""

from __future__ import annotations

import math
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.budget import Deadline
from benchmarks.measure import LONGEST, Ended, process, touch_memory
from benchmarks.project import TRAINLOAD
from benchmarks.wheels import WheelWriter

PACKAGES = (10, 30, 100, 200, 400)
FILES = (100, 1_000, 10_000, 100_000, 300_000, 1_000_000)
GIGABYTES = (0.1, 0.3, 1.0, 5.0)
AT_ONCE = (1, 2, 4)
_FILE = 200  # bytes of a small file
_PACKAGE = 50_000  # bytes of a small wheel
_BLOCK = 1 << 20
_MEMBER = 200  # blocks of a large file
LINEAR = 1.1
"""A fitted exponent up to which growth counts as linear: measurements scatter."""
_OF_BYTES = 0.37
"""Of the time that is left when files have their turn."""
_NOISE = 0.1  # seconds: what is less says nothing about growth
PROCESSORS = "processors"


@dataclass(frozen=True, slots=True)
class Curve:
    what: str
    unit: str
    points: tuple[tuple[float, float], ...]
    """(how much, seconds beyond what a build of next to nothing takes)"""
    constant: float
    """Seconds of that build."""
    cpu: tuple[float, ...] = ()
    """CPU seconds at each point, beyond those of a build of next to nothing."""
    wanted: int = 0
    """Points there should be; fewer were measured where the time was over."""
    note: str = ""
    """Why there are fewer."""

    @property
    def slope(self) -> float:
        """Of the logarithms: 1 is linear. Points that are mostly noise are left out."""
        return exponent(self.points)

    @property
    def linear(self) -> bool:
        return self.slope <= LINEAR


def exponent(points: Sequence[tuple[float, float]]) -> float:
    found = [(math.log(x), math.log(y)) for x, y in points if y > _NOISE]
    if len(found) < 2:
        return 0.0
    return statistics.linear_regression(*zip(*found, strict=True)).slope


def curves(folder: Path, until: Deadline, *, quick: bool) -> Iterator[Curve]:
    """Whole processes of ``trainload build``, locked before; in ``folder``."""
    site = Site(folder, until)
    yield site.curve("packages", "", PACKAGES[:3] if quick else PACKAGES, site.many)
    yield site.at_once()
    if (os.cpu_count() or 1) > 1:
        yield site.processors()
    yield site.curve("files", "", FILES[:4] if quick else FILES, site.filed, kept=until.left * _OF_BYTES)
    yield site.curve("bytes", "GB", GIGABYTES[:2] if quick else GIGABYTES, site.large)


Wheels = Callable[[float, Path], list[str]]
"""Writes wheels for an amount into a folder; returns what to require."""


class Site:
    def __init__(self, folder: Path, until: Deadline) -> None:
        self._folder, self._until = folder, until
        self._number = 0
        self._constant: Ended | None = None
        self._least = 0.0
        """Seconds of a build of next to nothing, its project and its lock included."""

    def curve(self, what: str, unit: str, amounts: Sequence[float], wheels: Wheels, kept: float = 0.0) -> Curve:
        """As many points as fit into the time, going by what the one before took for its amount; ``kept``: seconds
        of it for what comes after.
        """
        constant = self._nothing()
        points: list[tuple[float, float]] = []
        cpu: list[float] = []
        rate, note = 0.0, ""
        for amount in amounts:
            if len(points) > 1 and not self._until.fits(rate * amount + self._least + kept):
                note = f"{amount:,g} {unit or what} would take {rate * amount:.0f} s, --minutes gives more"
                break
            began = time.monotonic()
            ended = self._build(wheels, amount)
            points.append((float(amount), max(ended.seconds - constant.seconds, 0.0)))
            cpu.append(max(ended.cpu - constant.cpu, 0.0))
            rate = max(time.monotonic() - began - self._least, 0.0) / amount
            sys.stderr.write(f"  {what} {amount:g} {unit}: {ended.seconds:.2f} s\n")
        return Curve(what, unit, tuple(points), constant.seconds, tuple(cpu), len(amounts), note)

    def _nothing(self) -> Ended:
        """A build without packages; the base is made by the first one."""
        if self._constant is None:
            self._build(lambda amount, place: [], 0)
            began = time.monotonic()
            self._constant = self._build(lambda amount, place: [], 0)
            self._least = time.monotonic() - began
        return self._constant

    @property
    def _environ(self) -> Mapping[str, str]:
        return {**os.environ, "TRAINLOAD_HOME": str(self._folder / "store")}

    def _project(self, wheels: Wheels, amount: float) -> Path:
        self._number += 1
        place = self._folder / f"p{self._number}"
        (place / "wheels").mkdir(parents=True)
        names = wheels(amount, place / "wheels")
        (place / "requirements.txt").write_text("".join(f"{name}\n" for name in names))
        (place / "train.py").write_text('print("trained")\n')
        (place / "uv.toml").write_text("no-index = true\n")
        (place / "trainload.toml").write_text(
            f'name = "p{self._number}"\nbase = "apt:bookworm"\nfind-links = ["wheels"]\n'
            'exclude = ["wheels/**", "uv.toml"]\n'
            '[limits]\nmax-members = 2000000\nmax-unpacked = "20g"\n'
        )
        argv = [TRAINLOAD, "-q", "lock"]
        subprocess.run(argv, cwd=place, env=self._environ, check=True, capture_output=True, timeout=LONGEST)
        return place

    def _build(self, wheels: Wheels, amount: float) -> Ended:
        place = self._project(wheels, amount)
        touch_memory(1 << 30)
        return process([TRAINLOAD, "-q", "build"], cwd=place, environ=self._environ)

    def many(self, amount: float, place: Path) -> list[str]:
        names = [f"p{self._number}-n{number}" for number in range(int(amount))]
        for number, name in enumerate(names):
            with _Wheel(place, name) as wheel:
                wheel.add(f"{_module(name)}/__init__.py", _noise(number, _PACKAGE))
        return names

    def filed(self, amount: float, place: Path) -> list[str]:
        name = f"p{self._number}-files"
        module = _module(name)
        with _Wheel(place, name) as wheel:
            for number in range(int(amount)):
                wheel.add(f"{module}/d{number // 500}/m{number}.py", f"value = {number}\n".ljust(_FILE).encode())
        return [name]

    def large(self, amount: float, place: Path) -> list[str]:
        """Half of it noise, half of it zeros: about as compressible as libraries are. A wheel for each gigabyte."""
        blocks = int(amount * 1e9) // _BLOCK
        sizes = [min(_MEMBER, blocks - start) for start in range(0, blocks, _MEMBER)]
        names = []
        for first in range(0, len(sizes), 5):
            names.append(f"p{self._number}-large{first}")
            with _Wheel(place, names[-1]) as wheel:
                for number, size in enumerate(sizes[first : first + 5], first):
                    block = _noise(number, _BLOCK // 2) + bytes(_BLOCK // 2)
                    wheel.add_repeated(f"{_module(names[-1])}/l{number}.so", block, size)
        return names

    def at_once(self) -> Curve:
        """Builds of different projects with one store, beside one another."""
        points = []
        for count in AT_ONCE:
            places = [self._project(self.many, 30) for _ in range(count)]
            began = time.perf_counter()
            self._together(places)
            points.append((float(count), time.perf_counter() - began))
        return Curve("builds at once", "", tuple(points), 0.0, wanted=len(AT_ONCE))

    def _together(self, places: Sequence[Path]) -> None:
        argv = [TRAINLOAD, "-q", "build"]
        running = [
            subprocess.Popen(argv, cwd=place, env=self._environ, stdout=subprocess.DEVNULL) for place in places
        ]
        codes = [one.wait(LONGEST) for one in running]
        assert not any(codes), codes

    def processors(self) -> Curve:
        """The same build on one processor, and on all."""
        points = []
        for count in (1, os.cpu_count() or 1):
            place = self._project(self.large, 0.3)
            touch_memory(1 << 30)
            argv = ["taskset", "-c", f"0-{count - 1}", TRAINLOAD, "-q", "build"]
            points.append((float(count), process(argv, cwd=place, environ=self._environ).seconds))
        return Curve(PROCESSORS, "", tuple(points), 0.0, wanted=2)


class _Wheel(WheelWriter):
    """With the files that every wheel has."""

    def __init__(self, place: Path, name: str) -> None:
        info = f"{_module(name)}-1.dist-info"
        super().__init__(place / f"{_module(name)}-1-py3-none-any.whl", info)
        self.add(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n".encode())
        wheel = b"Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        self.add(f"{info}/WHEEL", wheel)


def _module(name: str) -> str:
    return name.replace("-", "_")


def _noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)  # noqa: S311 - no secret


def report(found: Sequence[Mapping[str, Any]]) -> str:
    """The curves as JSON has them, as a table."""
    lines = ["| | from … to | seconds | CPU seconds | grows with the power |", "|---|---|---|---|---:|"]
    for curve in found:
        points = [tuple(point) for point in curve["points"]]
        amounts = " ".join(f"{x:g}" for x, _ in points)
        if len(points) < curve["wanted"]:
            amounts += f" ({len(points)} of {curve['wanted']}: {curve.get('note') or 'the time was over'})"
        seconds = " ".join(f"{y:.2f}" for _, y in points)
        cpu = " ".join(f"{one:.1f}" for one in curve["cpu"])
        slope = "" if curve["what"] == PROCESSORS else f"{exponent(points):.2f}"
        lines.append(f"| {curve['what']} {curve['unit']} | {amounts} | {seconds} | {cpu} | {slope} |")
    steep = [curve["what"] for curve in found if curve["what"] != PROCESSORS and curve["exponent"] > LINEAR]
    lines.append(f"\nWorse than linear: {', '.join(steep) or 'nothing'} (a power above {LINEAR} counts as worse)")
    return "\n".join(lines)

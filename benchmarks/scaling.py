"""What a build costs by number of packages, bytes, files, builds at once and processors, from made-up wheels."""

from __future__ import annotations

import base64
import hashlib
import math
import os
import random
import statistics
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.measure import timed, touch_memory
from benchmarks.project import TRAINLOAD

PACKAGES = (10, 30, 100, 200, 400)
FILES = (100, 1_000, 10_000, 100_000, 1_000_000)
GIGABYTES = (0.1, 0.3, 1.0, 2.0, 5.0)
AT_ONCE = (1, 2, 4)
_FILE = 200  # bytes of a small file
_PACKAGE = 50_000  # bytes of a small wheel
_BLOCK = 1 << 20
_LINEAR = 1.1
"""A fitted exponent up to which growth counts as linear: measurements scatter."""


@dataclass(frozen=True, slots=True)
class Curve:
    what: str
    unit: str
    points: tuple[tuple[float, float], ...]
    """(how much, seconds beyond what a build of next to nothing takes)"""
    constant: float
    """Seconds of that build."""

    @property
    def slope(self) -> float:
        """Of the logarithms: 1 is linear. Points that are mostly noise (below 0.1 s) are left out."""
        found = [(math.log(x), math.log(y)) for x, y in self.points if y > 0.1]
        if len(found) < 2:
            return 0.0
        return statistics.linear_regression(*zip(*found, strict=True)).slope

    @property
    def linear(self) -> bool:
        return self.slope <= _LINEAR


def curves(folder: Path, *, quick: bool) -> Iterator[Curve]:
    """Whole processes of ``trainload build``, locked before; in ``folder``."""
    site = Site(folder)
    yield from (
        site.curve("packages", "", PACKAGES[:3] if quick else PACKAGES, site.many),
        site.curve("bytes", "GB", GIGABYTES[:2] if quick else GIGABYTES, site.large),
        site.curve("files", "", FILES[:4] if quick else FILES, site.filed),
    )
    yield site.at_once()
    if (os.cpu_count() or 1) > 1:
        yield site.processors()


Wheels = Callable[[float, Path], list[str]]
"""Writes wheels for an amount into a folder; returns what to require."""


class Site:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = 0
        self._constant: float | None = None

    def curve(self, what: str, unit: str, amounts: Sequence[float], wheels: Wheels) -> Curve:
        constant = self._nothing()
        points = tuple((float(amount), max(self._build(wheels, amount) - constant, 0.0)) for amount in amounts)
        return Curve(what, unit, points, constant)

    def _nothing(self) -> float:
        """A build without packages; the base is made by the first one."""
        if self._constant is None:
            self._build(lambda amount, place: [], 0)
            self._constant = self._build(lambda amount, place: [], 0)
        return self._constant

    @property
    def _environ(self) -> Mapping[str, str]:
        return {**os.environ, "UV_NO_INDEX": "1", "TRAINLOAD_HOME": str(self._folder / "store")}

    def _project(self, wheels: Wheels, amount: float) -> Path:
        self._number += 1
        place = self._folder / f"p{self._number}"
        (place / "wheels").mkdir(parents=True)
        names = wheels(amount, place / "wheels")
        (place / "requirements.txt").write_text("".join(f"{name}\n" for name in names))
        (place / "train.py").write_text('print("trained")\n')
        (place / "trainload.toml").write_text(
            f'name = "p{self._number}"\nbase = "apt:bookworm"\nfind-links = ["wheels"]\nexclude = ["wheels/**"]\n'
            '[limits]\nmax-members = 2000000\nmax-unpacked = "20g"\n'
        )
        self._call(place, "lock")
        return place

    def _call(self, place: Path, *words: str) -> None:
        subprocess.run([TRAINLOAD, "-q", *words], cwd=place, env=self._environ, check=True, capture_output=True)

    def _build(self, wheels: Wheels, amount: float) -> float:
        place = self._project(wheels, amount)
        touch_memory(2 << 30)
        return timed(lambda: self._call(place, "build"))

    def many(self, amount: float, place: Path) -> list[str]:
        names = (f"p{self._number}-n{number}" for number in range(int(amount)))
        return [_wheel(place, name, [_noise(number, _PACKAGE)]) for number, name in enumerate(names)]

    def filed(self, amount: float, place: Path) -> list[str]:
        texts = (f"value = {number}\n".ljust(_FILE).encode() for number in range(int(amount)))
        return [_wheel(place, f"p{self._number}-files", texts)]

    def large(self, amount: float, place: Path) -> list[str]:
        """Half of it noise, half of it zeros: about as compressible as libraries are."""
        rest = int(amount * 1e9)
        files = [(min(rest - start, 200_000_000)) for start in range(0, rest, 200_000_000)]
        return [_wheel(place, f"p{self._number}-large", (_half_noise(n, size) for n, size in enumerate(files)))]

    def at_once(self) -> Curve:
        """Builds of different projects with one store, beside one another."""
        points = []
        for count in AT_ONCE:
            places = [self._project(self.many, 30) for _ in range(count)]
            points.append((float(count), timed(partial(self._together, places))))
        return Curve("builds at once", "", tuple(points), 0.0)

    def _together(self, places: Sequence[Path]) -> None:
        running = [
            subprocess.Popen([TRAINLOAD, "-q", "build"], cwd=place, env=self._environ, stdout=subprocess.DEVNULL)
            for place in places
        ]
        codes = [one.wait() for one in running]
        assert not any(codes), codes

    def processors(self) -> Curve:
        """The same build on one processor, and on all."""
        points = []
        for count in (1, os.cpu_count() or 1):
            place = self._project(self.large, 0.3)
            argv = ["taskset", "-c", f"0-{count - 1}", TRAINLOAD, "-q", "build"]
            touch_memory(2 << 30)
            began = time.perf_counter()
            subprocess.run(argv, cwd=place, env=self._environ, check=True, capture_output=True)
            points.append((float(count), time.perf_counter() - began))
        return Curve("processors", "", tuple(points), 0.0)


def _wheel(place: Path, name: str, contents: Iterator[bytes] | Sequence[bytes]) -> str:
    """Writes a wheel of one module per content; its name."""
    module = name.replace("-", "_")
    info, record = f"{module}-1.dist-info", []
    path = place / f"{module}-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:

        def put(path: str, data: bytes) -> None:
            entry = zipfile.ZipInfo(path)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o100644 << 16
            archive.writestr(entry, data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record.append(f"{path},sha256={digest},{len(data)}\n")

        put(f"{module}/__init__.py", b"")
        for number, data in enumerate(contents):
            put(f"{module}/d{number // 500}/m{number}.py", data)
        put(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n".encode())
        put(f"{info}/WHEEL", b"Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "".join(record) + f"{info}/RECORD,,\n")
    return name


def _noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)  # noqa: S311 - no secret


def _half_noise(seed: int, size: int) -> bytes:
    block = _noise(seed, _BLOCK // 2)
    turned = (block[n % 997 :] + block[: n % 997] for n in range(size // _BLOCK + 1))
    return b"".join(one + bytes(_BLOCK // 2) for one in turned)[:size]


def report(found: Sequence[Curve]) -> str:
    lines = ["| | from … to | seconds | exponent |", "|---|---|---|---:|"]
    for curve in found:
        amounts = " ".join(f"{x:g}" for x, _ in curve.points)
        seconds = " ".join(f"{y:.2f}" for _, y in curve.points)
        slope = f"{curve.slope:.2f}" if curve.what in ("packages", "bytes", "files") else ""
        lines.append(f"| {curve.what} {curve.unit} | {amounts} | {seconds} | {slope} |")
    return "\n".join(lines)


def main() -> int:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="trainload-scaling-") as scratch:
        sys.stdout.write(report(list(curves(Path(scratch), quick=True))) + "\n")
    return 0

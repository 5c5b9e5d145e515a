"""A wheel becomes a layer: against the floor (inflate and hash) and against pip install, tar and gzip."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import BinaryIO

from isal import isal_zlib

from benchmarks.budget import Deadline
from benchmarks.measure import Figure, process, timed
from trainload.layers.wheels import write_wheels
from trainload.lock.model import File, Found
from trainload.plan.model import WheelsRecipe

_PIECE = 1 << 20
_ROUNDS = 5
_PIP = 42.0
"""Seconds that are kept for what a Dockerfile does with the wheel."""


class OneWheel:
    """Sources that hold one wheel on disk."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self, file: File, /) -> BinaryIO:
        return self._path.open("rb")


class Hashed:
    """Writes and hashes, as the store does."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self.sha256 = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes, /) -> None:
        self.sha256.update(data)
        self._out.write(data)
        self.size += len(data)


def splice(wheel: Path, scratch: Path) -> int:
    """Writes the layer; its size in bytes."""
    file = File(wheel.name, "0" * 64, wheel.stat().st_size, Found(wheel.name))
    python = "3.11"
    with (scratch / "layer").open("wb", buffering=1 << 20) as out:
        sink = Hashed(out)
        write_wheels(WheelsRecipe((file,), python), OneWheel(wheel), sink)
    return sink.size


def floor(wheel: Path) -> None:
    """What cannot be left away, and nothing else: inflate every member with isal, hash both streams."""
    packed, plain = hashlib.sha256(), hashlib.sha256()
    for stream in _streams(wheel):
        inflater = isal_zlib.decompressobj(wbits=-15)
        for piece in stream:
            packed.update(piece)
            plain.update(inflater.decompress(piece))


def floor_on_two_threads(wheel: Path) -> None:
    """The same with the hashing of what is inflated in a second thread: no splice on two cores is faster."""
    inflated: Queue[bytes] = Queue(8)
    plain = hashlib.sha256()

    def hash_inflated() -> None:
        while data := inflated.get():
            plain.update(data)

    hasher = Thread(target=hash_inflated)
    hasher.start()
    packed = hashlib.sha256()
    batch, held = [], 0
    for stream in _streams(wheel):
        inflater = isal_zlib.decompressobj(wbits=-15)
        for piece in stream:
            packed.update(piece)
            batch.append(inflater.decompress(piece))
            held += len(batch[-1])
            if held > _PIECE:  # a hand-over costs more than a small file
                inflated.put(b"".join(batch))
                batch, held = [], 0
    if held:
        inflated.put(b"".join(batch))
    inflated.put(b"")
    hasher.join()


def _streams(wheel: Path) -> Iterator[Iterator[bytes]]:
    with zipfile.ZipFile(wheel) as archive, wheel.open("rb") as file:
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_DEFLATED or not member.file_size:
                continue
            file.seek(member.header_offset + 26)
            lengths = file.read(4)
            file.seek(int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little"), 1)
            yield _pieces(file, member.compress_size)


def _pieces(file: BinaryIO, size: int) -> Iterator[bytes]:
    while size > 0:
        piece = file.read(min(size, _PIECE))
        size -= len(piece)
        yield piece


def pip_tar_gzip(wheel: Path, scratch: Path) -> float:
    """Seconds of what a Dockerfile does with the same wheel."""
    target = scratch / "pip"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(target)]
    seconds = timed(lambda: subprocess.run([*install, str(wheel)], check=True, stderr=subprocess.DEVNULL))
    seconds += timed(lambda: subprocess.run(["tar", "cf", scratch / "pip.tar", "-C", target, "."], check=True))
    seconds += timed(lambda: subprocess.run(["gzip", "-6", scratch / "pip.tar"], check=True))
    return seconds


def figures(wheel: Path, scratch: Path, until: Deadline) -> Iterator[Figure]:
    name = wheel.name.split("-")[0]
    times: list[list[float]] = [[], [], []]
    within = Deadline(until.left - (_PIP if until.fits(2 * _PIP) else 0))
    for _ in within.rounds(_ROUNDS):  # in turns: what disturbs the machine disturbs all
        for kept, work in zip(times, (floor, floor_on_two_threads, lambda it: splice(it, scratch)), strict=True):
            kept.append(timed(partial(work, wheel)))
    lowest, threaded, ours = map(min, times)
    size = splice(wheel, scratch)
    alone = process(
        [sys.executable, "-m", "benchmarks.splice", str(wheel), str(scratch)],
        cwd=Path(__file__).parents[1],
        environ={"PATH": "/bin:/usr/bin"},
    )
    yield Figure(f"{name}: inflate and hash both streams, the floor", lowest, "s")
    yield Figure(f"{name}: the same on two threads", threaded, "s")
    yield Figure(
        f"{name}: wheel to layer", ours, "s", note=f"{size / wheel.stat().st_size - 1:+.2%} in size", least=threaded
    )
    yield Figure(f"{name}: times the floor", ours / lowest, "×", 1.25)
    yield Figure(f"{name}: times the floor on two threads", ours / threaded, "×")
    yield Figure(f"{name}: peak memory of it", alone.peak / 2**20, "MiB", 250)
    if not until.fits(_PIP):
        return  # the side-by-side tables have what a Dockerfile does with it
    theirs = pip_tar_gzip(wheel, scratch)
    yield Figure(f"{name}: pip install + tar + gzip -6", theirs, "s")
    yield Figure(f"{name}: times faster than that", theirs / ours, "×", 10, at_least=True)


if __name__ == "__main__":
    splice(Path(sys.argv[1]), Path(sys.argv[2]))

"""A project is built, edited, built and run: whole processes, as a user starts them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.budget import Deadline
from benchmarks.measure import Figure, best, process, python_starts

_MARK = 'print("started", flush=True)  # '
EXAMPLES = Path(__file__).parents[1] / "examples"
TRAINLOAD = str(Path(sys.executable).with_name("trainload"))


@dataclass(frozen=True, slots=True)
class Bench:
    """An example in a folder of its own, with a store of its own."""

    folder: Path
    environ: Mapping[str, str]
    arguments: tuple[str, ...]
    """Of the program: a training that is over at once."""

    def run(self, *words: str) -> tuple[float, int, float]:
        """Seconds, peak bytes and seconds to the first output of one ``trainload`` command."""
        done = process([TRAINLOAD, *words], cwd=self.folder, environ=self.environ)
        return done.seconds, done.peak, done.first_output

    def edit(self, then: str = "") -> None:
        """One line of train.py changes; the first thing the script does is to say that it started.

        ``then``: what else it does first.
        """
        script = self.folder / "train.py"
        old = script.read_text().splitlines(keepends=True)
        lines = [line for line in old if not line.startswith(_MARK) and line != then]
        first = next(number for number, line in enumerate(lines) if line.startswith("import "))
        script.write_text("".join([*lines[:first], f"{_MARK}{os.urandom(4).hex()}\n{then}", *lines[first:]]))


def example(name: str, scratch: Path, arguments: tuple[str, ...]) -> Bench:
    """As it was left where it is there already, with its store."""
    folder = scratch / name
    if not folder.exists():
        shutil.copytree(EXAMPLES / name, folder, ignore=shutil.ignore_patterns("outputs", "pylock.trainload.toml"))
    environ = {**os.environ, "TRAINLOAD_HOME": str(scratch / "store"), "PYTHONUNBUFFERED": "1"}
    wheels = os.environ.get("PIP_FIND_LINKS", "")
    if Path(wheels).is_dir() and wheels:
        environ.setdefault("TRAINLOAD_FIND_LINKS", wheels)
    return Bench(folder, environ, arguments)


def help_text() -> Iterator[Figure]:
    seconds = best(10, lambda: process([TRAINLOAD, "--help"], cwd=Path("/"), environ=os.environ).seconds)
    yield Figure("trainload --help", seconds, "s", 0.12, least=python_starts())


def figures(bench: Bench, until: Deadline) -> Iterator[Figure]:
    name = bench.folder.name
    seconds, peak, _ = bench.run("lock")
    yield Figure(f"{name}: trainload lock, nothing cached", seconds, "s")
    seconds, peak, _ = bench.run("build")
    yield Figure(f"{name}: trainload build, nothing cached", seconds, "s")
    yield Figure(f"{name}: peak memory of it", peak / 2**20, "MiB", 250)

    def edited() -> float:
        bench.edit()
        return bench.run("build")[0]

    yield Figure(
        f"{name}: trainload build after an edit of one line", best(5, edited), "s", 0.5, least=python_starts()
    )
    seconds, _, _ = bench.run("run", "--", *bench.arguments)
    yield Figure(f"{name}: first trainload run (unpacks the image)", seconds, "s")

    def rerun() -> float:
        bench.edit()
        return bench.run("-q", "run", "--", *bench.arguments)[2]

    bare = _bare(bench)
    times = [(rerun(), bare()) for _ in until.rounds(3)]
    ours, alone = (min(taken) for taken in zip(*times, strict=True))
    yield Figure(f"{name}: bare Python until the script starts", alone, "s")
    yield Figure(f"{name}: trainload run after an edit, until the script starts", ours, "s", least=alone)
    yield Figure(f"{name}: more than bare Python needs", ours - alone, "s", 1.0)


def _bare(bench: Bench) -> _Bare:
    """The same program in an ordinary virtual environment."""
    python = bench.folder.parent / f"{bench.folder.name}-venv" / "bin" / "python"
    uv = str(Path(sys.executable).with_name("uv"))
    links = (
        [f"--find-links={bench.environ['TRAINLOAD_FIND_LINKS']}"] if "TRAINLOAD_FIND_LINKS" in bench.environ else []
    )
    subprocess.run([uv, "venv", "-q", "-p", "3.11", str(python.parents[1])], check=True)
    subprocess.run(
        [uv, "pip", "install", "-q", "--python", str(python), "-r", "requirements.txt", *links],
        cwd=bench.folder, check=True,
    )  # fmt: skip
    return _Bare(bench, str(python))


@dataclass(frozen=True, slots=True)
class _Bare:
    bench: Bench
    python: str

    def __call__(self) -> float:
        argv = [self.python, "train.py", *self.bench.arguments]
        return process(argv, cwd=self.bench.folder, environ=self.bench.environ).first_output

"""From an edit to the running program, and an image's first delivery: ours beside Docker's own way.

The peer has the same base, the same wheels and ``COPY . .`` as its last step, so it rebuilds one small layer, too.
The sides take turns, and medians are shown: what else the machine does hits all of them.
"""

from __future__ import annotations

import os
import statistics
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from benchmarks import delivery
from benchmarks.budget import Deadline
from benchmarks.measure import Figure, process, python_starts, spread, timed
from benchmarks.peers import PATH, missing
from benchmarks.project import TRAINLOAD, Bench

_ROUNDS = 9
_END = "raise SystemExit\n"
"""After the first line: the training itself would only keep the machine busy."""
_DOCKERFILE = 'FROM deps\nUSER root\nWORKDIR /workspace\nCOPY . .\nENTRYPOINT []\nCMD ["python", "train.py"]\n'


@dataclass(frozen=True, slots=True)
class Peer:
    """Docker's own way with the same project."""

    bench: Bench
    host: str
    """Of its engine."""

    def call(self, *words: str) -> None:
        environ = {**os.environ, "PATH": PATH, "DOCKER_BUILDKIT": "0"}
        subprocess.run(
            ["docker", "-H", self.host, *words], check=True, capture_output=True, env=environ, cwd=self.bench.folder
        )

    def edited(self) -> float:
        """Seconds until the program's first line after an edit: build, then run."""
        self.bench.edit(_END)
        built = timed(lambda: self.call("build", "-q", "-t", "peer", "."))
        argv = ["docker", "-H", self.host, "run", "--rm", "peer", "python", "train.py", *self.bench.arguments]
        environ = {**os.environ, "PATH": PATH}
        return built + process(argv, cwd=self.bench.folder, environ=environ).first_output


def figures(bench: Bench, until: Deadline) -> Iterator[Figure]:
    name = bench.folder.name
    bench.edit(_END)
    bench.run("build")
    bench.run("run", "--", *bench.arguments)  # unpacks the layers
    reason = missing("dockerd", "docker")
    if reason:
        ours = statistics.median(_edited(bench, "embedded", bench.environ) for _ in range(_ROUNDS))
        yield Figure(f"{name}: edit to running, embedded", ours, "s", 0.6, note=reason)
    yield from delivery.figures(bench, until, {"docker": partial(_edits, bench)})


def _edits(bench: Bench, engine: delivery.Engine) -> Iterator[Figure]:
    """In the Docker that has the image."""
    name = bench.folder.name
    environ = {**bench.environ, **engine.environ}
    Bench(bench.folder, environ, bench.arguments).run("run", "--engine", "docker", "--", *bench.arguments)
    peer = Peer(bench, environ["DOCKER_HOST"])
    peer.call("tag", f"localhost/trainload/{name}", "deps")
    (bench.folder / "Dockerfile").write_text(_DOCKERFILE)
    (bench.folder / ".dockerignore").write_text("outputs\n")
    sides: Mapping[str, Callable[[], float]] = {
        "embedded": lambda: _edited(bench, "embedded", environ),
        "docker": lambda: _edited(bench, "docker", environ),
        "theirs": peer.edited,
    }
    told: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(_ROUNDS):
        for side, measure in sides.items():
            told[side].append(measure())
    middle = {side: statistics.median(seconds) for side, seconds in told.items()}
    asked = (("embedded", "edit to running, embedded", 0.6), ("docker", "edit to running, in Docker", 1.5),
             ("theirs", "docker build + docker run", None))  # fmt: skip
    least = 2 * python_starts()  # the command, and the program
    for side, what, target in asked:
        yield Figure(f"{name}: {what}", middle[side], "s", target, note=spread(told[side]), least=least)
    for side, ours in (("embedded", "embedded"), ("docker", "in Docker")):
        ratio = middle["theirs"] / middle[side]
        yield Figure(f"{name}: times faster than that, {ours}", ratio, "×", 1, at_least=True)


def _edited(bench: Bench, engine: str, environ: Mapping[str, str]) -> float:
    bench.edit(_END)
    argv = [TRAINLOAD, "-q", "run", "--engine", engine, "--", *bench.arguments]
    return process(argv, cwd=bench.folder, environ=environ).first_output

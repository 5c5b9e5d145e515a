"""An image's first delivery into an engine that is new, until a first program has run there: ours beside ``load``.

The peer loads what a user would have, the output of ``docker save`` and ``podman save`` of the same image. The
sides take turns, and who begins changes. CPU seconds are of the engine and of whoever feeds it: a busy machine
changes them less than the time.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.budget import Deadline
from benchmarks.measure import Figure, spread, touch_memory
from benchmarks.peers import PATH, docker, missing, unmount_below
from benchmarks.project import TRAINLOAD, Bench

_ROUNDS = 3
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class _Engine:
    """One that is new, with folders of its own."""

    environ: Mapping[str, str]
    client: Sequence[str]
    """The words that begin its command line."""
    pid: int | None = None
    """Of its daemon."""


@dataclass(frozen=True, slots=True)
class _Cost:
    seconds: float
    cpu: float


def figures(bench: Bench, until: Deadline) -> Iterator[Figure]:
    for name, new, needed in (("docker", _docker, ("dockerd", "docker")), ("podman", _podman, ("podman",))):
        reason = missing(*needed)
        if not reason:
            yield from _compared(bench, name, new, until)


def _compared(
    bench: Bench, name: str, new: Callable[[Path], AbstractContextManager[_Engine]], until: Deadline
) -> Iterator[Figure]:
    scratch = Path(bench.environ["TRAINLOAD_HOME"]).parent
    image, archive = f"localhost/trainload/{bench.folder.name}", scratch / f"{name}.tar"

    def ours(engine: _Engine) -> None:
        _call([TRAINLOAD, "-q", "run", "--engine", name, bench.folder.name, "true"], bench, engine)

    def theirs(engine: _Engine) -> None:
        _call([*engine.client, "load", "-q", "-i", str(archive)], bench, engine)
        _call([*engine.client, "run", "--rm", "--network=none", image, "true"], bench, engine)

    with new(scratch / f"{name}-save") as engine:
        ours(engine)
        _call([*engine.client, "save", "-o", str(archive), image], bench, engine)
    told: dict[str, list[_Cost]] = {"ours": [], "theirs": []}
    for attempt in until.rounds(_ROUNDS):
        sides = [("ours", ours), ("theirs", theirs)]
        for side, work in sides if attempt % 2 == 0 else reversed(sides):
            with new(scratch / f"{name}-{side}-{attempt}") as engine:
                touch_memory()
                told[side].append(_cost(engine, work))
    yield from _lines(f"{bench.folder.name}: ", name, told)


def _lines(prefix: str, name: str, told: Mapping[str, list[_Cost]]) -> Iterator[Figure]:
    ours, theirs = f"{prefix}first delivery to {name.title()} and run", f"{prefix}{name} load and {name} run"
    what = {"ours": ours, "theirs": theirs}
    for side, costs in told.items():
        seconds = [one.seconds for one in costs]
        yield Figure(what[side], statistics.median(seconds), "s", note=spread(seconds))
    for side, costs in told.items():
        cpu = [one.cpu for one in costs]
        yield Figure(f"{what[side]}, CPU", statistics.median(cpu), "s", note=spread(cpu))
    ratio = statistics.median(one.seconds for one in told["theirs"]) / statistics.median(
        one.seconds for one in told["ours"]
    )
    yield Figure(f"{prefix}times as fast as {name} load", ratio, "×", 1, at_least=True)


def _call(argv: Sequence[str], bench: Bench, engine: _Engine) -> None:
    environ = {**bench.environ, **engine.environ, "PATH": PATH}
    subprocess.run(argv, check=True, capture_output=True, cwd=bench.folder, env=environ, stdin=subprocess.DEVNULL)


def _cost(engine: _Engine, work: Callable[[_Engine], None]) -> _Cost:
    cpu, began = _cpu(engine), time.perf_counter()
    work(engine)
    return _Cost(time.perf_counter() - began, _cpu(engine) - cpu)


def _cpu(engine: _Engine) -> float:
    """Processor seconds of the daemon and its children so far, and of our children."""
    times = os.times()
    spent = times.children_user + times.children_system
    if engine.pid is not None:
        fields = Path(f"/proc/{engine.pid}/stat").read_text().rpartition(")")[2].split()
        spent += sum(int(field) for field in fields[11:15]) / _TICKS  # proc(5): utime, stime, cutime, cstime
    return spent


@contextmanager
def _docker(folder: Path) -> Iterator[_Engine]:
    with docker(folder) as host:
        yield _Engine({"DOCKER_HOST": host}, ("docker", "-H", host), int((folder / "pid").read_text()))


@contextmanager
def _podman(folder: Path) -> Iterator[_Engine]:
    folder.mkdir()
    runtime = "runc" if shutil.which("runc", path=PATH) else "crun"  # crun refuses hybrid control groups
    (folder / "conf").write_text(
        f'[containers]\ndefault_ulimits = []\n[engine]\nruntime = "{runtime}"\nevents_logger = "file"\n'
    )
    with tempfile.TemporaryDirectory(prefix="tl-", ignore_cleanup_errors=True) as runs:  # 50 characters at most
        (folder / "storage").write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/root"\nrunroot = "{runs}"\n'
        )
        environ = {"CONTAINERS_CONF": str(folder / "conf"), "CONTAINERS_STORAGE_CONF": str(folder / "storage")}
        try:
            yield _Engine(environ, ("podman",))
        finally:
            unmount_below(folder)
            unmount_below(Path(runs))

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
from benchmarks.measure import Figure, spread, touch_memory, trouble
from benchmarks.peers import PATH, docker, missing, run, unmount_below
from benchmarks.project import TRAINLOAD, Bench

_ROUNDS = 3
_TICKS = os.sysconf("SC_CLK_TCK")
_DISK = 30 << 30
"""Bytes that an engine may fill; the file is sparse."""


@dataclass(frozen=True, slots=True)
class Engine:
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


After = Callable[[Engine], Iterator[Figure]]
"""What else is measured in an engine that has the image."""


def figures(bench: Bench, until: Deadline, after: Mapping[str, After]) -> Iterator[Figure]:
    """Each engine has a round; the first one the half of the time for more. ``after``: by the engine's name."""
    engines = (("docker", _docker, ("dockerd", "docker"), 0.5), ("podman", _podman, ("podman",), 1.0))
    for name, new, needed, share in engines:
        reason = missing(*needed)
        if not reason:
            with trouble() as found:
                yield from _compared(_Case(bench, name, new), Deadline(until.left * share), after.get(name))
            reason = found.what
        if reason:
            yield Figure(f"{bench.folder.name}: first delivery to {name.title()}", float("nan"), "s", note=reason)


@dataclass(frozen=True, slots=True)
class _Case:
    bench: Bench
    name: str
    new: Callable[[Path], AbstractContextManager[Engine]]

    @property
    def scratch(self) -> Path:
        return Path(self.bench.environ["TRAINLOAD_HOME"]).parent

    @property
    def image(self) -> str:
        return f"localhost/trainload/{self.bench.folder.name}"

    @property
    def archive(self) -> str:
        return f"{self.scratch}/{self.name}.tar"

    def ours(self, engine: Engine) -> None:
        _call([TRAINLOAD, "-q", "run", "--engine", self.name, self.bench.folder.name, "true"], self.bench, engine)

    def save(self, engine: Engine) -> None:
        _call([*engine.client, "save", "-o", self.archive, self.image], self.bench, engine)

    def theirs(self, engine: Engine) -> None:
        _call([*engine.client, "load", "-q", "-i", self.archive], self.bench, engine)
        _call([*engine.client, "run", "--rm", "--network=none", self.image, "true"], self.bench, engine)


def _compared(case: _Case, until: Deadline, after: After | None) -> Iterator[Figure]:
    told: dict[str, list[_Cost]] = {"ours": [], "theirs": []}
    sides = [("ours", case.ours), ("theirs", case.theirs)]
    for attempt in until.rounds(_ROUNDS):
        for side, work in sides if attempt % 2 == 0 else reversed(sides):
            with (
                _new_disk(case.scratch / f"{case.name}-{side}-{attempt}") as disk,
                case.new(disk / "engine") as engine,
            ):
                touch_memory()
                told[side].append(_cost(engine, work))
                if side == "ours" and attempt == 0:  # what the other side loads comes from here
                    case.save(engine)
                    if after is not None:
                        yield from after(engine)
    yield from _lines(f"{case.bench.folder.name}: ", case.name, told)


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


def _call(argv: Sequence[str], bench: Bench, engine: Engine) -> None:
    environ = {**bench.environ, **engine.environ, "PATH": PATH}
    subprocess.run(argv, check=True, capture_output=True, cwd=bench.folder, env=environ, stdin=subprocess.DEVNULL)


def _cost(engine: Engine, work: Callable[[Engine], None]) -> _Cost:
    cpu, began = _cpu(engine), time.perf_counter()
    work(engine)
    return _Cost(time.perf_counter() - began, _cpu(engine) - cpu)


def _cpu(engine: Engine) -> float:
    """Processor seconds of the daemon and its children so far, and of our children."""
    times = os.times()
    spent = times.children_user + times.children_system
    if engine.pid is not None:
        fields = Path(f"/proc/{engine.pid}/stat").read_text().rpartition(")")[2].split()
        spent += sum(int(field) for field in fields[11:15]) / _TICKS  # proc(5): utime, stime, cutime, cstime
    return spent


@contextmanager
def _new_disk(folder: Path) -> Iterator[Path]:
    """``folder`` as a file system of its own, from which nothing was ever removed.

    ext4 is up to twice as slow at creating files for minutes after a large tree was removed, and parts of the
    benchmark remove trees. Where there are no loop devices the folder is a plain one.
    """
    folder.mkdir()
    file = folder.with_suffix(".ext4")
    with file.open("wb") as made:
        made.truncate(_DISK)
    try:
        run("mkfs.ext4", "-q", "-F", str(file))
        run("mount", "-o", "loop", str(file), str(folder))
    except (subprocess.CalledProcessError, FileNotFoundError):
        yield folder
        return
    try:
        yield folder
    finally:
        unmount_below(folder)
        run("umount", "-l", str(folder))


@contextmanager
def _docker(folder: Path) -> Iterator[Engine]:
    with docker(folder) as host:
        yield Engine({"DOCKER_HOST": host}, ("docker", "-H", host), int((folder / "pid").read_text()))


@contextmanager
def _podman(folder: Path) -> Iterator[Engine]:
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
            yield Engine(environ, ("podman",))
        finally:
            unmount_below(folder)
            unmount_below(Path(runs))

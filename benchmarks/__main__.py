"""``./dev bench``: what users feel, side by side with the tools they use today; tables, JSON and charts.

Downloads what the projects and the peers need; the peers that are missing are left out and named. Figures with
PyTorch need a folder with its wheel in PIP_FIND_LINKS. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # `python benchmarks` puts only this folder on the path

from benchmarks import dockerfile, engines, project, readme, registry, results, splice, tables, throughput, verdicts
from benchmarks.budget import MINUTES, PARTS, PLAN, QUICK, QUICK_MINUTES, Deadline
from benchmarks.measure import Figure, trouble
from benchmarks.peers import unmount
from benchmarks.results import Part

OUTPUT = Path(__file__).parents[1] / "outputs" / "benchmarks"
KEPT = Path(__file__).parent / "results"
"""What the READMEs show."""
_ALONE = 240.0
"""Seconds of the Dockerfile without the large project, whose table has it."""
_USED = 0.95
"""Of the time is given out: a round that takes longer than the one before ends in the rest."""
_ROOM = 20 << 30
"""Bytes that are free on the disk: else what a part has left behind is removed at once."""


class Run:
    """Parts one after the other, each written to the results file when it is over."""

    def __init__(self, output: Path, scratch: Path, *, quick: bool, minutes: float) -> None:
        self._output, self._scratch, self._quick, self._minutes = output, scratch, quick, minutes
        self._factor = 1.0 if quick else minutes / MINUTES
        self._until = Deadline(minutes * 60 * _USED)
        self._parts = results.read(output / "results.json")
        self._now: dict[str, Part] = {}

    @property
    def parts(self) -> results.Parts:
        return self._parts

    def has(self, name: str) -> bool:
        """It was measured as it would be measured now."""
        return name in self._parts and self._parts[name].quick == self._quick and not self._parts[name].failed

    def go(self, names: Sequence[str], *, whatever: bool) -> None:
        """Each part has its share, less where those before it took more; ``whatever``: one share each, however long
        the whole takes.
        """
        plan = QUICK if self._quick else PLAN
        for number, name in enumerate(names):
            share = plan.get(name, PLAN[name])
            kept = sum(plan.get(later, PLAN[later]).least for later in names[number + 1 :])
            seconds = share.seconds * self._factor
            if not whatever:
                seconds = min(seconds, max(self._until.left - kept, share.least))
                if self._until.left < share.least - self._rest:
                    self._omit(name)
                    continue
            self._one(name, seconds)

    @property
    def _rest(self) -> float:
        return self._minutes * 60 * (1 - _USED)

    def _omit(self, name: str) -> None:
        """It is said, in the results too; what an earlier run found there stays."""
        what = f"not begun, the time was over; ./dev bench --only {name} adds it to the results"
        _say(f"! {name}: {what}")
        if name not in self._parts:
            self._parts[name] = Part(name, quick=self._quick, failed=what)
            results.write(self._output / "results.json", self._parts)

    def _one(self, name: str, seconds: float) -> None:
        part = Part(name, quick=self._quick)
        place = self._scratch / name[:2]  # short: sockets of engines lie below it
        place.mkdir()
        began = time.monotonic()
        _say(f"\n# {name} ({seconds:.0f} s)\n")
        with trouble() as found:
            _MEASURE.get(name, _promises)(part, place, seconds, self._now)
        part.failed, part.seconds = found.what, time.monotonic() - began
        if part.failed:  # a peer that fails ends its part, not the others
            _say(f"! {name}: {part.failed}")
        self._parts[name] = self._now[name] = part
        results.write(self._output / "results.json", self._parts)
        _show(part)
        unmount(place)
        if shutil.disk_usage(self._scratch).free < _ROOM:  # removing a large tree makes ext4 slow for the next one
            shutil.rmtree(place, ignore_errors=True)


def _promises(part: Part, scratch: Path, seconds: float, parts: results.Parts) -> None:
    """Single figures beside the target that the project has set itself."""
    name, until = part.name, Deadline(seconds)
    links = os.environ.get("PIP_FIND_LINKS")
    wheel = next(iter(sorted(Path(links).glob("torch-*.whl"))), None) if links else None
    found: Iterable[Figure] = ()
    if name == "help":
        found = project.help_text()
    elif name == "digits":
        found = project.figures(project.example("digits", scratch, ("--c", "1")), until)
    elif name == "throughput":
        found = throughput.figures(scratch, until)
    elif name == "dockerfile":
        found = _dockerfile(scratch, until, parts.get("large"))
    elif wheel is None:
        _say(f"! no torch wheel in PIP_FIND_LINKS: {name} is left out")
    elif name == "splice":
        found = splice.figures(wheel, scratch, until)
    else:
        found = _of_example(name, scratch.parent, until)
    for one in found:
        part.figures.append(one)
        _say(one.line())


def _of_example(name: str, scratch: Path, until: Deadline) -> Iterable[Figure]:
    """The first of these parts builds the example from nothing, for the others too."""
    shared = scratch / "x"
    there = shared.exists()
    bench = project.example("tiny-gpt", shared, ("--steps", "1", "--sample", "1"))
    if name == "tiny-gpt":
        assert not there, "it is measured before the parts that build it"
        yield from project.figures(bench, until)
        return
    bench.run("build")
    yield from (registry if name == "registry" else engines).figures(bench, until)


def _dockerfile(scratch: Path, until: Deadline, large: Part | None) -> Iterable[Figure]:
    if large is not None and large.medians("cold build").get(dockerfile.NAME):
        return dockerfile.of_rows(large)
    return dockerfile.figures(scratch, _cache(), Deadline(max(until.left, _ALONE)))


def _cache() -> Path:
    return Path(os.environ.get("TRAINLOAD_BENCH_CACHE", OUTPUT.with_name("benchmarks-cache")))


def _side(part: Part, scratch: Path, seconds: float, parts: results.Parts) -> None:
    from benchmarks.side.run import Site, side_by_side

    side_by_side(part, Site(scratch, _cache(), seconds, quick=part.quick))


def _scaling(part: Part, scratch: Path, seconds: float, parts: results.Parts) -> None:
    from benchmarks import scaling

    found = list(scaling.curves(scratch, Deadline(seconds), quick=part.quick))
    part.data["curves"] = [{**asdict(one), "exponent": one.slope} for one in found]


def _year(part: Part, scratch: Path, seconds: float, parts: results.Parts) -> None:
    from benchmarks.year import history, simulate

    known = history.read()
    part.data["year"] = {name: asdict(one) for name, one in simulate.outcomes(known).items()}
    part.data["span"] = f"{known.first} to {known.last}"
    part.data["source"] = known.source


_MEASURE: Mapping[str, Callable[[Part, Path, float, results.Parts], None]] = {
    "small": _side, "large": _side, "scaling": _scaling, "year": _year,
}  # fmt: skip


def _show(part: Part) -> None:
    """As tables; single figures were told when they were measured."""
    from benchmarks import scaling
    from benchmarks.year import simulate

    if part.rows:
        _say(
            f"\n## The {part.name} project: {tables.machine([part])}\n\n{tables.side(part)}\n{tables.sizes(part)}\n"
        )
        for what, why in part.data.get("not measured", {}).items():
            _say(f"Not measured: {what}: {why}\n")
        _say("Versions: " + ", ".join(f"{tool} {version}" for tool, version in part.versions.items()))
    if "curves" in part.data:
        _say(f"\n## Scaling\n\n{scaling.report(part.data['curves'])}")
    if "year" in part.data:
        _say(f"\n## A year of updates, simulated: {part.data['span']}\n\nReleases: {part.data['source']}\n")
        _say(simulate.report(part.data["year"]))
    _say(f"\n({part.name}: {part.seconds:.0f} s)")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./dev bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=PARTS, action="append", help="this part; may be given several times")
    parser.add_argument("--quick", action="store_true", help="the small project, the main peers: five minutes")
    parser.add_argument("--minutes", type=float, help="for everything, 30 by default; with more there are more"
                        " rounds, and from 100 on all peers for both projects")  # fmt: skip
    parser.add_argument("--resume", action="store_true", help="leave out the parts that the results have already")
    parser.add_argument("--from-results", action="store_true", help="measure nothing: tables and charts anew")
    parser.add_argument("--publish", action="store_true", help="results and charts to where the READMEs show them")
    parser.add_argument("--output", type=Path, default=OUTPUT, metavar="FOLDER", help="for results.json and charts")
    return parser.parse_args()


def _stop(number: int, frame: object) -> None:
    """What was started is ended on the way out."""
    sys.exit(128 + number)


def _run(given: argparse.Namespace, scratch: Path) -> Run:
    minutes = given.minutes or (QUICK_MINUTES if given.quick else MINUTES)
    run = Run(given.output, scratch, quick=given.quick, minutes=minutes)
    if given.from_results:
        for part in run.parts.values():
            _show(part)
        return run
    names = sorted(given.only, key=PARTS.index) if given.only else tuple(QUICK if given.quick else PARTS)
    run.go([name for name in names if not (given.resume and run.has(name))], whatever=bool(given.only))
    return run


def main() -> int:
    given = _arguments()
    signal.signal(signal.SIGTERM, _stop)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="trainload-bench-", ignore_cleanup_errors=True) as scratch:
        try:
            run = _run(given, Path(scratch))
        finally:  # also when it was stopped: what is mounted cannot be removed
            unmount(Path(scratch))
    _end(run.parts, given.output, publish=given.publish)
    _say(f"\n{(time.monotonic() - began) / 60:.1f} minutes; results.json and charts lie in {given.output}")
    return 0


def _end(parts: results.Parts, output: Path, *, publish: bool) -> None:
    from benchmarks import charts

    charts.draw(parts, output)
    _say(f"\n## Targets\n\n{verdicts.report(parts)}")
    if publish:
        KEPT.mkdir(exist_ok=True)
        for file in sorted(output.iterdir()):
            if file.suffix in (".json", ".svg", ".png") and not file.name.startswith("side-"):  # both are in side
                shutil.copy(file, KEPT)
        changed = ", ".join(path.name for path in readme.publish(parts)) or "nothing new in them"
        _say(f"\nkept in {KEPT}; READMEs: {changed}")


if __name__ == "__main__":
    sys.exit(main())

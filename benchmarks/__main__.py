"""``./dev bench``: what users feel, side by side with the tools they use today; a table, JSON and charts.

Downloads what the projects and the peers need; the peers that are missing are left out and named. Figures with
PyTorch need a folder with its wheel in PIP_FIND_LINKS. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # `python benchmarks` puts only this folder on the path

from benchmarks import engines, project, registry, splice, throughput, unpacking
from benchmarks.measure import Figure
from benchmarks.results import Results, table

PROMISES = ("help", "splice", "digits", "tiny-gpt", "registry", "throughput", "engines")
PARTS = (*PROMISES, "side", "scaling", "year")
QUICK = ("help", "side", "year")
OUTPUT = Path(__file__).parents[1] / "outputs" / "benchmarks"


def promises(only: str, scratch: Path) -> Iterator[Figure]:
    """Single figures beside the target that the project has set itself."""
    links = os.environ.get("PIP_FIND_LINKS")
    wheel = next(iter(sorted(Path(links).glob("torch-*.whl"))), None) if links else None
    if only == "help":
        yield from project.help_text()
    elif only == "digits":
        yield from project.figures(project.example("digits", scratch, ("--c", "1")))
    elif only == "throughput":
        (scratch / "throughput").mkdir()
        yield from throughput.figures(scratch / "throughput")
    elif wheel is None:
        sys.stderr.write(f"bench: no torch wheel in PIP_FIND_LINKS: {only} is left out\n")
    elif only == "splice":
        yield from splice.figures(wheel, scratch)
    elif only == "tiny-gpt":
        bench = project.example("tiny-gpt", scratch, ("--steps", "1", "--sample", "1"))
        yield from project.figures(bench)
        yield from unpacking.figures(bench)
    elif only == "registry":
        bench = project.example("tiny-gpt", scratch / "registry-example", ("--steps", "1", "--sample", "1"))
        bench.run("build")
        yield from registry.figures(bench)
    elif only == "engines":
        yield from engines.figures(
            project.example("tiny-gpt", scratch / "engines", ("--steps", "1", "--sample", "1"))
        )


def part(name: str, scratch: Path, results: Results, output: Path, *, quick: bool) -> None:
    if name == "side":
        _side(scratch, results, output, quick=quick)
    elif name == "scaling":
        _scaling(scratch, results, output, quick=quick)
    elif name == "year":
        _year(results, output)
    else:
        for figure in promises(name, scratch):
            _say(figure.line())
            results.figures.append(figure)


def _side(scratch: Path, results: Results, output: Path, *, quick: bool) -> None:
    from benchmarks import charts
    from benchmarks.side.run import side_by_side

    floors = side_by_side(scratch, results, quick=quick)
    for sort, floor in floors.items():
        _say(f"\n## The {sort} project\n\n{table(results.rows, sort, floor)}")
        charts.scenarios(results.rows, sort, floor, output)
    results.parts["floors"] = floors


def _scaling(scratch: Path, results: Results, output: Path, *, quick: bool) -> None:
    from benchmarks import charts, scaling

    (scratch / "scaling").mkdir()
    found = list(scaling.curves(scratch / "scaling", quick=quick))
    _say(f"\n## Scaling\n\n{scaling.report(found)}")
    results.parts["scaling"] = [{**asdict(one), "exponent": one.slope} for one in found]
    charts.scaling(found, output)


def _year(results: Results, output: Path) -> None:
    from benchmarks import charts
    from benchmarks.year import history, simulate

    known = history.read()
    found = simulate.outcomes(known)
    _say(f"\n## A year of updates, simulated: {known.first} to {known.last}\n\nReleases: {known.source}\n")
    _say(simulate.report(found))
    results.parts["year"] = {name: asdict(one) for name, one in found.items()}
    charts.year(found, output)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="./dev bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=PARTS, action="append", help="this part; may be given several times")
    parser.add_argument("--quick", action="store_true", help="the small project, the main peers: five minutes")
    parser.add_argument("--output", type=Path, default=OUTPUT, metavar="FOLDER", help="for results.json and charts")
    given = parser.parse_args()
    results, began = Results(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="trainload-bench-", ignore_cleanup_errors=True) as scratch:
        for name in given.only or (QUICK if given.quick else PARTS):
            place = Path(scratch) / name[:2]  # short: sockets of engines lie below it
            place.mkdir()
            try:
                part(name, place, results, given.output, quick=given.quick)
            except subprocess.CalledProcessError as error:  # a peer that fails ends its part, not the others
                said = error.stderr or error.output or ""
                _say(f"! {name}: {error}\n{said if isinstance(said, str) else said.decode('utf-8', 'replace')}")
                results.parts.setdefault("failed", []).append(name)
    results.parts["seconds"] = time.monotonic() - began
    results.write(given.output / "results.json")
    _say(f"\n{results.parts['seconds'] / 60:.1f} minutes; results.json and charts lie in {given.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

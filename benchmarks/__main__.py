"""``./dev bench [--only PART]``: prints each figure beside its target; exit code 1 when one is missed.

It downloads what the examples need. The PyTorch figures need a folder with its wheel in PIP_FIND_LINKS.
Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # `python bench` puts only this folder on the path

from benchmarks import project, registry, splice, throughput, unpacking
from benchmarks.measure import Figure

PARTS = ("help", "splice", "digits", "tiny-gpt", "registry", "throughput")


def figures(only: str | None, scratch: Path) -> Iterator[Figure]:
    links = os.environ.get("PIP_FIND_LINKS")
    wheel = next(iter(sorted(Path(links).glob("torch-*.whl"))), None) if links else None
    if only in (None, "help"):
        yield from project.help_text()
    if only in (None, "digits"):
        yield from project.figures(project.example("digits", scratch, ("--c", "1")))
    if only in (None, "throughput"):
        (scratch / "throughput").mkdir()
        yield from throughput.figures(scratch / "throughput")
    if wheel is None:
        sys.stderr.write("bench: no torch wheel in PIP_FIND_LINKS: its figures are left out\n")
        return
    if only in (None, "splice"):
        yield from splice.figures(wheel, scratch)
    if only in (None, "tiny-gpt"):
        bench = project.example("tiny-gpt", scratch, ("--steps", "1", "--sample", "1"))
        yield from project.figures(bench)
        yield from unpacking.figures(bench)
    if only in (None, "registry"):
        bench = project.example("tiny-gpt", scratch / "registry-example", ("--steps", "1", "--sample", "1"))
        bench.run("build")
        yield from registry.figures(bench)


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("--only", choices=PARTS)
    only = parser.parse_args().only
    missed = 0
    with tempfile.TemporaryDirectory(prefix="trainload-bench-") as scratch:
        for figure in figures(only, Path(scratch)):
            sys.stdout.write(figure.line() + "\n")
            sys.stdout.flush()
            missed += figure.met is False
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

"""What a user feels: help, a first build, the build and the start after editing one line."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from timing import Row, measure

BIN = Path(sys.executable).parent
TRAINLOAD = BIN / "trainload"
EXAMPLES = Path(__file__).parents[1] / "examples"
STARTED = 'import time as _t; print("started", _t.time(), flush=True)\n'


def rows(area: Path, wheels: str) -> Iterator[Row]:
    """Every scenario over ``examples/tiny-gpt``; ``wheels``: folders with the torch wheel, may be empty."""
    project = area / "tiny-gpt"
    shutil.copytree(EXAMPLES / "tiny-gpt", project)
    environ = {**os.environ, "TRAINLOAD_HOME": str(area / "home")}
    if wheels:
        environ["TRAINLOAD_FIND_LINKS"] = wheels
    helped = measure([TRAINLOAD, "--help"], cwd=project, environ=environ, runs=9)
    yield Row("trainload --help", str(helped), target="≤ 0.15 s")
    cold = measure([TRAINLOAD, "-q", "build"], cwd=project, environ=environ, runs=1)
    yield Row("first build, downloads included", str(cold), target="≤ 250 MB")
    again = measure(
        [TRAINLOAD, "-q", "build", "--frozen"], cwd=project, environ=environ, runs=1,
        before=lambda _: forget(area / "home"),
    )  # fmt: skip
    yield Row("first build, files already fetched", str(again), target="≤ 250 MB")
    train = project / "train.py"
    source = train.read_text()
    edited = measure(
        [TRAINLOAD, "-q", "build"], cwd=project, environ=environ, runs=7,
        before=lambda run: train.write_text(f"{source}\n# edit {run}\n"),
    )  # fmt: skip
    yield Row("build after a one-line edit", str(edited), target="≤ 0.50 s")
    yield from starts(project, environ, source)


def starts(project: Path, environ: dict[str, str], source: str) -> Iterator[Row]:
    """Seconds until the first line of the script runs: in the container after an edit, and with bare Python."""
    train = project / "train.py"
    header, rest = source.split("from __future__ import annotations\n", 1)

    def script(run: int) -> None:
        train.write_text(f"{header}from __future__ import annotations\n{STARTED}raise SystemExit  # {run}\n{rest}")

    inside, bare = [], []
    for run in range(6):
        script(run)
        inside.append(until_started([str(TRAINLOAD), "-q", "run"], project, environ))
        bare.append(until_started([sys.executable, "train.py"], project, environ))
    train.write_text(source)
    ours, theirs = sorted(inside[1:])[2], sorted(bare[1:])[2]  # the first run unpacks the layers
    yield Row("first run: layers are unpacked", f"{inside[0]:.2f} s until the script starts")
    yield Row("run after a one-line edit", f"{ours:.2f} s until the script starts", "bare Python",
              ours / theirs, f"+{ours - theirs:.2f} s; ≤ +1.00 s")  # fmt: skip


def until_started(argv: list[str], cwd: Path, environ: dict[str, str]) -> float:
    began = time.time()
    done = subprocess.run(argv, cwd=cwd, env=environ, capture_output=True, text=True, check=False)
    match = re.search(r"started ([0-9.]+)", done.stdout)
    if match is None:
        sys.exit(f"{argv} did not start: {done.stderr[-2000:]}")
    return float(match[1]) - began


def forget(home: Path) -> None:
    """Everything but the fetched files."""
    for folder in home.iterdir():
        if folder.name != "files":
            shutil.rmtree(folder) if folder.is_dir() else folder.unlink()

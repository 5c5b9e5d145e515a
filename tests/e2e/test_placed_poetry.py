"""``poetry install --no-root`` as tutorials write it, placed here and run by buildah with the same Poetry."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.test_placed_lines import Bench, check
from tests.network import archive_answers, index_answers
from uv import find_uv_bin

from trainload.testing.index import PackageIndex, wheel
from trainload.testing.server import FaultServer

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: files are given to other users"),
    pytest.mark.skipif(shutil.which("buildah") is None, reason="buildah is not installed"),
]
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
POETRY = f"""\
FROM plain
ENV VIRTUAL_ENV= PATH={PATH}
RUN pip install --break-system-packages --no-cache-dir poetry
"""
PYPROJECT = """\
[tool.poetry]
name = "own-project"
version = "1.0"
description = ""
authors = []
package-mode = false

[tool.poetry.dependencies]
python = "^3.11"
demo = "<2"
elsewhere = {version = "*", markers = "sys_platform == 'win32'"}
odd-name = {version = "*", optional = true}

[tool.poetry.extras]
more = ["odd-name"]

[tool.poetry.group.dev.dependencies]
spare = "*"

[tool.poetry.group.late]
optional = true

[tool.poetry.group.late.dependencies]
late = "*"

[[tool.poetry.source]]
name = "own"
url = "INDEX/"
priority = "primary"
"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    if not archive_answers() or not index_answers():
        pytest.skip("no archive or index can be reached from here")
    folder = tmp_path_factory.mktemp("poetry")
    with FaultServer() as server:
        index = PackageIndex(server)
        for version in ("1.0", "2.0"):
            index.add(wheel("demo", version, requires=["helper>=1"]))
        index.add(wheel("helper", "1.5"), wheel("Odd_Name", "0.1", files={"odd_name/data/x.txt": b"x\n"}))
        index.add(wheel("spare", "1.0"), wheel("late", "1.0"), wheel("elsewhere", "1.0"))
        found = Bench(folder / "home", index.url, folder, {})
        plain = folder / "plain"
        plain.mkdir()
        (plain / "trainload.toml").write_text('base = "apt:bookworm"\nuser = 0\nsystem = ["python3-pip"]\n')
        found.trainload(plain, "build", "-t", "plain")
        slim = found.project("slim", POETRY, {})
        found.trainload(slim, "build", "-t", "slim")
        yield found


def lock(bench: Bench, at: Path) -> None:
    """As a user of Poetry has it."""
    (at / "pyproject.toml").write_text(PYPROJECT.replace("INDEX", bench.index))
    words = [find_uv_bin(), "tool", "run", "-q", "--from", "poetry", "poetry", "lock", "-q", "-n"]
    subprocess.run(words, cwd=at, env={**os.environ, "UV_TOOL_DIR": str(at.parent / "tools")}, check=True)


def test_what_poetry_would_install_is_placed(bench: Bench) -> None:
    at = bench.project(
        "poetry",
        "ARG BASE=slim\nFROM $BASE\nWORKDIR /app\nCOPY pyproject.toml poetry.lock ./\n"
        "RUN poetry config virtualenvs.create false && "
        "poetry install --no-root --no-interaction --no-ansi --without dev\n"
        "ENV POETRY_VIRTUALENVS_CREATE=1 POETRY_VIRTUALENVS_IN_PROJECT=1 POETRY_CACHE_DIR=/tmp/poetry\n"
        "RUN poetry install --no-root --with late -E more && rm -rf $POETRY_CACHE_DIR\n"
        'CMD ["/app/.venv/bin/python", "-c", "import demo, late, odd_name, spare; print(demo.__version__)"]\n',
        {},
    )
    lock(bench, at)
    files = check(bench, at, placed=2)
    told = [why for how, why in bench.rows(at).values() if "sandbox" in why]
    assert told == ["understood: placed, and poetry runs by itself in the sandbox, offline"] * 2
    flat = "usr/local/lib/python3.11/dist-packages"
    assert f"{flat}/demo-1.0.dist-info/METADATA" in files and f"{flat}/spare/__init__.py" not in files
    assert not [path for path in files if "/elsewhere" in path]
    assert bench.trainload(at, "run").stdout == "1.0\n"


def test_a_lock_that_does_not_fit_is_told_by_poetry_itself(bench: Bench) -> None:
    at = bench.project(
        "stale",
        "ARG BASE=slim\nFROM $BASE\nWORKDIR /app\nENV POETRY_VIRTUALENVS_CREATE=false\n"
        "COPY pyproject.toml poetry.lock ./\nRUN poetry install --no-root --no-ansi\n",
        {},
    )
    lock(bench, at)
    text = (at / "pyproject.toml").read_text()
    (at / "pyproject.toml").write_text(text.replace('demo = "<2"', 'demo = "<1.5"'))
    failed = bench.trainload(at, "build", "--network", "default", code=1).stderr
    assert "changed significantly since poetry.lock was last generated" in failed
    (at / "pyproject.toml").write_text(text)
    old = (at / "poetry.lock").read_text().replace('lock-version = "2.1"', 'lock-version = "2.0"')
    (at / "poetry.lock").write_text(old)
    bench.trainload(at, "build", "--network", "default")
    assert bench.rows(at, "--network", "default")[6] == ("run", "a poetry.lock of a Poetry older than 2")

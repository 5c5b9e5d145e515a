"""The bytecode layer, with a base of the distribution and a real package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TRAINLOAD = Path(sys.executable).with_name("trainload")
PROBE = """
import json, sys
import rich.console
spec = rich.console.__spec__
flags = open(spec.cached, "rb").read(8)[4:]
print(json.dumps({"cached": spec.cached, "unchecked": flags == bytes([1, 0, 0, 0])}))
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "TRAINLOAD_HOME": str(tmp_path / "home"), "TRAINLOAD_BYTECODE": "true"}


def test_packages_come_compiled_and_twice_the_same(tmp_path: Path, environ: dict[str, str]) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "requirements.txt").write_text("rich==14.*\n")
    (project / "train.py").write_text(PROBE)
    first = build(project, environ)
    (compiled,) = [layer["digest"] for layer in first["layers"] if layer["title"] == "bytecode"]
    done = subprocess.run(
        [TRAINLOAD, "-q", "run"], cwd=project, env=environ, capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout)
    assert told["cached"].startswith("/opt/venv/lib/python3.11/site-packages/rich/__pycache__/console.")
    assert told["unchecked"]

    (record,) = [one for one in (tmp_path / "home" / "recipes").glob("*.json") if compiled in one.read_text()]
    record.unlink()
    again = build(project, environ)
    assert [layer["title"] for layer in again["layers"] if not layer["present"]] == ["bytecode"]
    assert again["digest"] == first["digest"], "compiled again, the same bytes"


def build(project: Path, environ: dict[str, str]) -> dict[str, list[dict[str, str]]]:
    done = subprocess.run(
        [TRAINLOAD, "build", "--json"], cwd=project, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    document: dict[str, list[dict[str, str]]] = json.loads(done.stdout)
    return document

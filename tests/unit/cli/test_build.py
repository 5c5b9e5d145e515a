"""``trainload build``: what a command line or an environment that makes no sense comes to."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from trainload.cli.main import run


@pytest.mark.parametrize("epoch", ["yesterday", "²", "-1", "1e9", "9" * 13, "253402300800"])
def test_a_date_that_is_none_is_refused_before_anything_is_made(tmp_path: Path, epoch: str) -> None:
    project, stderr = tmp_path / "project", io.StringIO()
    project.mkdir()
    (project / "train.py").write_text("print()")
    environ = {"TRAINLOAD_HOME": str(tmp_path / "home"), "LANG": "C.UTF-8", "SOURCE_DATE_EPOCH": epoch}
    assert run(["build", "--offline"], environ=environ, cwd=project, stdout=io.StringIO(), stderr=stderr) != 0
    assert "SOURCE_DATE_EPOCH is no date" in stderr.getvalue() and "seconds since 1970" in stderr.getvalue()
    assert [path.name for path in tmp_path.iterdir()] == ["project"]
    assert [path.name for path in project.iterdir()] == ["train.py"]


def test_a_size_that_is_none_is_a_wrong_command_line(tmp_path: Path) -> None:
    stderr = io.StringIO()
    environ = {"TRAINLOAD_HOME": str(tmp_path / "home"), "LANG": "C.UTF-8"}
    words = ["build", "--max-unpacked", "much"]
    assert run(words, environ=environ, cwd=tmp_path, stdout=io.StringIO(), stderr=stderr) == 2
    assert "--max-unpacked" in stderr.getvalue()
    assert list(tmp_path.iterdir()) == []

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


def told(words: list[str], cwd: Path) -> str:
    stderr = io.StringIO()
    environ = {"TRAINLOAD_HOME": str(cwd / "home"), "LANG": "C.UTF-8"}
    assert run(words, environ=environ, cwd=cwd, stdout=io.StringIO(), stderr=stderr) == 2
    return stderr.getvalue()


def test_an_option_of_docker_is_told_with_what_does_the_same(tmp_path: Path) -> None:
    assert "trainload lock --upgrade" in told(["build", "--pull", "."], tmp_path)
    assert "--shm-size 8g" in told(["run", "--ipc=host", "image"], tmp_path)
    assert "did you mean --push" in told(["build", "--pussh"], tmp_path)


def test_a_folder_inside_of_a_project_is_told_where_the_project_is(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    stderr = io.StringIO()
    environ = {"TRAINLOAD_HOME": str(tmp_path / "home"), "LANG": "C.UTF-8"}
    words = ["build", "--frozen", "--offline", "docs"]
    assert run(words, environ=environ, cwd=tmp_path, stdout=io.StringIO(), stderr=stderr) != 0
    assert "../Dockerfile does: trainload -C .. …" in stderr.getvalue()

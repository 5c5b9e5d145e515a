"""``./dev`` on the machines newcomers have: the parts that need no network."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]


def dev(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(TOP / "dev"), *words], capture_output=True, text=True, check=False, env={**os.environ, **more}
    )


def test_help_names_every_verb() -> None:
    done = dev()
    assert done.returncode == 0
    for verb in ("demo", "test", "lint", "bench", "texts", "exec"):
        assert f"./dev {verb}" in done.stdout


def test_an_unknown_verb_is_a_wrong_command_line() -> None:
    assert dev("dmeo").returncode == 2


def test_the_scripts_are_posix_shell_without_findings() -> None:
    checker = shutil.which("shellcheck")
    if checker is None:
        pytest.skip("needs shellcheck")
    done = subprocess.run(
        [checker, "--shell=sh", "dev", ".ci/run"], cwd=TOP, capture_output=True, text=True, check=False
    )
    assert done.stdout == ""


def machine(folder: Path, python: str) -> str:
    """A PATH with an ordinary user, no package index, and ``python`` as the only Python."""
    folder.mkdir()
    for name in ("sh", "dirname", "cksum", "tr", "cut", "cat", "rm", "sed"):
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    for name, text in {"id": "echo 1000", "python3": python}.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return str(folder)


def test_an_ordinary_user_is_told_which_packages_are_missing(tmp_path: Path) -> None:
    """Debian's python3 without python3-venv: ``import ensurepip`` fails."""
    without_venv = 'case "$2" in *version_info\\ *) exit 0;; *print*) echo 3.11;; *) exit 1;; esac'
    done = dev(
        "exec", "true", PATH=machine(tmp_path / "bin", without_venv), TRAINLOAD_DEV_VENV=str(tmp_path / "venv")
    )
    assert done.returncode == 1
    assert "sudo apt-get install python3.11-venv" in done.stderr


def test_a_machine_without_a_new_enough_python_is_told_what_to_do(tmp_path: Path) -> None:
    done = dev("exec", "true", PATH=machine(tmp_path / "bin", "exit 1"), TRAINLOAD_DEV_VENV=str(tmp_path / "venv"))
    assert done.returncode == 1
    assert "Python 3.11 or newer is needed" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_demo_names_the_examples_there_are(tmp_path: Path) -> None:
    done = dev("demo", "nope")
    assert done.returncode == 2
    assert "digits tiny-gpt" in done.stderr

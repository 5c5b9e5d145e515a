"""What is locked beside a project: once, by all that decides it, and never what the project has."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from trainload.builder.beside import Beside, Ground, lock_beside
from trainload.errors import UsageError
from trainload.lock.model import PythonPackage
from trainload.resolve.cache import FolderCache
from trainload.resolve.services import Services
from trainload.testing import values


class Asked(Exception):
    """Something would be resolved."""


def services() -> Services:
    raise Asked


def locked(wanted: Beside, folder: Path) -> None:
    lock = dataclasses.replace(values.lock(), packages=(PythonPackage("jupyterlab", "3.6.8"),))
    aside = lock_beside(wanted, Ground(values.project(), folder, lock), FolderCache(folder), services)
    assert (aside.lock, aside.tools) == (lock, ())


def test_a_tool_that_the_project_has_will_do_in_its_version(tmp_path: Path) -> None:
    locked(Beside("x", ("JupyterLab>=4,<5",)), tmp_path)
    locked(Beside("x", more=("jupyterlab<4",)), tmp_path)


@pytest.mark.parametrize(
    "wanted",
    [Beside("x", ("debugpy",)), Beside("x", more=("jupyterlab>=4",)), Beside("x", more=("jupyterlab[test]",))],
)
def test_what_the_project_has_not_is_resolved(tmp_path: Path, wanted: Beside) -> None:
    with pytest.raises(Asked):
        locked(wanted, tmp_path)


@pytest.mark.parametrize("text", ["-r other.txt", "===", "--index-url=https://index.example"])
def test_no_option_of_the_resolver_comes_in_as_a_requirement(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="no requirement"):
        locked(Beside("x", more=(text,)), tmp_path)

"""The lock's inputs: what changes them, and what does not."""

from __future__ import annotations

import pytest

from trainload.project.detect import read_project
from trainload.project.inputs import inputs, inputs_digest
from trainload.testing.tree import MemoryTree, Node

BASE: dict[str, Node] = {"train.py": "", "requirements.txt": "numpy\nscipy>=1\n"}


def digest(nodes: dict[str, Node], environ: dict[str, str] | None = None) -> str:
    tree = MemoryTree({**BASE, **nodes})
    return inputs_digest(tree, read_project(tree, environ=environ or {}), environ=environ or {})


@pytest.mark.parametrize(
    "nodes",
    [
        {"train.py": "print('edited')"},
        {"requirements.txt": "\ufeff# why\r\nnumpy  # this\r\n\r\nscipy>=1"},
        {"trainload.toml": 'exclude = ["x"]\n[run]\nmemory = "8g"'},
        {"trainload.toml": 'mirrors.pypi = ["https://mirror.example/simple"]'},
        {"trainload.toml": 'command = ["python", "other.py"]\nuser = 7\nenv = { A = "b" }'},
        {"pyproject.toml": "[tool.ruff]\nline-length = 99"},
    ],
)  # fmt: skip
def test_F07_what_does_not_decide_the_lock_does_not_change_its_inputs(nodes: dict[str, Node]) -> None:
    assert digest(nodes) == digest({})


@pytest.mark.parametrize(
    "config",
    [
        'python = "3.12"', 'base = "apt:trixie"', 'profile = "dev"', 'system = ["ffmpeg"]', 'accelerator = "cu128"',
        'platforms = ["linux/arm64"]', 'index = "https://a.example/simple"', 'extra-index = ["https://a.example/simple"]',
        'find-links = ["wheels"]',
    ],
)  # fmt: skip
def test_what_decides_the_lock_changes_its_inputs(config: str) -> None:
    assert digest({"trainload.toml": config}) != digest({})


def test_requirements_includes_and_constraints_change_the_inputs() -> None:
    seen = {
        digest({}),
        digest({"requirements.txt": "numpy\n"}),
        digest({"requirements.txt": "numpy\n-r more.txt", "more.txt": "scipy"}),
        digest({"requirements.txt": "numpy\n-r more.txt", "more.txt": "scipy>1"}),
        digest({"requirements.txt": "numpy\n-c more.txt", "more.txt": "scipy>1"}),
        digest({"requirements.txt": "x @ https://${V}/x.whl"}, {"V": "a.example"}),
        digest({"requirements.txt": "x @ https://${V}/x.whl"}, {"V": "b.example"}),
    }
    assert len(seen) == 7


def test_pyproject_and_foreign_locks_change_the_inputs() -> None:
    project = '[project]\ndependencies = ["numpy"]\n'
    table = "[tool.trainload]\nrequirements = []\n"
    seen = {
        digest({"pyproject.toml": project + table}),
        digest({"pyproject.toml": project.replace("numpy", "scipy") + table}),
        digest({"pyproject.toml": project + table + "[tool.uv]\nprerelease = 'allow'"}),
        digest({"pyproject.toml": project, "uv.lock": "a"}),
        digest({"pyproject.toml": project, "uv.lock": "b"}),
        digest({"pylock.toml": "a\n"}),
    }
    assert len(seen) == 6
    assert digest({"pylock.toml": "a\r\n"}) == digest({"pylock.toml": "a\n"})


def test_folders_of_this_machine_are_no_input_of_the_project() -> None:
    assert digest({}, {"TRAINLOAD_FIND_LINKS": "/wheels"}) == digest({})


def test_credentials_are_neither_told_nor_counted() -> None:
    one = {"TRAINLOAD_INDEX_URL": "https://me:hunter2@a.example/simple"}
    tree = MemoryTree(BASE)
    found = inputs(tree, read_project(tree, environ=one))
    assert found["indexes"] == ["https://a.example/simple"]
    assert digest({}, one) == digest({}, {"TRAINLOAD_INDEX_URL": "https://a.example/simple"})

"""A uv.lock is honoured as it stands; one that pyproject.toml has left behind is told."""

from __future__ import annotations

import pytest

from trainload.project.uvlock import outdated
from trainload.testing.tree import MemoryTree

LOCK = """version = 1

[[package]]
name = "six"
version = "1.16.0"
source = { registry = "https://index.example/simple" }

[[package]]
name = "mine"
version = "0.1"
source = { SOURCE = "." }
dependencies = [
    { name = "six" },
]

[package.metadata]
requires-dist = [
    { name = "six", specifier = "==1.16.0" },
    { name = "rich", extras = ["a"], marker = "python_full_version >= '3.9'", specifier = ">=13,<15" },
    { name = "near", directory = "../near" },
]

[package.metadata.requires-dev]
dev = [{ name = "iniconfig" }]

[[package]]
name = "zlast"
version = "1"
"""
ASKED = ("Six==1.16.0", "rich[a] <15,>=13 ; python_version >= '3.9'", "near>=2")


def told(*dependencies: str, source: str = "virtual", text: str = LOCK) -> str | None:
    tree = MemoryTree({"uv.lock": text.replace("SOURCE", source)})
    text_ = outdated(tree, "uv.lock", dependencies)
    return None if text_ is None else str(text_)


@pytest.mark.parametrize("source", ["virtual", "editable"])
def test_a_lock_made_for_these_dependencies_is_not_mentioned(source: str) -> None:
    assert told(*ASKED, source=source) is None


@pytest.mark.parametrize(
    ("dependencies", "differing"),
    [
        (("six==1.17.0", *ASKED[1:]), "(six)"),
        ((*ASKED, "tqdm"), "(tqdm)"),
        (ASKED[1:], "(six)"),
    ],
)
def test_another_version_one_more_and_one_less_are_told_by_name(
    dependencies: tuple[str, ...], differing: str
) -> None:
    said = told(*dependencies)
    assert said is not None
    assert differing in said
    assert "uv lock" in said


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[[package]]\nname = 1\n",
        LOCK.replace("requires-dist = [", "x = = ["),
        LOCK.replace("requires-dist = [", f"x = {'9' * 5000}\nrequires-dist = ["),
        LOCK.replace("requires-dist = [", f"x = {'[' * 5000}\nrequires-dist = ["),
    ],
)
def test_what_is_not_understood_is_left_to_uv(text: str) -> None:
    assert told("six", text=text) is None

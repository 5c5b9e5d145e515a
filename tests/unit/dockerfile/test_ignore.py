"""What of a folder is in the build context."""

from __future__ import annotations

import pytest

from trainload.dockerfile.ignore import Ignored, context_entries, ignore_file, read_ignored
from trainload.errors import ConfigError
from trainload.testing.tree import MemoryTree

FILES = ("a.py", "b.log", "keep.log", "node/x/y.js", "node/keep/z.js", "data/big.bin", "src/m.py", "src/t/m.log")


def seen(text: str) -> list[str]:
    tree = MemoryTree(dict.fromkeys(FILES, b""))
    return [e.path for e in context_entries(tree, Ignored(text, ".dockerignore"), lambda _: True) if e.size == 0
            and "." in e.path.rpartition("/")[2]]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "out"),
    [
        ("", set()),
        ("*.log", {"b.log", "keep.log"}),
        ("**/*.log", {"b.log", "keep.log", "src/t/m.log"}),
        ("*.log\n!keep.log", {"b.log"}),
        ("node", {"node/x/y.js", "node/keep/z.js"}),
        ("/node/\r\n", {"node/x/y.js", "node/keep/z.js"}),
        ("node\n!node/keep", {"node/x/y.js"}),
        ("*\n!src", {"a.py", "b.log", "keep.log", "node/x/y.js", "node/keep/z.js", "data/big.bin"}),
        ("# a.py\n\n  data  ", {"data/big.bin"}),
        ("s?c/[lmn].py", {"src/m.py"}),
    ],
)
def test_patterns_are_dockers(text: str, out: set[str]) -> None:
    assert set(FILES) - set(seen(text)) == out


def test_a_folder_that_is_out_is_there_when_something_in_it_is_taken_back() -> None:
    tree = MemoryTree(dict.fromkeys(FILES, b""))
    paths = [e.path for e in context_entries(tree, Ignored("node\n!node/keep", "x"), lambda _: True)]
    assert "node" in paths
    assert "node/x" not in paths


def test_the_file_beside_the_dockerfile_goes_before_the_contexts() -> None:
    tree = MemoryTree({".dockerignore": b"a.py", "docker/D": b"", "docker/D.dockerignore": b"b.log"})
    assert ignore_file(tree, "docker/D") == "docker/D.dockerignore"
    assert read_ignored(tree, "docker/D").out("b.log")
    assert read_ignored(tree, "Dockerfile").out("a.py")


def test_a_pattern_that_means_nothing_is_told() -> None:
    with pytest.raises(ConfigError):
        Ignored("[", ".dockerignore")

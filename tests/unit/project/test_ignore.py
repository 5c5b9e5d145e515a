"""Ignore patterns mean what git says they mean, and none of them is slow."""

from __future__ import annotations

import shutil
import subprocess
import time
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainload.errors import ConfigError
from trainload.project.ignore import Rules, parse


def ignored(rules: Rules, path: str) -> bool:
    """As git walks: a folder that is ignored hides what is in it."""
    parts = path.split("/")
    for length in range(1, len(parts) + 1):
        rule = rules.find(parts[:length], folder=length < len(parts))
        if rule is not None and not rule.negated:
            return True
    return False


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("*.pyc", "a/b.pyc", "a/b.py"),
        ("/a", "a", "b/a"),
        ("a/b", "a/b", "c/a/b"),
        ("doc/", "doc/x", "doc"),
        ("**/x", "a/b/x", "a/b/xy"),
        ("a/**", "a/b/c", "b/a"),
        ("a/**/b", "a/b", "a/bc"),
        ("a/**/b", "a/x/y/b", "x/a/b"),
        ("**", "a", "") , ("?.py", "a.py", "ab.py"),
        ("[!a].py", "b.py", "a.py"), ("[]x].py", "].py", "a.py"), ("[a-c]", "b", "d"),
        (r"\#x", "#x", "x"), (r"\!x", "!x", "x"), ("a\\ ", "a ", "a"), ("a  ", "a", "a  "),
        ("x[", "y/none", "x["), ("a*b*c", "aXbYc", "aXbY"), ("[[:digit:]]x", "1x", "ax"),
    ],
)  # fmt: skip
def test_patterns_mean_what_git_says(pattern: str, yes: str, no: str) -> None:
    rules = parse([pattern])
    assert (ignored(rules, yes) or pattern == "x[") and not (no and ignored(rules, no))


def test_the_last_rule_decides() -> None:
    rules = parse(["*.csv", "!small.csv", "# a comment", ""])
    assert ignored(rules, "data/big.csv")
    assert not ignored(rules, "data/small.csv")


PIECES = st.sampled_from(["a", "b", "ab", "*", "*.py", "a*", "?", "**", "[ab]", "*a*b", "a.py"])
PATTERN = st.builds(
    lambda bang, lead, names, tail: bang + lead + "/".join(names) + tail,
    st.sampled_from(["", "", "!"]),
    st.sampled_from(["", "/"]),
    st.lists(PIECES, min_size=1, max_size=3),
    st.sampled_from(["", "/"]),
)
NAMES = ["a", "b", "ab", "a.py", "aab", "c"]
PATHS = [
    *NAMES,
    *("/".join(pair) for pair in product(NAMES, NAMES)),
    *("/".join(t) for t in product("ab", NAMES, "abc")),
]


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_law_we_ignore_what_git_ignores(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)

    @settings(max_examples=150, deadline=None)
    @given(st.lists(PATTERN, min_size=1, max_size=4))
    def law(patterns: list[str]) -> None:
        (tmp_path / ".gitignore").write_text("\n".join(patterns))
        done = subprocess.run(
            ["git", "-C", tmp_path, "check-ignore", "--no-index", "--stdin"],
            check=False, capture_output=True, text=True, input="\n".join(PATHS),
        )  # fmt: skip
        rules = parse(patterns)
        assert [path for path in PATHS if ignored(rules, path)] == done.stdout.split()

    law()


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_git_itself_agrees(tmp_path: Path) -> None:
    patterns = [
        "*.log", "!keep.log", "/build", "data/**", "!data/small/", "docs/*.txt", "**/cache", "a/**/z", "x\\*y",
        "[0-9]*", "trailing/", "space\\ ", "!/build/keep", "**/deep/**",
    ]  # fmt: skip
    paths = [
        "a.log", "keep.log", "d/keep.log", "build/x", "build/keep", "src/build/x", "data/x", "data/small/y",
        "docs/a.txt", "docs/b/a.txt", "p/q/cache/f", "a/z", "a/b/c/z", "x*y", "xay", "1file", "f1", "trailing/x",
        "b/trailing/x",
        "trailing2", "space ", "space", "deep/x", "q/deep/r/s", "q/deep",
    ]  # fmt: skip
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text("\n".join(patterns))
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        if not (tmp_path / path).exists():
            (tmp_path / path).write_text("")
    done = subprocess.run(
        ["git", "-C", tmp_path, "ls-files", "-z", "--others", "--exclude-standard"], check=True, capture_output=True
    )
    kept = set(done.stdout.decode().strip("\0").split("\0")) - {".gitignore"}
    rules = parse(patterns)
    files = [path for path in paths if (tmp_path / path).is_file()]
    assert {path for path in files if not ignored(rules, path)} == kept


def test_P11_no_pattern_is_slow() -> None:
    rules = parse(["a*" * 200 + "b", "**/" * 100 + "z", "?*" * 100 + "x", "*[ab]*" * 50])
    start = time.process_time()
    for path in ("a" * 255, "/".join(["a"] * 100), "b" * 255):
        ignored(rules, path)
    assert time.process_time() - start < 3  # a third of it on an idle machine


def test_P11_an_ignore_file_without_end_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"\.gitignore:2001: there are too many patterns"):
        parse((f"a{n}" for n in range(10**6)), file=".gitignore")
    with pytest.raises(ConfigError, match="too long"):
        parse(["*" * 5000])

"""The lock of a Dockerfile: written and read back, whatever is in it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainload.builder.dockerfile.lockfile import Answers
from trainload.errors import LockError
from trainload.lock.answers import Answer, blob, dumps, loads
from trainload.lock.model import Blob
from trainload.testing.tree import MemoryTree

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES: Any = st.recursive(
    st.one_of(WORDS, st.booleans(), st.integers(-(2**62), 2**62)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=3)),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(WORDS.filter(lambda word: word != "version"), st.dictionaries(WORDS, VALUES, max_size=3)))
def test_what_is_written_is_read_back(answers: dict[str, dict[str, Any]]) -> None:
    assert loads(dumps(answers), "Dockerfile.lock") == answers


def test_equal_answers_give_equal_bytes_in_lines() -> None:
    one: dict[str, Answer] = {"FROM b": {"digest": "sha256:2", "list": ["x"]}, "FROM a": {"digest": "sha256:1"}}
    assert dumps(one) == dumps(dict(reversed(one.items())))
    assert b'["FROM a"]\n"digest" = "sha256:1"\n\n["FROM b"]' in dumps(one)


@pytest.mark.parametrize("text", ["version = 2\n", "", "version = 1\nx = 3\n", "version = 1\n[", "\xff"])
def test_a_broken_or_newer_lock_is_refused(text: str) -> None:
    with pytest.raises(LockError):
        loads(text.encode("latin-1"), "Dockerfile.lock")


def test_a_digest_must_be_one() -> None:
    good = {"m": {"digest": "sha256:" + "0" * 64, "size": 3}}
    assert blob(good, "m", "f", "q") == Blob("sha256:" + "0" * 64, 3)
    for bad in ({}, {"m": {"digest": "md5:0", "size": 3}}, {"m": {"digest": "sha256:0", "size": "3"}}, {"m": 1}):
        with pytest.raises(LockError):
            blob(bad, "m", "f", "q")


def test_what_is_known_is_not_asked_and_what_is_new_is_refused_when_frozen() -> None:
    tree = MemoryTree({"L": dumps({"a": {"x": 1}, "old": {"y": 2}})})
    answers = Answers.read(tree, "L", frozen=True)
    assert answers.ask("a", lambda: {"x": 2}) == {"x": 1}
    with pytest.raises(LockError, match="does not hold what the Dockerfile asks for: b"):
        answers.ask("b", lambda: {"x": 2})
    assert answers.used == {"a": {"x": 1}}

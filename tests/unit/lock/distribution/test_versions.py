"""Debian's order of versions and the grammar of relations."""

from __future__ import annotations

import itertools
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainload.errors import LockError
from trainload.lock.distribution import relations
from trainload.lock.distribution.relations import Relation
from trainload.lock.distribution.versions import compare, satisfies
from trainload.system.process import run

ORDERED = [
    "0~~", "0~~a", "0~", "0", "0a", "0+", "0.0", "1.0~beta1~svn1245", "1.0~beta1", "1.0", "1.0-1~bpo1", "1.0-1",
    "1.0-1+b1", "1.0-1.1", "1.0-2", "1.0a", "1.0.4-2", "1.2.10", "1.10", "2.36-9+deb12u9", "2.36-9+deb12u14",
    "1:0", "1:1.0", "10:0",
]  # fmt: skip


def test_versions_are_ordered_as_deb_version_7_says() -> None:
    for one, other in itertools.pairwise(ORDERED):
        assert compare(one, other) < 0 < compare(other, one), (one, other)
    assert compare("1.0", "1.0-0") == 0 == compare("0:1", "1") == compare("1.00", "1.0")


VERSIONS = st.from_regex(r"(?:[0-9]:)?[0-9][0-9a-c.+~]{0,6}(?:-[0-9a-c.+~]{1,4})?", fullmatch=True)


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="needs dpkg, whose order is the law")
@settings(max_examples=150, deadline=None)
@given(VERSIONS, VERSIONS)
def test_dpkg_orders_versions_the_same(one: str, other: str) -> None:
    order = compare(one, other)
    for word, holds in (("lt", order < 0), ("eq", order == 0)):
        assert (run(["dpkg", "--compare-versions", one, word, other]).exit_code == 0) == holds


@given(VERSIONS, VERSIONS, VERSIONS)
def test_the_order_is_transitive_and_antisymmetric(a: str, b: str, c: str) -> None:
    assert (compare(a, b) > 0) == (compare(b, a) < 0)
    if compare(a, b) <= 0 and compare(b, c) <= 0:
        assert compare(a, c) <= 0


def test_relations_are_groups_of_alternatives() -> None:
    parsed = relations.parse("libc6 (>= 2.34), default-mta | mail-transport-agent, python3:any, a (<<1) [amd64]")
    assert parsed == (
        (Relation("libc6", None, ">=", "2.34"),),
        (Relation("default-mta"), Relation("mail-transport-agent")),
        (Relation("python3", "any"),),
        (Relation("a", None, "<<", "1"),),
    )
    assert relations.written(parsed[1]) == "default-mta | mail-transport-agent"


@pytest.mark.parametrize("text", ["a (=> 1)", "a (>= 1", "../x", "a b", "A"])
def test_D09_a_relation_outside_the_grammar_is_refused(text: str) -> None:
    with pytest.raises(LockError, match="not a relation"):
        relations.parse(text)


def test_D09_numbers_of_any_length_and_script_are_compared_and_never_a_crash() -> None:
    long = "9" * 10_000
    assert compare(f"1.{long}", "1.2") > 0 > compare(f"1.{long}", f"1.1{long}")
    assert compare("1.0007", "1.7") == 0
    for odd in (f"{long}:1", "\u00b2:1", "\u0663.1"):
        assert compare(odd, "1.0") == -compare("1.0", odd)


def test_obsolete_operators_mean_or_equal() -> None:
    assert satisfies("1", "<", "1")
    assert satisfies("1", ">", "1")
    assert not satisfies("1", ">>", "1")

"""References are read as Docker reads them, and nothing is added to them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainload.digest import Digest
from trainload.errors import ImageError
from trainload.reference import Reference

HEX = "a" * 64

READ = [
    ("python", "docker.io", "library/python", None, "python"),
    ("python:3.11-slim", "docker.io", "library/python", "3.11-slim", "python:3.11-slim"),
    ("nvidia/cuda:12.8.0", "docker.io", "nvidia/cuda", "12.8.0", "nvidia/cuda:12.8.0"),
    ("docker.io/library/python:3", "docker.io", "library/python", "3", "python:3"),
    ("index.docker.io/a/b", "docker.io", "a/b", None, "a/b"),
    ("localhost/a:b", "localhost", "a", "b", "localhost/a:b"),
    ("localhost:5000/a/b:tag", "localhost:5000", "a/b", "tag", "localhost:5000/a/b:tag"),
    ("localhost:5000/a", "localhost:5000", "a", None, "localhost:5000/a"),
    (
        "nvcr.io/nvidia/pytorch:25.01-py3",
        "nvcr.io",
        "nvidia/pytorch",
        "25.01-py3",
        "nvcr.io/nvidia/pytorch:25.01-py3",
    ),
    ("[::1]:5000/a", "[::1]:5000", "a", None, "[::1]:5000/a"),
    ("HOST/a", "HOST", "a", None, "HOST/a"),
    ("a--b__c/d.e", "docker.io", "a--b__c/d.e", None, "a--b__c/d.e"),
]


@pytest.mark.parametrize(("text", "domain", "path", "tag", "shown"), READ)
def test_a_reference_is_read_as_docker_reads_it(
    text: str, domain: str, path: str, tag: str | None, shown: str
) -> None:
    found = Reference.parse(text)
    assert (found.domain, found.path, found.tag, str(found)) == (domain, path, tag, shown)


def test_tag_and_digest_may_stand_together() -> None:
    found = Reference.parse(f"python:3@sha256:{HEX}")
    assert (found.tag, found.digest) == ("3", Digest("sha256", HEX))
    assert str(found) == f"python:3@sha256:{HEX}"
    assert found.full == f"docker.io/library/python:3@sha256:{HEX}"


def test_latest_is_never_written_by_us() -> None:
    assert Reference.parse("digits").full == "docker.io/library/digits"


WRONG = [
    "", ":", "a:", "a:b:c/d", "A/B", "Python", "a//b", "/a", "a/", "-a", "a@", "a@sha256:xyz",
    "a@sha256:" + "A" * 64, "a:" + "t" * 129, HEX, "a b", "a\nb", "../a", "a/../b", "a:../b",
    "x" * 250, "ho_st.x:80/a", "a.b:port/x",
    "sha256:../../x", "a\x1b[31m",
]  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_R07_what_is_not_a_reference_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(ImageError) as caught:
        Reference.parse(text)
    assert "\x1b" not in str(caught.value)


def test_capitals_get_the_name_in_small_letters() -> None:
    with pytest.raises(ImageError, match="written in small letters: python"):
        Reference.parse("Python:3")


@given(st.text(st.sampled_from("aA0.-_/:@[]\n "), max_size=30))
def test_what_is_printed_reads_as_the_same(text: str) -> None:
    try:
        found = Reference.parse(text)
    except ImageError:
        return
    assert Reference.parse(str(found)) == found
    assert Reference.parse(found.full) == found

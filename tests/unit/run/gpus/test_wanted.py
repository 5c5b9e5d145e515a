"""``--gpus`` means what it means to Docker."""

from __future__ import annotations

import pytest

from trainload.errors import UsageError
from trainload.run.gpus.wanted import wanted


@pytest.mark.parametrize(
    ("text", "count", "names"),
    [
        ("all", None, ()),
        ("count=all", None, ()),
        ("-1", None, ()),
        ("2", 2, ()),
        ("count=3", 3, ()),
        ("device=0", None, ("0",)),
        ("device=0,1", None, ("0", "1")),
        ('"device=0,1"', None, ("0", "1")),
        ("'\"device=0,1\",capabilities=utility'", None, ("0", "1")),
        ("device=1,1", None, ("1",)),
        ("device=GPU-3faa8-219,MIG-9a", None, ("GPU-3faa8-219", "MIG-9a")),
        ("device=0:1", None, ("0:1",)),
        ("device=nvidia.com/gpu=0", None, ("nvidia.com/gpu=0",)),
        ("driver=nvidia,count=1", 1, ()),
    ],
)
def test_all_a_number_and_devices(text: str, count: int | None, names: tuple[str, ...]) -> None:
    found = wanted(text)
    assert found is not None
    assert (found.count, found.names) == (count, names)


@pytest.mark.parametrize("text", [None, "none", "0", "count=0"])
def test_none_at_all(text: str | None) -> None:
    assert wanted(text) is None


def test_capabilities() -> None:
    found = wanted('all,"capabilities=gpu,compute,utility"')
    assert found is not None
    assert found.capabilities == {"compute", "utility"}


@pytest.mark.parametrize(
    "text", ["many", "device=", "device=../x", "1.5", "-2", "99999", "all,capabilities=root", "x=1", "device=a b"]
)
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not understood"):
        wanted(text)

"""JSON that nests without end is told from JSON that does not before a parser recurses (THREATS F06, R05)."""

from __future__ import annotations

import json

import pytest

from trainload.nesting import loads, too_deep


@pytest.mark.parametrize("opened", ["[", '{"a":'])
def test_F06_the_limit_and_one_more(opened: str) -> None:
    closed = "]" if opened == "[" else "}"
    at_limit = opened * 20 + "1" + closed * 20
    assert not too_deep(at_limit, 20)
    assert too_deep(opened + at_limit + closed, 20)
    assert loads(at_limit) == json.loads(at_limit)


@pytest.mark.parametrize(
    "text", ['"[[[["', r'"\"[[[["', r'["\\", "[[[", "]"]', '["' + "[" * 50 + '"]', "[[1], [2], {}, {}]"]
)
def test_F06_brackets_in_texts_and_side_by_side_do_not_nest(text: str) -> None:
    assert not too_deep(text, 2)
    assert loads(text) == json.loads(text)


@pytest.mark.parametrize(
    "text", ["[" * 1_000_000, '{"a":' * 200_000, '"x' + "[" * 50_000, '"' + '\\"' * 200_000 + "[" * 200]
)
def test_F06_what_is_never_closed_ends_in_a_plain_refusal(text: str) -> None:
    with pytest.raises(ValueError, match="nested too deeply|Unterminated"):
        loads(text)


@pytest.mark.parametrize("data", [b"NaN", b"[Infinity]", b"\xff", b"\xef\xbb\xbf{}", b"", b"{]"])
def test_R05_what_is_not_json_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        loads(data)

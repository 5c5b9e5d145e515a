"""What nests without end (JSON, TOML, markers) is found before a parser recurses (THREATS F06, R05)."""

from __future__ import annotations

import json
import tomllib

import pytest
from packaging.markers import InvalidMarker
from packaging.requirements import InvalidRequirement

from trainload.nesting import loads, marker, requirement, too_deep, too_deep_toml


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


@pytest.mark.parametrize(
    "before",
    [
        "",
        'a = """[[[ "" \\""" ]"""\n',
        'a = """x""""\n',
        'a = """x"""""\n',
        'a = """"""\n',
        "a = '''[[[ '' \\'''\n",
        "a = '''x''''\n",
        'a = "[[[\\"[[["\n',
        "a = '[[[\\'\n",
        "a = ''  # [[[ \" ''' [[[\n",
        "[t.\"[[[\".'[[[']\n",
    ],
)
def test_F06_brackets_of_toml_are_told_from_those_in_texts(before: str) -> None:
    for opened, closed in (("[", "]"), ("{b=", "}")):
        text = f"{before}c = {opened * 3}1{closed * 3}\n"
        assert tomllib.loads(text)
        assert not too_deep_toml(text, 3)
        assert too_deep_toml(text, 2)


def test_F06_markers_nest_to_a_limit() -> None:
    def nested(levels: int) -> str:
        return f"{'(' * levels}os_name == '((((' or os_name == 'posix'{')' * levels}"

    assert marker(nested(100)).evaluate({"os_name": "posix"})
    assert requirement(f"six>=1 ; {nested(100)}").name == "six"
    for levels in (101, 100_000):
        with pytest.raises(InvalidMarker, match="nested too deeply"):
            marker(nested(levels))
        with pytest.raises(InvalidRequirement, match="nested too deeply"):
            requirement(f"six ; {nested(levels)}")

from __future__ import annotations

import io

from trainload.cli.render import colours, error_document, error_lines, table
from trainload.cli.texts import Catalogue
from trainload.errors import ConfigError, LockError, ManyErrors, Place, Text

ENGLISH = Catalogue()
ERROR = ConfigError(
    Text("{key} is not a key", key="usr"),
    place=Place("pyproject.toml", inside="tool.trainload.usr"),
    got="usr",
    want=Text("one of {words}", words="user"),
    hints=["did you mean {words}?".format(words="user"), "or remove it"],
)


def test_an_error_says_where_what_got_want_then_hints_after_an_empty_line() -> None:
    assert error_lines(ERROR, ENGLISH) == [
        "error: pyproject.toml: tool.trainload.usr: usr is not a key",
        "  got: usr",
        "  want: one of user",
        "",
        "hint: did you mean user?",
        "hint: or remove it",
    ]


def test_many_errors_are_all_told() -> None:
    lines = error_lines(ManyErrors([ERROR, LockError("no lock")]), ENGLISH)
    assert [line for line in lines if line.startswith("error:")] == [
        "error: pyproject.toml: tool.trainload.usr: usr is not a key",
        "error: no lock",
    ]
    assert lines[-1] == "2 problems found"


def test_S11_what_hostile_input_says_cannot_move_the_cursor() -> None:
    error = LockError(
        Text("{name} is refused", name="a\x1b[2Jb\nhint: run rm -rf"),
        place=Place("x\x07.whl", inside="m\x1b]0;t\x07"),
        got=b"\x1b[31m",
    )
    text = "\n".join(error_lines(error, ENGLISH))
    assert "\x1b" not in text and "\x07" not in text
    assert text.count("\n") == 1, "one line for the error, one for what was got"


def test_colours_are_for_terminals_that_want_them() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert colours(Terminal(), {})
    assert not colours(Terminal(), {"NO_COLOR": "1"})
    assert not colours(Terminal(), {"TERM": "dumb"})
    assert not colours(io.StringIO(), {})
    assert error_lines(LockError("no lock"), ENGLISH, colour=True) == ["\x1b[1;31merror\x1b[0m: no lock"]


def test_json_holds_the_same_facts() -> None:
    document = error_document(ERROR, ENGLISH)
    assert document["kind"] == "ConfigError"
    assert document["place"] == "pyproject.toml: tool.trainload.usr"
    assert document["hints"] == ["did you mean user?", "or remove it"]
    assert document["want"] == "one of user"


def test_a_table_lines_up_with_wide_characters() -> None:
    lines = table(["NAME", "SIZE"], [["数字", "5 MB"], ["gpt", "192 MB"]], ENGLISH, right=[1])
    assert lines == ["NAME    SIZE", "数字    5 MB", "gpt   192 MB"]


def test_errors_speak_chinese() -> None:
    zh = Catalogue.load("zh")
    assert error_lines(LockError(Text("{folder} is not a folder", folder="数据")), zh) == ["错误：数据 不是目录"]

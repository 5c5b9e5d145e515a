"""Requirements, pyproject.toml and ``system`` get what was captured; every other byte stays."""

from __future__ import annotations

import tomllib

import pytest

from trainload.capture.configuration import with_system
from trainload.capture.model import Distribution, Source
from trainload.capture.requirements import Wanted, in_file, in_pyproject, wanted
from trainload.errors import ConfigError


def test_versions_are_pinned_or_bounded_and_a_build_is_the_accelerators_to_choose() -> None:
    found = (
        Distribution("torch", "2.13.0+cpu"),
        Distribution("dep", "1", asked=False),
        Distribution("old", None, "1"),
    )
    assert wanted(found, pin=True)[0] == Wanted({"torch": "==2.13.0"}, frozenset({"old"}))
    assert wanted(found, pin=False)[0].set == {"torch": ">=2.13.0"}


@pytest.mark.parametrize(
    ("source", "url"),
    [
        (Source.VCS, "https://user:secret@git.example/x"), (Source.FOLDER, "file:///src"),
        (Source.EDITABLE, "file:///app"), (Source.URL, "https://files.example/x.tar.gz"),
        (Source.URL, "https://u:secret@files.example/x-1-py3-none-any.whl"),
    ],
)  # fmt: skip
def test_what_has_no_hash_elsewhere_is_told_and_its_password_is_not(source: Source, url: str) -> None:
    asked, notes = wanted((Distribution("x", "1", source=source, url=url),), pin=True)
    assert (asked.set, len(notes)) == ({}, 1)
    assert "secret" not in str(notes[0])


def test_a_wheel_by_its_address_is_written_so() -> None:
    url = "https://files.example/x-1-py3-none-any.whl"
    assert wanted((Distribution("x", "1", source=Source.URL, url=url),), pin=True)[0].set == {"x": f" @ {url}"}


def test_a_line_keeps_its_spelling_extras_marker_and_comment() -> None:
    text = "# needs\r\nRich[jupyter] >= 13 ; python_version > '3.8'  # pretty\r\nsix\r\nold_one==1\r\n"
    asked = Wanted({"rich": "==15.0", "new": "==1"}, frozenset({"old-one"}))
    assert in_file(text, asked, "requirements.txt", {"rich": 2, "old-one": 4}) == (
        "# needs\r\nRich[jupyter]==15.0 ; python_version > '3.8'  # pretty\r\nsix\r\nnew==1\r\n"
    )


def test_what_is_added_starts_on_a_line_of_its_own() -> None:
    assert in_file("six", Wanted({"b": "==1", "a": "==2"}), "r.txt", {}) == "six\na==2\nb==1\n"


def test_a_compiled_file_is_not_edited() -> None:
    text = "rich==13 --hash=sha256:00\n"
    with pytest.raises(ConfigError, match="another tool made the file"):
        in_file(text, Wanted({"rich": "==15"}), "requirements.txt", {"rich": 1})


def test_pyproject_keeps_its_comments_and_its_lines() -> None:
    text = (
        '[project]\nname = "x"  # ours\ndependencies = [\n    "Rich[jupyter]>=13; python_version > \'3\'", # nice\n'
        '    "six",\n]\n\n[tool.other]\nkey = 1 # kept\n'
    )
    new = in_pyproject(text, Wanted({"rich": "==15", "new": "==1"}, frozenset({"six"})))
    assert tomllib.loads(new)["project"]["dependencies"] == ["Rich[jupyter]==15; python_version > '3'", "new==1"]
    assert "# ours" in new and "# nice" in new and "key = 1 # kept" in new
    assert '\n    "new==1"' in new


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("", ""), ("", "tool.trainload"), ('name = "x"\n[run]\ngpus = "all"\n', ""),
        ('[project]\nname = "x"\n', "tool.trainload"), ('[tool.ruff]\nx = 1\n', "tool.trainload"),
        ('[tool.trainload]\nname = "x" # ours\n[tool.trainload.run]\ngpus = "all"\n', "tool.trainload"),
    ],
)  # fmt: skip
def test_system_is_made_where_it_belongs(text: str, table: str) -> None:
    new = tomllib.loads(with_system(text, table, {"tree", "file"}, ()))
    place = new
    for part in filter(None, table.split(".")):
        place = place[part]
    assert place.pop("system") == ["file", "tree"]
    old = tomllib.loads(text)
    if table:
        old.setdefault("tool", {}).setdefault("trainload", {})
    assert new == old


def test_system_keeps_comments_and_says_nothing_twice() -> None:
    text = 'system = [  # pagers\n  "less",\n  "more", # old\n]\n'
    new = with_system(text, "", {"less", "tree"}, {"more"})
    assert tomllib.loads(new) == {"system": ["less", "tree"]}
    assert "# pagers" in new

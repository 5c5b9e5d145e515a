"""`trainload init` explains and never half-writes; `trainload schema` says what the configuration accepts."""

from __future__ import annotations

import io
import json
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from trainload.cli.init import with_table
from trainload.cli.main import run
from trainload.errors import ConfigError
from trainload.project.config import read_sources
from trainload.project.examples import EXAMPLES
from trainload.project.keys import KEYS
from trainload.project.kinds import Wrong
from trainload.project.model import Origin
from trainload.project.schema import schema
from trainload.system.tree import DiskTree
from trainload.testing.tree import MemoryTree


def call(folder: Path, *argv: str, **environ: str) -> tuple[int, str, str]:
    stdout, stderr = io.StringIO(), io.StringIO()
    given = {"TRAINLOAD_HOME": str(folder / ".home"), "LANG": "C.UTF-8", **environ}
    code = run(argv, environ=given, cwd=folder, stdout=stdout, stderr=stderr)
    return code, stdout.getvalue(), stderr.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "digits"
    folder.mkdir()
    (folder / "train.py").write_text("import numpy\n")
    (folder / "requirements.txt").write_text("numpy\n")
    return folder


def test_init_writes_a_configuration_that_means_the_same(folder: Path) -> None:
    code, out, err = call(folder, "init")
    assert code == 0, err
    assert "train.py is here" in out
    assert "wrote trainload.toml" in err
    text = (folder / "trainload.toml").read_text()
    assert tomllib.loads(text) == {
        "name": "digits", "requirements": ["requirements.txt"], "command": ["python", "train.py"],
    }  # fmt: skip
    assert "# Why: train.py is here.\ncommand" in text
    for key in KEYS:
        assert re.search(rf"^(?:# )?{re.escape(key.path.rpartition('.')[2])} = ", text, re.M), key.path


def test_every_line_that_is_commented_out_is_right_when_it_is_not(folder: Path) -> None:
    call(folder, "init")
    text = (folder / "trainload.toml").read_text()
    live = re.sub(r"^# (?=\[|[a-z-]+ = )", "", text, flags=re.M)
    sources = read_sources(MemoryTree({"trainload.toml": live}), {}, {})
    assert set(sources.values[Origin.FILE]) == {key.path for key in KEYS} - {"variant"}, "there is none yet"


def test_init_adds_a_table_to_pyproject_and_touches_nothing_else(folder: Path) -> None:
    old = "# mine\r\n[project]\r\nname='x'   # odd\r\ndependencies = []\r\n\r\n[tool.ruff]\r\nline-length=1\r\n"
    (folder / "pyproject.toml").write_bytes(old.encode())
    assert call(folder, "init")[0] == 0
    new = (folder / "pyproject.toml").read_bytes().decode()
    assert new.startswith(old.rstrip())
    assert "\n" not in new.replace("\r\n", "")
    assert tomllib.loads(new)["tool"]["trainload"]["command"] == ["python", "train.py"]
    assert not (folder / "trainload.toml").exists()


def test_init_refuses_to_overwrite_and_force_keeps_what_was_set(folder: Path) -> None:
    mine = 'index = "https://packages.example/simple"\nsystem = ["ffmpeg"]\n[run]\nmemory = "1g"\n'
    (folder / "trainload.toml").write_text(mine)
    code, _, err = call(folder, "init")
    assert code == 1
    assert "trainload.toml: there is a configuration already; nothing was written" in err
    assert "trainload init --force" in err
    assert (folder / "trainload.toml").read_text() == mine
    assert call(folder, "init", "--force")[0] == 0
    found = tomllib.loads((folder / "trainload.toml").read_text())
    assert (found["index"], found["system"], found["run"]) == (
        "https://packages.example/simple", ["ffmpeg"], {"memory": 2**30},
    )  # fmt: skip
    assert call(folder, "init", "--force")[0] == 0
    assert tomllib.loads((folder / "trainload.toml").read_text()) == found


def test_force_replaces_the_table_of_pyproject_once(folder: Path) -> None:
    (folder / "pyproject.toml").write_text(
        "[tool.trainload]\nuser = 7\n[tool.trainload.run]\ncpus = 2\n[tool.x]\na = 1\n"
    )
    assert call(folder, "init", "--force")[0] == 0
    found = tomllib.loads((folder / "pyproject.toml").read_text())["tool"]
    assert (found["x"], found["trainload"]["user"], found["trainload"]["run"]) == ({"a": 1}, 7, {"cpus": 2})


def test_nothing_is_written_when_the_project_is_not_understood(folder: Path) -> None:
    (folder / "requirements.txt").unlink()
    before = sorted(path.name for path in folder.iterdir())
    code, out, err = call(folder, "init")
    assert (code, out) == (1, "")
    assert "numpy (train.py:1)" in err
    assert sorted(path.name for path in folder.iterdir()) == before


def test_a_file_that_cannot_take_a_table_stays_as_it_is() -> None:
    with pytest.raises(ConfigError, match="a table cannot be added to this file; nothing was written"):
        with_table(b"tool = { ruff = { x = 1 } }\n", "[tool.trainload]\n", "pyproject.toml")


def test_variables_of_this_machine_are_not_written(folder: Path) -> None:
    assert call(folder, "init", TRAINLOAD_BASE="apt:trixie", TRAINLOAD_FIND_LINKS="/machine")[0] == 0
    assert "/machine" not in (folder / "trainload.toml").read_text()


def test_init_answers_in_json_too(folder: Path) -> None:
    code, out, _ = call(folder, "init", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["file"] == "trainload.toml"
    assert found["values"]["command"] == {
        "value": ["python", "train.py"], "origin": "detected", "reason": "train.py is here",
    }  # fmt: skip


def test_schema_is_printed(tmp_path: Path) -> None:
    code, out, _ = call(tmp_path, "schema")
    assert code == 0
    assert json.loads(out) == json.loads(json.dumps(schema()))


def accepts(rule: Mapping[str, object], value: object) -> bool:
    """As a JSON Schema validator would, for the words our schema uses."""
    types: dict[str, type | tuple[type, ...]] = {
        "string": str,
        "integer": int,
        "number": (int, float),
        "boolean": bool,
        "array": list,
        "object": dict,
    }
    wanted = rule.get("type")
    names = [wanted] if isinstance(wanted, str) else list(wanted) if isinstance(wanted, list) else []
    if names and not any(
        isinstance(value, types[name]) and (name == "boolean" or not isinstance(value, bool)) for name in names
    ):
        return False
    named = rule.get("properties", {})
    assert isinstance(named, dict)

    def unnamed(table: dict[str, object]) -> dict[str, object]:
        return {name: one for name, one in table.items() if name not in named}

    tests: dict[str, Callable[[Any], bool]] = {
        "enum": lambda w: value in w,
        "pattern": lambda w: not isinstance(value, str) or re.search(w, value) is not None,
        "minLength": lambda w: not isinstance(value, str) or len(value) >= w,
        "minimum": lambda w: not isinstance(value, int) or value >= w,
        "maximum": lambda w: not isinstance(value, int) or value <= w,
        "exclusiveMinimum": lambda w: not isinstance(value, int | float) or value > w,
        "anyOf": lambda w: any(accepts(one, value) for one in w),
        "items": lambda w: not isinstance(value, list) or all(accepts(w, item) for item in value),
        "additionalProperties": lambda w: (
            not isinstance(value, dict) or all(w is not False and accepts(w, v) for v in unnamed(value).values())
        ),
        "properties": lambda w: (
            not isinstance(value, dict) or all(accepts(w[name], v) for name, v in value.items() if name in w)
        ),
        "required": lambda w: not isinstance(value, dict) or all(name in value for name in w),
        "propertyNames": lambda w: not isinstance(value, dict) or all(accepts(w, k) for k in value),
    }
    return all(test(rule[word]) for word, test in tests.items() if word in rule)


SAMPLES: list[object] = [
    "", "x", "apt:bookworm", "3.11", "8g", "8 gib", "-1", 0, 1, -1, 1.5, True, [], ["x"], [1], ["a b"], {},
    {"A": "b"},
    {"1": "b"}, {"A": 1}, "slim", "sandbox", "all", "cu128", "/app", "https://mirror.example/simple", ["8000:8000"],
    ["./data:/data:ro"], ["linux/amd64"], 2**40, {"docker.io": ["https://mirror.example"]},
    {"gpu1": {"address": "me@gpu1.example:22", "engine": "docker"}}, {"gpu1": {"engine": "docker"}},
    {"gpu1": {"address": "h", "engine": "moby"}}, {"gpu1": {"address": "h", "port": 22}},
    {"gpu1": {"address": "h", "folder": "a\nb"}},
]  # fmt: skip


def rules() -> dict[str, Mapping[str, object]]:
    top = schema()["properties"]
    assert isinstance(top, dict)
    flat = {path: rule for path, rule in top.items() if "properties" not in rule}
    for table in top.keys() - flat.keys():
        flat |= {f"{table}.{name}": rule for name, rule in top[table]["properties"].items()}
    return flat


def test_the_schema_has_every_key_and_nothing_else() -> None:
    assert set(rules()) == {key.path for key in KEYS} | {"variants"}
    assert set(EXAMPLES) <= set(rules())


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.path)
def test_what_the_configuration_accepts_the_schema_accepts(key: object) -> None:
    from trainload.project.keys import Key

    assert isinstance(key, Key)
    rule = rules()[key.path]
    examples = [EXAMPLES[key.path]] if key.path in EXAMPLES else []
    for value in [*SAMPLES, *examples]:
        try:
            key.kind.read(value)
        except Wrong:
            assert value not in examples
            continue
        assert accepts(rule, value), value


def test_a_schema_names_the_wrong_before_the_build_does() -> None:
    assert not accepts(rules()["user"], "root")
    assert not accepts(rules()["system"], ["Bad Name"])
    assert not accepts(rules()["env"], {"1X": "y"})


def test_the_tree_is_read_as_it_lies(folder: Path) -> None:
    assert DiskTree(folder).name == "digits"

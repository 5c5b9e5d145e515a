"""The shell's grammar as far as RUN lines are taken apart, against real shells; and that all else stays opaque."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from trainload.dockerfile.steps import RunProgram, Within
from trainload.dockerfile.understand.line import understand
from trainload.dockerfile.understand.parts import Beyond, Command
from trainload.dockerfile.understand.state import ROOT_HOME
from trainload.dockerfile.understand.words import commands
from trainload.dockerfile.understood import Opaque, RunLine, Understood

KNOWN = {"V": "one", "W": "two  three", "E": "", "S": " lead"}
PIECES = (
    "a", "b", "x", " ", " ", " ", "&&", " && ", ";", "\n", "'", '"', "\\", "\\\n", "$V", "${V}", "$W", "$E", "$S",
    "$", ">", " >f ", " >>f ", " >>g", "2>&1", " >/dev/null", "2>", "1", "2", "12", "#", " #", "=", " V=", "V=q ",
    "[", "]", "*", "?", "|", "||", "&", "(", ")", "`", "$(", "<", "<<", "~", "{", "}", "!", "-", ",", "^", "%", "é",
    "${V:-x}", "$((1))", "\t", "''", '""', '"$W"', "'$V'",
)  # fmt: skip
_TOOL = """#!/bin/sh
printf '%s\\0' "$#" "${0##*/}" "$@" >> "$LOG"
printf '%s|' "$@"
"""


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs ``a`` and ``b`` that say how they were called."""
    folder = tmp_path_factory.mktemp("tools")
    for name in ("a", "b"):
        (folder / name).write_text(_TOOL)
        (folder / name).chmod(0o755)
    return folder


def run(shell: str, script: str, tools: Path, folder: Path) -> tuple[list[list[str]], dict[str, str]]:
    """(calls, files) of ``script`` in an empty folder."""
    for old in folder.iterdir():
        old.unlink()
    log = tools / "log"
    log.unlink(missing_ok=True)
    env = {"PATH": f"{tools}:/usr/bin:/bin", "LOG": str(log), **KNOWN}
    done = subprocess.run(
        [shell, "-c", script], cwd=folder, env=env, capture_output=True, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, (shell, script, done.stderr)
    said = log.read_bytes().decode().split("\0")[:-1] if log.exists() else []
    calls = []
    while said:
        count = int(said[0]) + 2
        calls.append(said[1:count])
        said = said[count:]
    return calls, {each.name: each.read_text() for each in folder.iterdir()}


def meant(found: Sequence[Command]) -> tuple[list[list[str]], dict[str, str]]:
    """What the same calls would leave."""
    files: dict[str, str] = {}
    for command in found:
        if command.output is not None:
            text = "".join(f"{word.text}|" for word in command.words[1:]) or "|"
            before = files.get(command.output.path, "") if command.output.append else ""
            files[command.output.path] = before + text
    return [[word.text for word in command.words] for command in found], files


parts = st.tuples(st.sampled_from(["a ", "b ", "V=2 a ", ""]), st.lists(st.sampled_from(PIECES), max_size=6))
scripts = st.lists(parts, max_size=4).map(lambda found: "".join(f"{start}{''.join(rest)}" for start, rest in found))


@given(scripts)
@example("a 12>f")
@example("a $E#x")
@example("a $W>f")
@example("'V'=2 a")
@example('a "$W"$S$E')
@example("a >f >/dev/null")
@example("a >/dev/null >f")
@example("a\\\n b && \n\n b #c\na")
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_is_read_is_what_shells_do(tools: Path, tmp_path_factory: pytest.TempPathFactory, script: str) -> None:
    try:
        found = commands(script, KNOWN)
    except Beyond:
        return
    assume(all(command.name in ("a", "b") for command in found))
    assume(not any("/" in command.output.path for command in found if command.output))
    assume(not any(word.is_pattern for command in found for word in command.words))
    folder = tools / "here"
    folder.mkdir(exist_ok=True)
    for shell in ("/bin/dash", "/bin/bash"):
        if os.access(shell, os.X_OK):
            assert run(shell, script, tools, folder) == meant(found)


def line(script: str) -> RunLine:
    return RunLine(1, script, ("/bin/sh", "-c", script), ("/bin/sh", "-c"), {"V": "one"}, workdir="/app")


STRANGE = ("|", "||", "&", "(", ")", "`", "$(", "<", "<<<", "{", "}", "$UNKNOWN", "${V:-x}", "$$", "$?", "!",
           " *", " >x", "\x01", "é", "$((1))", "$'x'", "; exec sh ;", "; eval x ;", "; . x ;",
           "; if", "; unset V ;")  # fmt: skip
STATE = ("~", "; cd /x;", "; X=1 ;")
LINES = (
    "apt-get update && apt-get install -y git && rm -rf /var/lib/apt/lists/*",
    "pip install --no-cache-dir -r requirements.txt",
    "useradd -m app && mkdir -p /app/data",
    "ln -s /usr/bin/python3 /usr/bin/python",
    "huggingface-cli download org/model",
)


@given(st.sampled_from(LINES), st.sampled_from(STRANGE), st.data())
@settings(deadline=None)
def test_a_line_with_something_strange_between_words_is_run(known: str, strange: str, data: st.DataObject) -> None:
    places = [0, len(known), *(at for at in range(len(known)) if known[at] == " ")]
    at = data.draw(st.sampled_from(places))
    script = f"{known[:at]} {strange} {known[at:]}"
    found = understand(line(script))
    if strange in (" *", " >x") and isinstance(found, Understood):
        programs = [step for step in found.steps if isinstance(step, RunProgram)]
        assert any(strange.strip(" ") in step.argv[-1].replace("> ", ">") for step in programs), "run as it stands"
    else:
        assert isinstance(found, Opaque), script


@pytest.mark.parametrize("known", LINES)
@pytest.mark.parametrize("strange", STATE)
def test_what_a_shell_would_remember_is_asked_about_or_the_line_is_run(known: str, strange: str) -> None:
    plain = understand(line(known))
    assert isinstance(plain, Understood)
    for at in [0, len(known), *(at for at in range(len(known)) if known[at] == " ")]:
        script = f"{known[:at]} {strange} {known[at:]}"
        found = understand(line(script))
        if isinstance(found, Opaque):
            continue
        if strange == "~":  # whether that is root's home is seen when it is placed
            assert Within(home=ROOT_HOME) in found.steps and "~" not in str(found.steps), script
        else:  # between words it would end the command
            assert at == len(known), script
            assert found.steps == (*plain.steps, *([Within(folder="/x")] if "cd" in strange else [])), script


@given(st.text(max_size=60))
def test_any_text_is_understood_or_opaque(script: str) -> None:
    understand(line(script))


@given(st.sampled_from(LINES), st.integers(0, 80), st.characters(codec="utf-8"))
@settings(deadline=None)
def test_no_single_sign_breaks_the_reading(known: str, at: int, sign: str) -> None:
    understand(line(f"{known[:at]}{sign}{known[at + 1 :]}"))

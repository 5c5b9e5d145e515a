"""How compilers and headers that are not there are told apart from other failures."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainload.errors import Text
from trainload.lock.source import BuildSystem
from trainload.plan.sources import Job
from trainload.run.hooks import Backends
from trainload.run.model import Outcome

COMPILER = 'set build.packages = ["build-essential", "python3-dev"]'


def failure(tmp_path: Path, said: str) -> tuple[tuple[str, ...], str]:
    log = tmp_path / "log"
    log.write_text(said)
    backends = Backends(tmp_path, lambda digest: tmp_path, tmp_path / "logs")
    job = Job("a 1.0", BuildSystem(), ("wheel",), 1.0)
    error = backends.failure(job, log, Outcome(1, Text("exit code 1"), 0.0))
    assert (tmp_path / "logs" / "a-1.0.log").read_text() == said
    return error.said, str(error)


@pytest.mark.parametrize(
    "line",
    [
        "error: [Errno 2] No such file or directory: 'x86_64-linux-gnu-gcc'",
        "error: command 'gcc' failed: No such file or directory",
        "n.c:1:10: fatal error: Python.h: No such file or directory",
        "error: command 'x86_64-linux-gnu-g++' failed: No such file or directory: 'x86_64-linux-gnu-g++'",
        "configure: error: no acceptable C compiler found in $PATH",
        "../meson.build:1:0: ERROR: Unknown compiler(s): [['cc'], ['gcc'], ['clang']]",
        "CMake Error: No CMAKE_CXX_COMPILER could be found.",
    ],
)
def test_a_missing_compiler_is_told_with_the_key_that_brings_one(tmp_path: Path, line: str) -> None:
    _, text = failure(tmp_path, f"running build_ext\n{line}\n")
    assert COMPILER in text


def test_other_failures_do_not_speak_of_compilers(tmp_path: Path) -> None:
    lines = "".join(f"line {n}\n" for n in range(50))
    said, text = failure(tmp_path, f"{lines}ModuleNotFoundError: No module named 'x'\n")
    assert COMPILER not in text and "it needs something it does not ask for" in text
    assert said[-1] == "ModuleNotFoundError: No module named 'x'" and len(said) == 12

"""A command that starts Python, under debugpy; pure (debugpy's command line: github.com/microsoft/debugpy/wiki)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from trainload.errors import Text, UsageError
from trainload.plan.model import VENV

PORT = 5678
"""What editors offer for debugpy."""
REQUIREMENT = "debugpy>=1.8,<2"
ENVIRONMENT = {
    "PYTHONFAULTHANDLER": "1",  # a crash in native code says where in Python it happened
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # the debugger's own advice about frozen modules, which we follow
}
_INITS = ("tini", "tini-static", "dumb-init", "docker-init", "catatonit")
_PYTHON = re.compile(r"python(3(\.[0-9]+)?)?")
_SHELLS = ("sh", "bash", "dash", "zsh", "env", "nohup", "make")
_WITH_VALUE = ("-X", "-W", "--check-hash-based-pycs")


@dataclass(frozen=True, slots=True)
class Listening:
    """Where the debugger waits for an editor."""

    address: str
    """Inside."""
    port: int
    wait: bool = True
    """The program does not begin before the editor is there."""


def under_debugger(command: Sequence[str], listening: Listening) -> tuple[str, ...]:
    """``command`` with debugpy between Python and its program; processes that it starts are debugged too.

    A program that is no Python is taken for a script of the environment, such as ``torchrun``. Raises
    :class:`UsageError` for a shell, whose Python nobody sees from here, and for Python without a program.
    """
    init, program, arguments = _split(command)
    name = program.rpartition("/")[2]
    if name in _SHELLS:
        raise UsageError(
            Text("--debug needs a command that starts Python"),
            got=" ".join(command),
            hints=[Text('name the script: command = ["python", "train.py"]')],
        )
    if _PYTHON.fullmatch(name):
        flags, rest = _flags(arguments)
        if not rest:
            raise UsageError(Text("--debug needs a program for Python to run"), got=" ".join(command))
        return (*init, program, *flags, *_debugpy(listening), *rest)
    script = program if "/" in program or program.endswith(".py") else f"{VENV}/bin/{program}"
    return (*init, "python", *_debugpy(listening), script, *arguments)


def _debugpy(listening: Listening) -> tuple[str, ...]:
    wait = ("--wait-for-client",) if listening.wait else ()
    place = f"{listening.address}:{listening.port}"
    # frozen modules have no lines to stop at (Python 3.11); older ones do not mind the option
    return ("-X", "frozen_modules=off", "-m", "debugpy", "--listen", place, *wait)


def _split(command: Sequence[str]) -> tuple[tuple[str, ...], str, tuple[str, ...]]:
    """An init with its options, the program, its arguments."""
    at = 0
    if command[0].rpartition("/")[2] in _INITS:
        at = command.index("--") + 1 if "--" in command else 1
    if at >= len(command):
        raise UsageError(Text("--debug needs a command that starts Python"), got=" ".join(command))
    return tuple(command[:at]), command[at], tuple(command[at + 1 :])


def _flags(arguments: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Python's own options, and what it is to run: a script, ``-m MODULE`` or ``-c CODE``."""
    at = 0
    while at < len(arguments):
        word = arguments[at]
        if word.startswith(("-m", "-c")) and len(word) > 2:  # -mMODULE; debugpy knows only -m MODULE
            return arguments[:at], (word[:2], word[2:], *arguments[at + 1 :])
        if not word.startswith("-") or word in ("-", "-m", "-c"):
            break
        at += 2 if word in _WITH_VALUE else 1
    return arguments[:at], arguments[at:]


def attach_document(port: int, workdir: str) -> dict[str, object]:
    """What goes into ``configurations`` of an editor's ``launch.json`` (VS Code, debugpy's ``attach``)."""
    return {
        "name": "Trainload: attach",
        "type": "debugpy",
        "request": "attach",
        "connect": {"host": "127.0.0.1", "port": port},
        "pathMappings": [{"localRoot": "${workspaceFolder}", "remoteRoot": workdir}],
        "subProcess": True,
        "justMyCode": True,
    }

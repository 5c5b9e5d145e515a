"""Other checkers beside our own rules, run as programs."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from trainload.cli.world import World
from trainload.errors import Text, UsageError
from trainload.lint.kinds import kind_of
from trainload.lint.model import Finding
from trainload.lint.others import PROGRAMS, argv, findings
from trainload.system.process import ProcessError, run

_PATIENCE = 120.0
"""Seconds: kubeconform may fetch schemas."""


def others(world: World, name: str, programs: Sequence[str]) -> list[Finding]:
    """What ``programs`` find in the file. Raises :class:`UsageError` when one is missing or unclear."""
    path = world.cwd / name
    text = path.read_text(encoding="utf-8")
    found: list[Finding] = []
    for program in programs:
        kind, commands = PROGRAMS[program]
        if kind is not kind_of(text):
            continue
        command = _there(commands, world)
        try:
            done = run(argv(program, command, str(path)), env=world.environ, cwd=path.parent, timeout=_PATIENCE)
        except ProcessError as error:
            hint = Text("install it, or leave out --with {name}", name=program)
            raise UsageError(error.text, hints=[hint]) from error
        said = (done.exit_code, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))
        try:
            found += findings(program, said, name, text)
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(
                Text("{program} did not answer as expected", program=" ".join(command)),
                got=done.complaint or said[1][:200],
                hints=[Text("install it, or leave out --with {name}", name=program)],
            ) from error
    return found


def _there(commands: Sequence[Sequence[str]], world: World) -> Sequence[str]:
    """The first that is installed, where there are several; a program may be there and its plugin not."""
    for command in commands[:-1]:
        with contextlib.suppress(ProcessError):
            if run([*command, "version"], env=world.environ, timeout=_PATIENCE).exit_code == 0:
                return command
    if len(commands) > 1:
        with contextlib.suppress(ProcessError):
            run([*commands[-1], "version"], env=world.environ, timeout=_PATIENCE)
            return commands[-1]
    return commands[0]

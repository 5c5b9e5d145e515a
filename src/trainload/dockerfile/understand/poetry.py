"""``poetry install --no-root``: what is chosen of ``poetry.lock`` (python-poetry.org/docs/cli)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from trainload.dockerfile.installs import InstallPoetry
from trainload.dockerfile.steps import PlacedStep, RunProgram
from trainload.dockerfile.understand.options import Table, read
from trainload.dockerfile.understand.parts import Beyond
from trainload.dockerfile.understand.pip import is_yes
from trainload.dockerfile.understood import RunLine
from trainload.errors import Text

_POETRY = re.compile(r"(?:/[A-Za-z0-9_./-]+/)?poetry")
ALONE = (("POETRY_CACHE_DIR", "/dev/shm/poetry"), ("PYTHONDONTWRITEBYTECODE", "1"))  # noqa: S108
"""It leaves nothing but what it is called for."""
FAILS = Text("a project that Poetry cannot install offline from what is locked")
_HARMLESS = frozenset(
    {
        "POETRY_CACHE_DIR", "POETRY_HOME", "POETRY_NO_ANSI", "POETRY_NO_INTERACTION", "POETRY_VERSION",
        "POETRY_INSTALLER_PARALLEL", "POETRY_INSTALLER_MAX_WORKERS", "POETRY_REQUESTS_TIMEOUT",
        "POETRY_VIRTUALENVS_CREATE", "POETRY_VIRTUALENVS_IN_PROJECT",
    }
)  # fmt: skip
_TABLE = Table(
    flags={
        "--no-root": "bare", "-n": "plain", "--no-interaction": "plain", "--no-ansi": "plain", "-q": "plain",
        "--quiet": "plain", "-v": "plain", "--verbose": "plain", "--no-cache": "plain", "--compile": "plain",
        "--all-extras": "all-extras", "--no-plugins": "plain",
    },
    valued={
        "--only": "only", "--with": "with", "--without": "without", "-E": "extras", "--extras": "extras",
    },
)  # fmt: skip


def is_poetry(words: Sequence[str]) -> bool:
    return bool(words) and _POETRY.fullmatch(words[0]) is not None


def read_poetry(words: Sequence[str], env: Mapping[str, str], line: RunLine) -> tuple[PlacedStep, ...]:
    """What a call of Poetry does. Raises :class:`Beyond`."""
    for name in sorted(env):
        if name.startswith("POETRY_") and name not in _HARMLESS:
            raise Beyond(Text("the variable {name}, which is an option of {tool}", name=name, tool="poetry"))
    verb = words[1] if len(words) > 1 else ""
    if verb == "config" and not any(word.startswith("-") for word in words) and not line.mounts:
        return (RunProgram(tuple(words), ALONE, FAILS),)
    if verb != "install":
        raise Beyond(Text("{command}", command=" ".join(words[:2])))
    options = read(f"{words[0]} install", words[2:], _TABLE)
    if options.rest:
        raise Beyond(Text("{command}", command=" ".join((*words[:2], *options.rest))))
    if "bare" not in options.flags:
        raise Beyond(Text("{command} of the project itself", command="poetry install"))
    given = {name: env.get(f"POETRY_VIRTUALENVS_{name}") for name in ("CREATE", "IN_PROJECT")}
    said = {name: None if value is None else is_yes(value) for name, value in given.items()}
    listed = {
        name: tuple(one for text in options.all(name) for one in re.split(r"[\s,]+", text.strip()) if one)
        for name in ("only", "with", "without", "extras")
    }
    return (
        InstallPoetry(
            program=words[0],
            folder=line.workdir,
            only=listed["only"],
            more=listed["with"],
            less=listed["without"],
            extras=listed["extras"],
            every_extra="all-extras" in options.flags,
            creates=said["CREATE"],
            inside=said["IN_PROJECT"],
        ),
    )

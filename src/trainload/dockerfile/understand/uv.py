"""``uv venv``, ``uv export``, ``uv sync``: what of uv is no ``uv pip`` (docs.astral.sh/uv/reference/cli)."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence

from trainload.dockerfile.installs import InstallPython, SyncProject
from trainload.dockerfile.steps import Nothing, PlacedStep, RunProgram
from trainload.dockerfile.understand.options import Options, Table, read
from trainload.dockerfile.understand.parts import Beyond
from trainload.dockerfile.understand.pip import is_yes, read_pip
from trainload.dockerfile.understood import RunLine
from trainload.errors import Text
from trainload.values import replace

_UV = re.compile(r"(?:/[A-Za-z0-9_./-]+/|/)?uv")
ALONE = (
    ("PYTHONDONTWRITEBYTECODE", "1"), ("UV_LINK_MODE", "copy"), ("UV_NO_CACHE", "1"), ("UV_OFFLINE", "1"),
    ("UV_PYTHON_DOWNLOADS", "never"),
)  # fmt: skip
"""It takes what is there, and leaves nothing but what it is called for."""
FAILS = Text("what uv needs a network for")
_SEEDS = frozenset({"--seed"})
_CHOOSING = ("--no-dev", "--dev", "--only-dev", "--all-extras", "--all-groups", "--no-default-groups")
_NAMING = ("--extra", "--no-extra", "--group", "--no-group", "--only-group")
"""Options that choose among what is locked, and that ``uv export`` has, too."""
_TABLE = Table(
    flags={
        **{name: name for name in _CHOOSING}, "--locked": "locked", "--frozen": "frozen",
        "--no-install-project": "bare", "--no-editable": "--no-editable", "--inexact": "--inexact",
        "--exact": "plain", "--no-python-downloads": "plain", "-q": "plain", "--quiet": "plain", "-v": "plain",
        "--verbose": "plain", "--no-progress": "plain", "-n": "plain", "--no-cache": "plain",
        "--no-cache-dir": "plain", "--compile-bytecode": "plain", "--compile": "plain",
        "--no-compile-bytecode": "plain", "--no-compile": "plain",
    },
    valued={
        **{name: name for name in _NAMING}, "-p": "python", "--python": "python", "--link-mode": "plain",
        "--cache-dir": "plain", "--color": "plain", "--no-install-package": "without",
    },
)  # fmt: skip
_HEARD = ("UV_PYTHON", "UV_NO_EDITABLE")
"""Variables that uv itself hears when it is run."""


def is_uv(words: Sequence[str]) -> bool:
    return bool(words) and _UV.fullmatch(words[0]) is not None


def alone(words: Sequence[str]) -> bool:
    """Whether this call of uv reads and writes files, and asks an index for nothing it could do without."""
    verb = words[1] if len(words) > 1 and is_uv(words) else ""
    return verb == "export" or (verb == "venv" and not _SEEDS & set(words))


def read_uv(words: Sequence[str], env: Mapping[str, str], line: RunLine) -> tuple[PlacedStep, ...]:
    """What a call of uv does. Raises :class:`Beyond`."""
    if tuple(words[1:3]) in (("cache", "clean"), ("cache", "prune")):
        return (Nothing(" ".join(words[:3])),)
    if words[1:2] == ("sync",):
        return (_sync(words, env, line.workdir),)
    if not alone(words) or any(mount.kind == "bind" for mount in line.mounts):
        raise Beyond(Text("{command}", command=" ".join(words[:2])))
    return (RunProgram(tuple(words), ALONE, FAILS),)


def _sync(words: Sequence[str], env: Mapping[str, str], folder: str) -> SyncProject:
    options = read(f"{words[0]} sync", words[2:], _TABLE)
    if options.rest:
        raise Beyond(Text("{command}", command=" ".join((*words[:2], *options.rest))))
    place = posixpath.normpath(posixpath.join(folder, env.get("UV_PROJECT_ENVIRONMENT") or ".venv"))
    given = {name: value for name, value in env.items() if name not in _HEARD}
    (tools,) = read_pip(("uv", "pip", "install", "--python", place, "setuptools"), given, folder)
    assert isinstance(tools, InstallPython)
    frozen = "frozen" in options.flags or ("locked" not in options.flags and is_yes(env.get("UV_FROZEN", "")))
    python = options.one("python")
    return SyncProject(
        program=words[0],
        folder=folder,
        environment=place,
        chosen=_chosen(options, env),
        more=(
            *(name for name in ("--no-editable", "--inexact") if name in options.flags),
            *((f"--python={python}",) if python is not None else ()),
        ),
        without=options.all("without"),
        project=not {"bare", "--only-dev"} & options.flags and not options.all("--only-group"),
        checked=not frozen,
        tools=replace(tools, requirements=()),
    )


def _chosen(options: Options, env: Mapping[str, str]) -> tuple[str, ...]:
    flags = [name for name in _CHOOSING if name in options.flags]
    if is_yes(env.get("UV_NO_DEV", "")) and not {"--dev", "--only-dev"} & options.flags:
        flags = list(dict.fromkeys(["--no-dev", *flags]))
    return (*flags, *(f"{name}={value}" for name in _NAMING for value in options.all(name)))

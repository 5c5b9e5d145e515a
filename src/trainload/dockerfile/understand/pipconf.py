"""``pip config set global.index-url …``: which of pip's files gets which line (pip config)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from trainload.dockerfile.steps import PlacedStep, SetPip
from trainload.dockerfile.understand.options import Table, read
from trainload.dockerfile.understand.parts import Beyond
from trainload.errors import Text

_TABLE = Table({"--user": "user", "--global": "global", "-q": "plain", "--quiet": "plain"})
_PIP = re.compile(r"pip3?")
_KEY = re.compile(r"[a-z][a-z-]*\.[a-z][a-z-]*")
_MOVED = ("XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "PIP_CONFIG_FILE")
"""Variables that name other files."""


def is_config(words: Sequence[str]) -> bool:
    return len(words) > 1 and _PIP.fullmatch(words[0]) is not None and words[1] == "config"


def read_config(words: Sequence[str], env: Mapping[str, str]) -> tuple[PlacedStep, ...]:
    """Raises :class:`Beyond`."""
    options = read("pip config", words[2:], _TABLE)
    moved = [name for name in _MOVED if name in env]
    if moved:
        raise Beyond(Text("the variable {name}, which changes what programs do", name=moved[0]))
    if len(options.rest) != 3 or options.rest[0] != "set" or {"user", "global"} <= options.flags:
        raise Beyond(Text("{command}", command="pip config"))
    _, key, value = options.rest
    if not _KEY.fullmatch(key) or not value or value != value.strip() or not value.isascii() or "\n" in value:
        raise Beyond(Text("{command}", command=f"pip config set {key}"))
    section, _, name = key.partition(".")
    whole = "global" in options.flags
    return (SetPip(words[0], section, name, value, env.get("PATH", ""), env.get("HOME", ""), whole),)

"""``uv venv``, ``uv export`` and what else of uv is no ``uv pip`` (docs.astral.sh/uv/reference/cli)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from trainload.dockerfile.steps import Nothing, PlacedStep, RunProgram
from trainload.dockerfile.understand.parts import Beyond
from trainload.dockerfile.understood import RunLine
from trainload.errors import Text

_UV = re.compile(r"(?:/[A-Za-z0-9_./-]+/|/)?uv")
ALONE = (("UV_LINK_MODE", "copy"), ("UV_NO_CACHE", "1"), ("UV_OFFLINE", "1"), ("UV_PYTHON_DOWNLOADS", "never"))
"""It takes what is there, and leaves nothing but what it is called for."""
FAILS = Text("what uv needs a network for")
_SEEDS = frozenset({"--seed"})


def is_uv(words: Sequence[str]) -> bool:
    return bool(words) and _UV.fullmatch(words[0]) is not None


def alone(words: Sequence[str]) -> bool:
    """Whether this call of uv reads and writes files, and asks an index for nothing it could do without."""
    verb = words[1] if len(words) > 1 and is_uv(words) else ""
    return verb == "export" or (verb == "venv" and not _SEEDS & set(words))


def read_uv(words: Sequence[str], line: RunLine) -> tuple[PlacedStep, ...]:
    """What a call of uv does. Raises :class:`Beyond`."""
    if tuple(words[1:3]) in (("cache", "clean"), ("cache", "prune")):
        return (Nothing(" ".join(words[:3])),)
    if not alone(words) or any(mount.kind == "bind" for mount in line.mounts):
        raise Beyond(Text("{command}", command=" ".join(words[:2])))
    return (RunProgram(tuple(words), ALONE, FAILS),)

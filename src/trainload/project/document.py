"""TOML documents read at the border: bounded, whatever their line ends, every mistake with its file and line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping

from trainload.charset import hint
from trainload.errors import ConfigError, Place, Text
from trainload.limits import DEFAULT, KiB
from trainload.nesting import too_deep_toml
from trainload.tree import Tree

LIMIT = 512 * KiB
"""Bytes of a hand-written TOML file; ``tomllib`` reads about 1 MB/s of the densest TOML (THREATS F06: < 1 s)."""
_DOTTED = re.compile(r"""(?:(?:[A-Za-z0-9_-]+|"[^"\n]*+"|'[^'\n]*+')[ \t]*\.[ \t]*){101}""")


def decode(data: bytes, file: str) -> str:
    """UTF-8 with or without a byte order mark, any line end (THREATS F07). Raises :class:`ConfigError`."""
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ConfigError(
            Text("the file is not UTF-8 text"),
            place=Place(file, line=data.count(b"\n", 0, error.start) + 1),
            got=f"byte 0x{data[error.start]:02x} at offset {error.start}",
            hints=[hint(data, file)],
        ) from error


def read_toml(tree: Tree, file: str) -> Mapping[str, object]:
    """The document at ``file``. Raises :class:`ConfigError` when it is too large, too deep or not TOML."""
    text = decode(tree.read(file, limit=LIMIT), file)
    for number, line in enumerate(text.split("\n"), 1):
        # each level of a dotted key costs tomllib the length of its prefix
        if line.count(".") > DEFAULT.nesting and _DOTTED.search(line):
            raise _too_deep(file, number)
    if too_deep_toml(text):
        raise _too_deep(file)
    try:
        document = tomllib.loads(text)
    except ValueError as error:  # tomllib's own, and int() for a number of 4,300 digits
        reason = str(error)
        at = re.search(r" \(at line (\d+), column \d+\)$", reason)
        raise ConfigError(
            Text("this is not TOML: {reason}", reason=reason[: at.start()] if at else reason),
            place=Place(file, line=int(at[1]) if at else None),
        ) from error
    if _depth(document) > DEFAULT.nesting:
        raise _too_deep(file)
    return document


def _too_deep(file: str, line: int | None = None) -> ConfigError:
    return ConfigError(
        Text("tables and arrays are nested too deep"),
        place=Place(file, line=line), want=f"at most {DEFAULT.nesting} levels",
    )  # fmt: skip


def _depth(document: object) -> int:
    level, depth = [document], 0
    while level and depth <= DEFAULT.nesting:
        below: list[object] = []
        for value in level:
            if isinstance(value, dict):
                below.extend(value.values())
            elif isinstance(value, list):
                below.extend(value)
        level, depth = below, depth + 1
    return depth


def table_at(document: Mapping[str, object], *path: str) -> Mapping[str, object]:
    """The table at ``path``, empty when it is not there or not a table."""
    current: object = document
    for part in path:
        current = current.get(part) if isinstance(current, Mapping) else None
    return current if isinstance(current, Mapping) else {}

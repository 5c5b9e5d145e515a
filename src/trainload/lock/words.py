"""TOML as a lock writes it: lists with a line for each value, tables on one line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping


def listed(key: str, values: Iterable[str]) -> Iterator[str]:
    """A list with one value per line."""
    items = [f"    {value}," for value in values]
    yield from [f"{key} = [", *items, "]"] if items else [f"{key} = []"]


def inline(pairs: Mapping[str, object]) -> str:
    """A table on one line."""
    return "{ " + ", ".join(f"{key} = {_value(value)}" for key, value in pairs.items()) + " }"


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return inline(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else text(str(value))


def text(value: str) -> str:
    """A TOML basic string: JSON's escapes are TOML's, but for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")

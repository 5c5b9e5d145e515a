"""JSON of a package, strictly: no key twice, no NaN (THREATS C08, F06)."""

from __future__ import annotations

import json
from typing import NoReturn

from trainload.errors import LayerError, Place, Text


def parse(data: bytes, place: Place) -> dict[str, object]:
    """The document's object. Raises :class:`LayerError` when it is none."""

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a key comes twice")
        return found

    def constant(name: str) -> NoReturn:
        raise ValueError(f"{name} is no number")

    try:
        found = json.loads(data, object_pairs_hook=once, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, ValueError) else "nested too deeply"
        raise LayerError(Text("the file is not valid JSON: {reason}", reason=reason), place=place) from error
    if not isinstance(found, dict):
        raise LayerError("the file is not a JSON object", place=place)
    return found


def text(values: dict[str, object], key: str, place: Place) -> str:
    """A mandatory string. Raises :class:`LayerError`."""
    value = values.get(key)
    if not isinstance(value, str):
        raise LayerError(Text("{key} is missing or no text", key=key), place=place, got=repr(value)[:80])
    return value


def objects(values: dict[str, object], key: str, place: Place) -> list[dict[str, object]]:
    """A list of objects. Raises :class:`LayerError`."""
    found = values.get(key, [])
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise LayerError(Text("{key} is no list of objects", key=key), place=place)
    return found

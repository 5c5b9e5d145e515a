"""JSON of a package, strictly: no key twice, no NaN (THREATS C08, F06)."""

from __future__ import annotations

from trainload.errors import LayerError, Place, Text
from trainload.nesting import loads


def parse(data: bytes, place: Place) -> dict[str, object]:
    """The document's object. Raises :class:`LayerError` when it is none."""

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a key comes twice")
        return found

    try:
        found = loads(data, pairs=once)
    except ValueError as error:
        raise LayerError(Text("the file is not valid JSON: {reason}", reason=str(error)), place=place) from error
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

"""JSON of other people's making, read as the image specification demands it (I-JSON, RFC 7493; THREATS R05)."""

from __future__ import annotations

import json
import re

from trainload.errors import ImageError, Place, Text
from trainload.limits import DEFAULT
from trainload.nesting import too_deep

_LARGEST = 2**53
"""RFC 7493 § 2.2: beyond it other readers see other numbers."""
_SURROGATE = re.compile("[\ud800-\udfff]")


class _RefusedError(ValueError):
    """A reason found inside the parser."""


def parse_object(
    data: bytes, where: str, *, limit: int = DEFAULT.manifest, nesting: int = DEFAULT.nesting
) -> dict[str, object]:
    """As :func:`parse_value`. Raises :class:`ImageError` also for anything but an object."""
    value = parse_value(data, where, limit=limit, nesting=nesting)
    if not isinstance(value, dict):
        raise _refuse(where, type(value).__name__, "a JSON object")
    return value


def parse_value(
    data: bytes, where: str, *, limit: int = DEFAULT.manifest, nesting: int = DEFAULT.nesting
) -> object:
    """The JSON value in ``data``; ``where`` names it in errors.

    Raises :class:`ImageError` for duplicate keys, NaN, a byte order mark, invalid UTF-8, numbers beyond 2^53,
    lone surrogates, more than ``limit`` bytes or deeper than ``nesting``.
    """
    if len(data) > limit:
        raise _refuse(where, f"more than {limit} bytes", "a smaller document")
    try:
        text = data.decode("utf-8")
        if too_deep(text, nesting):
            raise _refuse(where, "nesting too deep", f"at most {nesting} levels")
        value = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_constant, parse_int=_integer, parse_float=_real
        )
        _check_texts(value)
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError and ours
        raise _refuse(where, str(error), "I-JSON (RFC 7493)") from error
    return value


def _refuse(where: str, got: str, want: str) -> ImageError:
    return ImageError(Text("this JSON document cannot be trusted"), place=Place(where), got=got[:300], want=want)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _RefusedError(f"the key {key!r} twice")
            seen.add(key)
    return made


def _constant(text: str) -> object:
    raise _RefusedError(f"the number {text}")


def _integer(text: str) -> int:
    if len(text) > 17 or abs(int(text)) > _LARGEST:
        raise _RefusedError(f"the number {text[:40]}, beyond 2^53")
    return int(text)


def _real(text: str) -> float:
    value = float(text)
    if abs(value) > _LARGEST:
        raise _RefusedError(f"the number {text[:40]}, beyond 2^53")
    return value


def _check_texts(value: object) -> None:
    level = [value]
    while level:
        inner: list[object] = []
        for item in level:
            if isinstance(item, dict):
                inner += item.keys()
                inner += item.values()
            elif isinstance(item, list):
                inner += item
        for item in inner:
            if isinstance(item, str) and _SURROGATE.search(item):
                raise _RefusedError("a lone surrogate")
        level = [item for item in inner if isinstance(item, dict | list)]

"""The JSON Schema (2020-12) of the configuration, for editors; derived from the table of keys."""

from __future__ import annotations

from collections.abc import Mapping

from trainload.project.examples import EXAMPLES
from trainload.project.keys import KEYS, Key


def schema() -> dict[str, object]:
    """What ``trainload.toml`` and ``[tool.trainload]`` of ``pyproject.toml`` may hold."""
    top: dict[str, object] = {}
    for key in KEYS:
        table, _, name = key.path.rpartition(".")
        _properties(top, table)[name] = _key(key)
    below = {"type": "string", "description": "Another variant, which this one stands on."}
    of_variants = {name: value for name, value in top.items() if name not in ("variant", "matrix", "hosts")}
    top["variants"] = {
        "type": "object",
        "description": "The project with some keys set otherwise; arrays add.",
        "additionalProperties": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                **of_variants,
                "inherits": below,
            },
        },
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Trainload: trainload.toml, or [tool.trainload] of pyproject.toml",
        "type": "object",
        "additionalProperties": False,
        "properties": top,
    }


def _properties(top: dict[str, object], table: str) -> dict[str, object]:
    if not table:
        return top
    inner = top.setdefault(table, {"type": "object", "additionalProperties": False, "properties": {}})
    assert isinstance(inner, dict)
    properties = inner["properties"]
    assert isinstance(properties, dict)
    return properties


def _key(key: Key[object]) -> dict[str, object]:
    found: dict[str, object] = {**key.kind.schema, "description": key.meaning}
    if key.default is not None and not key.detected:
        found["default"] = _plain(key.default)
    if key.path in EXAMPLES:
        found["examples"] = [EXAMPLES[key.path]]
    return found


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value

"""Settings written into the project's configuration, whose comments and order stay; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def with_settings(text: str, table: Sequence[str], settings: Mapping[str, str]) -> str:
    """``text``: of ``trainload.toml`` (``table`` empty) or ``pyproject.toml`` (``tool``, ``trainload``)."""
    import tomlkit

    document = tomlkit.parse(text)
    place = document
    for number, part in enumerate(table):
        if part not in place:
            place[part] = tomlkit.table(is_super_table=number < len(table) - 1)
        place = place[part]
    for name, value in settings.items():
        place[name] = value
    return tomlkit.dumps(document)

"""``system = [...]`` in the project's configuration: added to and taken from, its comments kept."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tomlkit.items import Array


def with_system(text: str, table: str, add: Collection[str], remove: Collection[str]) -> str:
    """``text`` is ``trainload.toml`` (``table`` empty) or ``pyproject.toml`` (``tool.trainload``)."""
    import tomlkit

    document = tomlkit.parse(text)
    place = document
    for part in filter(None, table.split(".")):
        if part not in place:
            place[part] = tomlkit.table(is_super_table=part != "trainload")
        place = place[part]
    if "system" not in place:
        place["system"] = tomlkit.array()
    array: Array = place["system"]
    for number in reversed(range(len(array))):
        if str(array[number]) in remove:
            del array[number]
    for name in sorted(add):
        if name not in [str(one) for one in array]:
            array.append(name)
    return tomlkit.dumps(document)

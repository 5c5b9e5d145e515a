"""Conda packages among the changes, by the records that conda and its kin keep of them (``conda-meta/*.json``).

They are only named: which environment file they belong to, and with which bounds, is the user's to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress

from trainload.nesting import loads
from trainload.run.changed import Changed, How

_RECORD = re.compile(r"(?P<prefix>(?:.*/)?)conda-meta/(?P<name>[^/]+)-(?P<version>[^/-]+)-(?P<build>[^/-]+)\.json")


def wanted(changes: Iterable[Changed]) -> Iterator[str]:
    """Paths that must be read."""
    yield from (one.path for one in changes if one.how is not How.DELETED and _RECORD.fullmatch(one.path))


def packages(changes: Iterable[Changed]) -> tuple[tuple[str, How], ...]:
    """``name=version`` and what happened to it, sorted; a new version is ADDED."""
    found: dict[str, tuple[str, How]] = {}
    for change in sorted(changes, key=lambda one: one.how is not How.DELETED):
        match = _RECORD.fullmatch(change.path)
        if match is not None and change.how is not How.CHANGED:
            found[match["name"]] = (f"{match['name']}={match['version']}", change.how)
    return tuple(sorted(found.values()))


def files(changes: Iterable[Changed], texts: Mapping[str, bytes]) -> frozenset[str]:
    """Paths that belong to them: the records, and what these list."""
    found: set[str] = set()
    for change in changes:
        known = _RECORD.fullmatch(change.path)
        if known is None:
            continue
        top = known["prefix"]
        found |= {change.path, f"{top}conda-meta/history"}
        with suppress(ValueError):
            record = loads(texts.get(change.path, b""))
            match record:
                case {"files": [*names]}:
                    found |= {f"{top}{name}" for name in names if isinstance(name, str)}
    return frozenset(found)

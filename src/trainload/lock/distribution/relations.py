"""Relations between packages: ``a (>= 1) | b:any, c`` (Debian policy 7.1, deb-control(5))."""

from __future__ import annotations

import re
from functools import lru_cache

from trainload.errors import LockError, Text
from trainload.lock.distribution.versions import OPERATORS, satisfies
from trainload.values import dataclass

_ONE = re.compile(
    r"\s*([a-z0-9][a-z0-9+.-]*)(?::([a-z0-9-]+))?\s*(?:\(\s*([<>=]{1,2})\s*([^\s()]+)\s*\))?\s*(?:\[[^\]]*\])?\s*",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Relation:
    """One package, perhaps of certain versions."""

    name: str
    qualifier: str | None = None
    """``any``, ``native`` or an architecture."""
    operator: str | None = None
    version: str | None = None

    def holds_for(self, version: str) -> bool:
        if self.operator is None or self.version is None:
            return True
        return satisfies(version, self.operator, self.version)

    def holds_for_provided(self, version: str | None) -> bool:
        """An unversioned Provides satisfies unversioned relations only (Debian policy 7.5)."""
        return self.operator is None or (version is not None and self.holds_for(version))

    def __str__(self) -> str:
        name = f"{self.name}:{self.qualifier}" if self.qualifier else self.name
        return f"{name} ({self.operator} {self.version})" if self.operator else name


Group = tuple[Relation, ...]
"""Alternatives, the preferred one first."""


def written(group: Group) -> str:
    return " | ".join(map(str, group))


@lru_cache(maxsize=1 << 14)
def parse(text: str) -> tuple[Group, ...]:
    """The groups of a relation field. Raises :class:`LockError` for anything outside the grammar."""
    return tuple(
        tuple(_relation(alternative, text) for alternative in group.split("|"))
        for group in text.split(",")
        if group.strip()
    )


def _relation(text: str, field: str) -> Relation:
    match = _ONE.fullmatch(text)
    if match is None or (match[3] is not None and match[3] not in OPERATORS):
        raise LockError(Text("{relation} is not a relation between packages", relation=text[:200]), got=field[:200])
    return Relation(match[1], match[2], match[3], match[4])

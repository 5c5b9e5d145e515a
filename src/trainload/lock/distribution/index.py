"""All packages of a distribution for one architecture: candidates and who provides what."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property

from trainload.lock.distribution import relations
from trainload.lock.distribution.pins import Priorities
from trainload.lock.distribution.relations import Group, Relation
from trainload.lock.distribution.stanzas import FIELDS
from trainload.lock.distribution.versions import by_version
from trainload.values import dataclass

_AT = {name: index for index, name in enumerate(FIELDS)}
_PRIORITIES = {"required": 1, "important": 2, "standard": 3, "optional": 4, "extra": 5}


@dataclass(frozen=True)
class Stanza:
    """One version of a package, as an index of ``archive`` and ``suite`` lists it.

    Not slotted: parsed relations are kept on it, for the few packages that are looked at.
    """

    archive: str
    suite: str
    values: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.values[0]

    @property
    def version(self) -> str:
        return self.values[1]

    @property
    def architecture(self) -> str:
        return self.values[2]

    def __getitem__(self, field: str) -> str:
        return self.values[_AT[field]]

    @property
    def essential(self) -> bool:
        return self["Essential"] == "yes"

    @property
    def important(self) -> bool:
        """apt's word for packages that may not be removed lightly."""
        return "yes" in (self["Important"], self["Protected"])

    @property
    def priority(self) -> int:
        return _PRIORITIES.get(self["Priority"], 0)

    @cached_property
    def depends(self) -> tuple[Group, ...]:
        """Pre-Depends, then Depends: what must be there."""
        return relations.parse(self["Pre-Depends"]) + relations.parse(self["Depends"])

    @cached_property
    def against(self) -> tuple[Relation, ...]:
        """Conflicts, then Breaks: what must not be there."""
        groups = relations.parse(self["Conflicts"]) + relations.parse(self["Breaks"])
        return tuple(relation for group in groups for relation in group)

    @cached_property
    def provides(self) -> tuple[Relation, ...]:
        return tuple(relation for group in relations.parse(self["Provides"]) for relation in group)


@dataclass(frozen=True, slots=True)
class Records:
    """One index file in compact form."""

    archive: str
    suite: str
    data: bytes


_LINE = re.compile(rb"([^\t\n]+)\t(?:[^\t\n]*\t){4}([^\t\n]*)\t(?:[^\t\n]*\t){14}([^\t\n]*)\n")
"""Name, Essential and Provides of a record."""
_NAMES = re.compile(rb"[a-z0-9][a-z0-9+.-]+(?=[\s,:(]|$)")


class Index:
    """Packages by name; records are parsed when they are looked at."""

    def __init__(self, files: Sequence[Records], priorities: Priorities | None = None) -> None:
        """``priorities``: which versions are better than newer ones; None: all archives are alike."""
        self._files = files
        self._priorities = priorities
        self._lines: dict[str, list[tuple[Records, int, int]]] = {}
        self._providers: dict[str, list[str]] = {}
        self._stanzas: dict[str, tuple[Stanza, ...]] = {}
        self._mentions: dict[str, tuple[int, int]] = {}
        self._essential: list[str] = []
        for file in files:
            for match in _LINE.finditer(file.data):
                name = match[1].decode()
                self._lines.setdefault(name, []).append((file, match.start(), match.end()))
                if match[2] == b"yes":
                    self._essential.append(name)
                for provided in _NAMES.findall(match[3]) if match[3] else ():
                    owners = self._providers.setdefault(provided.decode(), [])
                    if name not in owners:
                        owners.append(name)

    def names(self) -> Iterable[str]:
        return self._lines.keys()

    def essential(self) -> list[str]:
        """Names of packages that every system has, sorted (Debian policy 3.8)."""
        return sorted(name for name in set(self._essential) if (c := self.candidate(name)) and c.essential)

    def versions(self, name: str) -> tuple[Stanza, ...]:
        """Every listed version that may be taken, the best first; of equal ones the one listed first."""
        if name not in self._stanzas:
            found: dict[str, Stanza] = {}
            for stanza in self._preferred([_read(*place) for place in self._lines.get(name, ())]):
                found.setdefault(stanza.version, stanza)
            self._stanzas[name] = tuple(self._preferred(_newest_first(found.values())))
        return self._stanzas[name]

    def _preferred(self, stanzas: list[Stanza]) -> list[Stanza]:
        """Those that may be taken, those of the highest priority first."""
        if self._priorities is None:
            return stanzas
        of = self._priorities.of
        ranked = [(of(one.name, one.version, one.archive, one.suite), one) for one in stanzas]
        return [one for priority, one in sorted(ranked, key=lambda pair: -pair[0]) if priority > 0]

    def from_suite(self, name: str, suite: str) -> Stanza | None:
        """The newest version that an index of ``suite`` lists."""
        stanzas = [_read(*place) for place in self._lines.get(name, ()) if place[0].suite == suite]
        return _newest_first(stanzas)[0] if stanzas else None

    def candidate(self, name: str) -> Stanza | None:
        """What apt installs without further wishes: the newest of the highest priority."""
        versions = self.versions(name)
        return versions[0] if versions else None

    def providers(self, name: str) -> Sequence[str]:
        """Packages with a version that provides ``name``; the caller looks at the version it means."""
        return self._providers.get(name, ())

    def first_mention(self, name: str) -> tuple[int, int]:
        """Where ``name`` is first spoken of: (file, offset). The order in which apt numbers packages."""
        if name not in self._mentions:
            pattern = re.compile(rb"(?<![^\s,|])" + re.escape(name.encode()) + rb"(?=[\s,|(]|$)", re.MULTILINE)
            found = ((i, m.start()) for i, f in enumerate(self._files) if (m := _first(pattern, name, f.data)))
            self._mentions[name] = next(found, (len(self._files), 0))
        return self._mentions[name]


def _read(file: Records, start: int, end: int) -> Stanza:
    return Stanza(file.archive, file.suite, tuple(file.data[start : end - 1].decode().split("\t")))


def _first(pattern: re.Pattern[bytes], name: str, data: bytes) -> re.Match[bytes] | None:
    """``pattern.search``, at the speed of ``bytes.find``."""
    word, at = name.encode(), -1
    while (at := data.find(word, at + 1)) >= 0:
        if match := pattern.match(data, at):
            return match
    return None


def _newest_first(stanzas: Iterable[Stanza]) -> list[Stanza]:
    return sorted(stanzas, key=lambda stanza: by_version(stanza.version), reverse=True)

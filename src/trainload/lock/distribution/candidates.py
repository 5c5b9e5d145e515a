"""Which package versions can stand for a relation, and in which order apt would take them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from trainload.lock.distribution.index import Index, Stanza
from trainload.lock.distribution.relations import Group, Relation

Pool = Callable[[str], Stanza | None]
"""The version of a package that counts: the candidate, or the one chosen."""


def matches(relation: Relation, stanza: Stanza, architecture: str) -> bool:
    """Whether ``stanza`` itself, by its name, is what ``relation`` speaks of (multiarch spec, "Dependencies")."""
    if relation.qualifier == "any" and stanza["Multi-Arch"] != "allowed":
        return False
    if relation.qualifier not in (None, "any", "native", architecture):
        return False
    return relation.holds_for(stanza.version)


def provided(relation: Relation, stanza: Stanza, architecture: str) -> bool:
    """Whether ``stanza`` provides what ``relation`` speaks of (Debian policy 7.5)."""
    for offer in stanza.provides:
        if offer.name != relation.name or offer.operator not in (None, "="):
            continue
        if relation.qualifier == "any" and not (offer.qualifier == "any" or stanza["Multi-Arch"] == "allowed"):
            continue
        if relation.qualifier not in (None, "any", "native", architecture):
            continue
        if relation.holds_for_provided(offer.version):
            return True
    return False


class Candidates:
    """The relation rules over one index."""

    def __init__(self, index: Index, architecture: str) -> None:
        self.index = index
        self.architecture = architecture

    def of(self, relation: Relation, pool: Pool) -> Iterator[Stanza]:
        """Everything in ``pool`` that ``relation`` speaks of: the package itself first, then its providers."""
        named = pool(relation.name)
        if named is not None and matches(relation, named, self.architecture):
            yield named
        for owner in self.index.providers(relation.name):
            stanza = pool(owner)
            if stanza is not None and stanza is not named and provided(relation, stanza, self.architecture):
                yield stanza

    def satisfied(self, group: Group, pool: Pool) -> bool:
        return any(True for relation in group for _ in self.of(relation, pool))

    def in_order(self, group: Iterable[Relation], pool: Pool, protected: Iterable[str]) -> list[Stanza]:
        """What can satisfy ``group``, the one apt would try first first; no duplicates."""
        found: dict[str, Stanza] = {}
        for relation in group:
            several = list(self.of(relation, pool))
            if len(several) > 1:
                several.sort(key=lambda stanza: self._rank(stanza, relation, protected))
            for stanza in several:
                found.setdefault(stanza.name, stanza)
        return list(found.values())

    def _rank(self, stanza: Stanza, relation: Relation, protected: Iterable[str]) -> tuple[object, ...]:
        """apt's CompareProviders: wishes, the named package, essential, important, priority, last mentioned."""
        file, offset = self.index.first_mention(stanza.name)
        return (
            stanza.name not in protected,
            stanza.name != relation.name,
            not stanza.essential,
            not stanza.important,
            stanza.priority,
            (-file, -offset),
        )

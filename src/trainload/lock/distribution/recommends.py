"""What apt installs beside what is asked for: recommended packages of those that are new (apt.conf(5)).

Only where there is one answer. A recommendation that leaves a choice, or that does not go with the rest, is not
decided here, since apt's own decision would depend on the order of everything else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from trainload.errors import LockError, Place, Text
from trainload.lock.distribution import relations
from trainload.lock.distribution.candidates import Candidates
from trainload.lock.distribution.index import Index, Stanza
from trainload.lock.distribution.installed import Installed, choose_over
from trainload.lock.distribution.relations import Group


def choose_with_recommends(
    index: Index, architecture: str, wishes: Sequence[str], base: Installed
) -> tuple[Stanza, ...]:
    """As :func:`choose_over`, with what new packages recommend. Raises :class:`LockError`, also for a choice."""
    rules, wished = Candidates(index, architecture), list(wishes)
    while True:
        chosen = choose_over(index, architecture, wished, base)
        world = {**base, **{stanza.name: stanza for stanza in chosen}}
        more: dict[str, None] = {}
        for stanza in chosen:
            if stanza.name in base:
                continue  # of a newer version: apt looks only at what its older one did not recommend
            for group in relations.parse(stanza["Recommends"]):
                found = _recommended(group, rules, index, world)
                if found is not None and found not in wished:
                    more[found] = None
        if not more:
            return chosen
        wished += more


def check_current(index: Index, wishes: Sequence[str], base: Installed) -> None:
    """Raises :class:`LockError` for an installed package that apt would bring to a newer version."""
    for wish in wishes:
        name = re.split("[:=/]", wish, maxsplit=1)[0]
        candidate = index.candidate(name)
        if name in base and candidate is not None and candidate.version != base[name].version:
            raise LockError(
                Text("{package} of the base would be upgraded", package=name),
                place=Place("system"),
                got=f"{base[name].version} → {candidate.version}",
            )


def _recommended(group: Group, rules: Candidates, index: Index, world: Mapping[str, Stanza]) -> str | None:
    """The package to add; None: it is there, or nobody has it. Raises :class:`LockError` for a choice."""
    if rules.satisfied(group, world.get):
        return None
    there = [relation for relation in group if list(rules.of(relation, index.candidate))]
    if not there:
        return None
    first = there[0]
    candidate = index.candidate(first.name)
    if first is not group[0] or candidate is None or not first.holds_for(candidate.version):
        raise LockError(
            Text("the recommendation {group} leaves a choice", group=relations.written(group)),
            place=Place("system"),
        )
    return first.name

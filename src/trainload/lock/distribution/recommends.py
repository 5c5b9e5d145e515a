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
from trainload.lock.distribution.versions import compare


def choose_like_apt(
    index: Index, architecture: str, wishes: Sequence[str], base: Installed, *, recommends: bool
) -> tuple[Stanza, ...]:
    """As :func:`choose_over`, and what is wished becomes the newest, with what new packages recommend.

    Raises :class:`LockError`, also for a choice.
    """
    return _with_recommended(
        index, architecture, wishes, base, outdated(index, wishes, base), recommends=recommends
    )


def upgraded(
    index: Index, architecture: str, base: Installed, *, recommends: bool, new: bool
) -> tuple[Stanza, ...]:
    """The newest versions of all of ``base`` (``apt-get upgrade``); ``new``: packages may come (``dist-upgrade``).

    Raises :class:`LockError` where some cannot be had together, or need what may not come: apt keeps a choice back.
    """
    renewed = outdated(index, sorted(base), base)
    if not renewed:
        return ()
    found = _with_recommended(index, architecture, (), base, renewed, recommends=recommends and new)
    more = [stanza.name for stanza in found if stanza.name not in base]
    if more and not new:
        raise LockError(
            Text("an upgrade needs new packages: {names}", names=", ".join(more)), place=Place("system")
        )
    return found


def _with_recommended(
    index: Index,
    architecture: str,
    wishes: Sequence[str],
    base: Installed,
    renewed: Sequence[str],
    *,
    recommends: bool,
) -> tuple[Stanza, ...]:
    rules, wished = Candidates(index, architecture), list(wishes)
    while True:
        chosen = choose_over(index, architecture, wished, base, renewed)
        if not recommends:
            return chosen
        world = {**base, **{stanza.name: stanza for stanza in chosen}}
        more: dict[str, None] = {}
        for stanza in chosen:
            for group in _fresh(stanza, base.get(stanza.name)):
                found = _recommended(group, rules, index, world)
                if found is not None and found not in wished:
                    more[found] = None
        if not more:
            return chosen
        wished += more


def _fresh(stanza: Stanza, old: Stanza | None) -> Sequence[Group]:
    """What ``stanza`` recommends; of a newer version only what its older one did not (apt: MarkInstall)."""
    known = relations.parse(old["Recommends"]) if old is not None else ()
    named = {relation.name for group in known for relation in group}
    groups = relations.parse(stanza["Recommends"])
    return [group for group in groups if not any(relation.name in named for relation in group)]


def outdated(index: Index, wishes: Sequence[str], base: Installed) -> tuple[str, ...]:
    """Installed packages among ``wishes`` that apt would bring to a newer version. Raises :class:`LockError`."""
    found = []
    for wish in wishes:
        name = re.split("[:=/]", wish, maxsplit=1)[0]
        candidate = index.candidate(name)
        if name not in base or candidate is None or candidate.version == base[name].version:
            continue
        if name != wish:
            raise LockError(
                Text("{package} of the base would be upgraded", package=name),
                place=Place("system"),
                got=f"{base[name].version} → {candidate.version}",
            )
        if compare(candidate.version, base[name].version) > 0:
            found.append(name)
    return tuple(found)


def _recommended(group: Group, rules: Candidates, index: Index, world: Mapping[str, Stanza]) -> str | None:
    """The package to add; None: it is there, or nobody has it. Raises :class:`LockError` for a choice."""
    if rules.satisfied(group, world.get):
        return None
    there = [relation for relation in group if list(rules.of(relation, index.candidate))]
    if not there:
        return None
    first = there[0]
    names = {stanza.name for stanza in rules.of(first, index.candidate)}
    if len(names) == 1:
        return names.pop()  # ssh-client is only openssh-client; default-mta, before all others, exim4-daemon-light
    candidate = index.candidate(first.name)
    if first is not group[0] or candidate is None or not first.holds_for(candidate.version):
        raise LockError(
            Text("the recommendation {group} leaves a choice", group=relations.written(group)),
            place=Place("system"),
        )
    return first.name

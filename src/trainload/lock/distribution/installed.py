"""Packages that a base image has, as stanzas; and what must be placed so that the wishes hold in it.

As apt would with that status: what is installed stays while it satisfies what is asked for, and is replaced by the
distribution's version where it does not.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from trainload.errors import LockError, Place, Text
from trainload.lock.distribution.candidates import Candidates
from trainload.lock.distribution.choose import explained, wish
from trainload.lock.distribution.index import Index, Stanza
from trainload.lock.distribution.solver import Solver
from trainload.lock.distribution.stanzas import FIELDS, RELATIONS, field_values
from trainload.values import replace

_STATUS = re.compile(r"^Status: *\S+ +ok +installed *$", re.MULTILINE)
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_ROUNDS = 100  # each takes at least one more package anew; real ones need two or three
_SUITE = "installed"

Installed = Mapping[str, Stanza]


def installed(status: str, architecture: str) -> dict[str, Stanza]:
    """Name → the installed version, of dpkg's ``status``; other architectures' packages are left out."""
    found: dict[str, Stanza] = {}
    for text in status.split("\n\n"):
        if not _STATUS.search(text):
            continue
        stanza = Stanza("", _SUITE, field_values(text.encode()))
        if _NAME.fullmatch(stanza.name) and stanza.architecture in (architecture, "all"):
            found[stanza.name] = stanza
    return found


def choose_over(
    index: Index, architecture: str, wishes: Sequence[str], base: Installed, renewed: Collection[str] = ()
) -> tuple[Stanza, ...]:
    """What to place so that ``base`` has the ``wishes``, sorted by name. Raises :class:`LockError`.

    ``renewed``: packages of the base that are brought to the distribution's version in any case.
    """
    anew: set[str] = set(renewed)
    for _ in range(_ROUNDS):
        kept = {name: stanza for name, stanza in base.items() if name not in anew}
        wanted = [
            stanza
            for text in wishes
            if text not in kept and not _has(kept, stanza := wish(index, architecture, text))
        ]
        wanted += [_newer(index, base[name], wishes) for name in sorted(anew)]
        solver = Solver(index, architecture)
        # what is installed is taken as it is: it needs nothing more
        leaves = {name: _leaf(stanza) for name, stanza in kept.items()}
        chosen = solver.solve(wanted, {stanza.name: stanza for stanza in wanted}, leaves)
        new = {name: stanza for name, stanza in chosen.items() if stanza is not leaves.get(name)}
        more = set(_outdated(solver.rules, {**kept, **new}, new, base))
        if not more - anew:
            _check(solver, {**kept, **new}, wanted)
            return tuple(new[name] for name in sorted(new))
        anew |= more
    raise LockError(
        Text("the packages of the base cannot be brought together with {wishes}", wishes=", ".join(wishes)),
        place=Place("system"),
        hints=[Text("take a newer tag of the base")],
    )


def _has(kept: Installed, stanza: Stanza) -> bool:
    return stanza.name in kept and kept[stanza.name].version == stanza.version


def _newer(index: Index, old: Stanza, wishes: Sequence[str]) -> Stanza:
    """What the distribution has in the place of a package of the base. Raises :class:`LockError`."""
    found = index.candidate(old.name)
    if found is None or found.version == old.version:
        raise LockError(
            Text("{package} of the base does not go with {wishes}", package=old.name, wishes=", ".join(wishes)),
            place=Place("system"),
            got=f"{old.name} {old.version}",
            hints=[Text("the distribution has no other version of it: take another base")],
        )
    return found


def _leaf(stanza: Stanza) -> Stanza:
    cleared = [
        "" if name in RELATIONS and name != "Provides" else value
        for name, value in zip(FIELDS, stanza.values, strict=True)
    ]
    return replace(stanza, values=tuple(cleared))


def _outdated(rules: Candidates, world: Installed, new: Installed, base: Installed) -> Iterator[str]:
    """Packages of the base that must be taken anew, since something does not go with their version."""
    old = {name for name in base if name not in new}
    for stanza in world.values():
        for group in stanza.depends:
            if rules.satisfied(group, world.get):
                continue
            if stanza.name in new:
                yield from (relation.name for relation in group if relation.name in old)
            elif any(relation.name in new for relation in group):
                yield stanza.name
        for relation in stanza.against if stanza.name in new else ():
            yield from (found.name for found in rules.of(relation, world.get) if found.name in old)
    for name in sorted(old):
        for relation in base[name].against:
            if any(found.name in new and found.name != name for found in rules.of(relation, world.get)):
                yield name


def _check(solver: Solver, world: Installed, wanted: Sequence[Stanza]) -> None:
    missing = [stanza for stanza in wanted if stanza.name not in world]
    broken = [
        stanza for stanza in wanted if any(not solver.rules.satisfied(group, world.get) for group in stanza.depends)
    ]
    chosen = [stanza for name, stanza in solver.chosen.items() if world.get(name) is stanza]
    broken += [
        stanza for stanza in chosen if any(not solver.rules.satisfied(group, world.get) for group in stanza.depends)
    ]
    if missing or broken:
        raise explained(solver, [*missing, *broken])
    for stanza in chosen:
        for relation in stanza.against:
            for other in solver.rules.of(relation, world.get):
                if other.name != stanza.name:
                    raise LockError(
                        Text("{one} and {other} cannot be installed together", one=stanza.name, other=other.name),
                        place=Place("system"),
                        got=f"{stanza.name} {stanza.version} excludes {relation}",
                        hints=[Text("leave one of them out, or take another base")],
                    )

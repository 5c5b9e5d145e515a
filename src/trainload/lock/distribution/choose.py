"""From wishes as a user writes them to a checked set of packages, or to the reason why there is none."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

from trainload.errors import LockError, Place, Text, TrainloadError
from trainload.lock.distribution.index import Index, Stanza
from trainload.lock.distribution.relations import written
from trainload.lock.distribution.solver import Bounds, Solver
from trainload.lock.distribution.versions import GRAMMAR

_BOUNDS = Bounds()
_WISH = re.compile(
    rf"([a-z0-9][a-z0-9+.-]+)(?::([a-z0-9-]+))?(?:=({GRAMMAR.pattern}\*?)|/([a-z0-9][a-z0-9.-]*))?", re.ASCII
)


def choose(
    index: Index,
    architecture: str,
    wishes: Sequence[str],
    *,
    ignored: frozenset[tuple[str, str]] = frozenset(),
    bounds: Bounds = _BOUNDS,
) -> tuple[Stanza, ...]:
    """The packages apt would install for ``wishes`` (``name``, ``name=version``, ``name/suite``), sorted by name.

    ``ignored``: (package or ``*``, dependency) pairs that do not count. Raises :class:`LockError`.
    """
    stanzas = list({(s := wish(index, architecture, text)).name: s for text in wishes}.values())
    solver = Solver(index, architecture, ignored=ignored, bounds=bounds)
    pinned = {stanza.name: stanza for stanza in stanzas}
    for text in wishes:
        if "/" in text:
            _switch(solver, wish(index, architecture, text), text.rpartition("/")[2], pinned)
    chosen = solver.solve(stanzas, pinned)
    _check(solver, stanzas, chosen)
    return tuple(chosen.values())


def wish(index: Index, architecture: str, text: str) -> Stanza:
    """The version that ``text`` means. Raises :class:`LockError` with near names for an unknown one."""
    match = _WISH.fullmatch(text)
    if match is None:
        raise LockError(
            Text("{wish} is not the name of a distribution package", wish=text),
            place=Place("system"),
            want="name, name=version or name/suite",
        )
    name, qualifier, version, suite = match.groups()
    if qualifier not in (None, "any", "native", architecture):
        raise LockError(
            Text("{wish} is of another architecture than the image", wish=text),
            place=Place("system"),
            want=f"{name} or {name}:{architecture}",
        )
    if not index.versions(name):
        return _only_provider(index, name)
    if version:
        return _pick(text, [s for s in index.versions(name) if _is(s.version, version)], index.versions(name))
    if suite:
        found = index.from_suite(name, suite)
        return _pick(text, [found] if found else [], index.versions(name))
    return index.versions(name)[0]


def _is(version: str, wanted: str) -> bool:
    """``1.2*`` is every version that begins so (apt-get(8))."""
    return version.startswith(wanted[:-1]) if wanted.endswith("*") else version == wanted


def _switch(solver: Solver, stanza: Stanza, suite: str, pinned: dict[str, Stanza]) -> None:
    """``name/suite`` takes along, from that suite, what the newest versions do not satisfy (``(= version)``)."""

    def pool(name: str) -> Stanza | None:
        return pinned[name] if name in pinned else solver.index.candidate(name)

    waiting = [stanza]
    for current in waiting:  # grows while it is walked
        for group in solver.needs(current):
            if solver.rules.satisfied(group, pool):
                continue
            for relation in group:
                found = solver.index.from_suite(relation.name, suite)
                if found is not None and relation.holds_for(found.version) and found.name not in pinned:
                    pinned[found.name] = found
                    waiting.append(found)
                    break


def _pick(text: str, found: Sequence[Stanza], there: Sequence[Stanza]) -> Stanza:
    if found:
        return found[0]
    raise LockError(
        Text("the distribution has no {wish}", wish=text),
        place=Place("system"),
        want=", ".join(f"{stanza.version} ({stanza.suite})" for stanza in there),
    )


def _only_provider(index: Index, name: str) -> Stanza:
    providers = [
        stanza
        for owner in index.providers(name)
        if (stanza := index.candidate(owner)) and any(offer.name == name for offer in stanza.provides)
    ]
    if len(providers) == 1:
        return providers[0]
    if providers:
        raise LockError(
            Text("{name} is a virtual package; choose one that provides it", name=name),
            place=Place("system"),
            want=", ".join(sorted(stanza.name for stanza in providers)[:10]),
        )
    near = difflib.get_close_matches(name, _similar(index.names(), name), n=3, cutoff=0.7)
    raise LockError(
        Text("the distribution has no package {name}", name=name),
        place=Place("system"),
        hints=[Text("did you mean {names}?", names=", ".join(near))] if near else (),
    )


def _similar(names: Iterable[str], name: str) -> list[str]:
    """Of tens of thousands of names those worth a closer look."""
    letters = set(name)
    return [n for n in names if abs(len(n) - len(name)) <= 3 and len(letters ^ set(n)) <= 4]


def _check(solver: Solver, wishes: Sequence[Stanza], chosen: dict[str, Stanza]) -> None:
    complete = all(stanza.name in chosen for stanza in wishes)
    for stanza in chosen.values():
        complete = complete and all(solver.rules.satisfied(group, chosen.get) for group in solver.needs(stanza))
        for relation in stanza.against:
            for other in solver.rules.of(relation, chosen.get):
                if other.name != stanza.name:
                    raise LockError(
                        Text("{one} and {other} cannot be installed together", one=stanza.name, other=other.name),
                        place=Place("system"),
                        got=f"{stanza.name} {stanza.version} excludes {relation}",
                        hints=[Text("leave one of them out, or ask for another version")],
                    )
    if not complete:
        raise explained(solver, wishes)


def explained(solver: Solver, wishes: Sequence[Stanza]) -> TrainloadError:
    """The shortest chain from a wish to a dependency that nothing satisfies."""
    pinned = {stanza.name: stanza for stanza in wishes}
    pinned |= {name: stanza for name, stanza in solver.pinned.items() if name not in pinned}

    def pool(name: str) -> Stanza | None:
        return pinned[name] if name in pinned else solver.index.candidate(name)

    waiting: list[tuple[Stanza, ...]] = [(stanza,) for stanza in wishes]
    seen = {stanza.name for stanza in wishes}
    for chain in waiting:  # grows while it is walked: breadth first
        for group in solver.needs(chain[-1]):
            solutions = [s for relation in group for s in solver.rules.of(relation, pool)]
            if not solutions:
                return LockError(
                    Text("{package} cannot be installed", package=chain[0].name),
                    place=Place("system"),
                    got=" → ".join([*(f"{s.name} {s.version}" for s in chain), written(group)]),
                    hints=["nothing in the distribution satisfies the last of these"],
                )
            for stanza in solutions:
                if stanza.name not in seen:
                    seen.add(stanza.name)
                    waiting.append((*chain, stanza))
    return LockError(
        Text("{packages} cannot be installed together", packages=", ".join(s.name for s in wishes)),
        place=Place("system"),
        hints=[Text("leave one of them out, or ask for another version")],
    )

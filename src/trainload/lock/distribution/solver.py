"""What apt would install into an empty system, without recommended packages.

The choice follows the rules of apt 2's ``MarkInstall``: wishes are marked first, then their dependencies are
followed depth first; of several packages that can satisfy a dependency the first that can itself be installed
is taken; a package that something wished for excludes is no candidate any more. The walk keeps its own stack
and is bounded, so that a hostile index costs seconds, not a stack overflow (THREATS D17).
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass

from trainload.errors import LockError, Text
from trainload.lock.distribution.candidates import Candidates
from trainload.lock.distribution.index import Index, Stanza
from trainload.lock.distribution.relations import Group, Relation


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a solution may cost."""

    depth: int = 3_000
    """apt gives up at the same depth."""
    marks: int = 500_000
    """Packages looked at; the largest real sets need some 10,000."""


@dataclass(frozen=True, slots=True)
class _Call:
    """Mark ``name`` for installation, with its dependencies when ``follow``."""

    name: str
    follow: bool = True
    wished: bool = False


_Marking = Generator[_Call, bool, bool]


class Solver:
    """One solution; make a new solver for another."""

    def __init__(
        self,
        index: Index,
        architecture: str,
        *,
        ignored: frozenset[tuple[str, str]] = frozenset(),
        bounds: Bounds = Bounds(),
    ) -> None:
        self.index = index
        self.rules = Candidates(index, architecture)
        self.chosen: dict[str, Stanza] = {}
        self.pinned: Mapping[str, Stanza] = {}
        self._ignored = ignored
        self._bounds = bounds
        self._candidates: dict[str, Stanza | None] = {}
        self._protected: set[str] = set()
        self._marks = 0

    def solve(
        self, wishes: Sequence[Stanza], pinned: Mapping[str, Stanza], installed: Mapping[str, Stanza] | None = None
    ) -> dict[str, Stanza]:
        """Name → version of everything to install for ``wishes``, which are in the user's order.

        ``pinned``: versions to take of packages if they are needed, where it is not the newest; ``installed``: what
        is there already, and stays: a dependency that one of these provides brings nothing. The result may leave
        dependencies open when there is no solution; :func:`choose` checks.
        """
        self.chosen.update(installed or {})
        self.pinned = {**(installed or {}), **pinned}
        self._candidates.update(self.pinned)
        for stanza in wishes:
            self._protected.add(stanza.name)
            self._run(_Call(stanza.name, follow=False, wished=True))
        for stanza in wishes:
            self._run(_Call(stanza.name, wished=True))
        return self._reachable(stanza.name for stanza in wishes)

    def candidate(self, name: str) -> Stanza | None:
        if name not in self._candidates:
            self._candidates[name] = self.index.candidate(name)
        return self._candidates[name]

    def needs(self, stanza: Stanza) -> list[Group]:
        """The dependencies of ``stanza`` that count."""
        return [
            group
            for group in stanza.depends
            if not any((owner, group[0].name) in self._ignored for owner in (stanza.name, "*"))
        ]

    def satisfied(self, group: Group) -> bool:
        return self.rules.satisfied(group, self.chosen.get)

    def excluded(self, stanza: Stanza, relation: Relation) -> list[Stanza]:
        """What is chosen and may not stand beside ``stanza``; a package never excludes itself."""
        return [found for found in self.rules.of(relation, self.chosen.get) if found.name != stanza.name]

    def _run(self, call: _Call) -> bool:
        stack: list[tuple[_Call, _Marking]] = [(call, self._mark(call))]
        answer: bool | None = None
        while stack:
            marking = stack[-1][1]
            try:
                following = next(marking) if answer is None else marking.send(answer)
            except StopIteration as done:
                stack.pop()
                answer = done.value
                continue
            self._marks += 1
            stack.append((following, self._mark(following)))
            answer = None
            if len(stack) > self._bounds.depth or self._marks > self._bounds.marks:
                raise _unbounded([entry[0].name for entry in stack])
        return bool(answer)

    def _mark(self, call: _Call) -> _Marking:
        name = call.name
        protected = name in self._protected
        if protected and name not in self.chosen and not call.wished:
            return False
        stanza = self.candidate(name)
        if stanza is None:
            return False
        if not protected and name in self.chosen and not self._broken(stanza):
            return True
        if call.follow and not self._installable(stanza):
            return False
        if call.wished:
            self.chosen[name] = stanza
        if not call.follow:
            self.chosen[name] = stanza
            return True
        return (yield from self._follow(stanza, protected=protected, wished=call.wished))

    def _follow(self, stanza: Stanza, *, protected: bool, wished: bool) -> _Marking:
        """Choose ``stanza``, remove what it excludes, mark what it needs."""
        lenient = protected or wished
        open_needs = [group for group in self.needs(stanza) if protected or not self.satisfied(group)]
        complete = self._exclude(stanza, protected=protected, lenient=lenient)
        if not complete and not lenient:
            return False
        self.chosen[stanza.name] = stanza
        self._protected.add(stanza.name)
        for group in open_needs:
            answer = yield from self._satisfy(group, protected=protected)
            complete = complete and answer
            if not answer and not lenient:
                break
        if not protected:
            self._protected.discard(stanza.name)
        if not complete and not lenient:
            self.chosen.pop(stanza.name, None)
            self._candidates[stanza.name] = None
        return complete

    def _satisfy(self, group: Group, *, protected: bool) -> _Marking:
        if self.satisfied(group):
            return (yield from self._keep(group)) if protected else True
        solutions = self._solutions(group)
        for stanza in solutions:
            if self.candidate(stanza.name) is not stanza:
                continue
            if protected and len(solutions) == 1:
                if not (yield _Call(stanza.name, follow=False)):
                    continue
                self._protected.add(stanza.name)
            if (yield _Call(stanza.name)):
                return True
        return False

    def _keep(self, group: Group) -> _Marking:
        """A wish's only way to be satisfied is as good as wished for itself."""
        solutions = self._solutions(group)
        if len(solutions) != 1 or solutions[0].name in self._protected:
            return True
        self._protected.add(solutions[0].name)
        return (yield _Call(solutions[0].name))

    def _solutions(self, group: Group) -> list[Stanza]:
        return [
            stanza
            for stanza in self.rules.in_order(group, self.candidate, self._protected)
            if stanza.name not in self._protected or stanza.name in self.chosen
        ]

    def _exclude(self, stanza: Stanza, *, protected: bool, lenient: bool) -> bool:
        """Drop what ``stanza`` may not stand beside; False when something of that is wished for."""
        complete = True
        for relation in stanza.against:
            if not protected and not self.excluded(stanza, relation):
                continue
            for other in list(self.rules.of(relation, self.candidate)):
                if other.name == stanza.name:
                    continue
                if other.name in self.chosen and other.name in self._protected:
                    complete = False
                    if not lenient:
                        return False
                    continue
                self.chosen.pop(other.name, None)
                if protected:
                    self._candidates[other.name] = None
                    self._protected.add(other.name)
        return complete

    def _installable(self, stanza: Stanza) -> bool:
        """Whether each dependency has a candidate at all; if not, ``stanza`` is none either."""
        for group in self.needs(stanza):
            if not self.satisfied(group) and not self.rules.satisfied(group, self.candidate):
                if stanza.name not in self._protected:
                    self._candidates[stanza.name] = None
                return False
        return True

    def _broken(self, stanza: Stanza) -> bool:
        return not all(self.satisfied(group) for group in self.needs(stanza)) or any(
            self.excluded(stanza, relation) for relation in stanza.against
        )

    def _reachable(self, wishes: Iterable[str]) -> dict[str, Stanza]:
        """What the wishes still need: an abandoned attempt leaves packages behind that apt does not keep."""
        kept: dict[str, Stanza] = {}
        waiting = [name for name in wishes if name in self.chosen]
        while waiting:
            name = waiting.pop()
            if name in kept:
                continue
            kept[name] = self.chosen[name]
            for group in self.needs(kept[name]):
                for relation in group:
                    waiting.extend(found.name for found in self.rules.of(relation, self.chosen.get))
        return dict(sorted(kept.items()))


def _unbounded(chain: list[str]) -> LockError:
    shown = chain if len(chain) <= 12 else [*chain[:6], "…", *chain[-6:]]
    return LockError(
        Text("the dependencies of {package} do not end", package=chain[0]),
        got=" → ".join(shown),
        hints=["the index is broken or hostile; use another mirror"],
    )

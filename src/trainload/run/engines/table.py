"""Which engines there are, and which one takes a run. The only place that knows them by name."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from typing import Protocol

from trainload.errors import RunError, Text
from trainload.events import SILENT, Reporter
from trainload.limits import DEFAULT, Limits
from trainload.run.engines.interface import Ability, Engine, Lack, shortcomings
from trainload.store.store import Store
from trainload.values import dataclass

ENGINES: Mapping[str, str] = {
    "embedded": "trainload.run.engines.embedded.engine",
    "docker": "trainload.run.engines.docker.engine",
    "podman": "trainload.run.engines.podman.engine",
}
"""Name → module with ``make(Site) -> Engine``; in the order in which ``auto`` tries them."""
AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Site:
    """What an engine is given."""

    store: Store
    environ: Mapping[str, str]
    reporter: Reporter = SILENT
    limits: Limits = DEFAULT
    """Of what a layer may unpack to."""


class _Maker(Protocol):
    def make(self, site: Site) -> Engine: ...


def engine(name: str, site: Site) -> Engine:
    """The engine called ``name``; it may be unavailable here."""
    module: _Maker = importlib.import_module(ENGINES[name])
    return module.make(site)


@dataclass(frozen=True, slots=True)
class Choice:
    """The engine of a run."""

    engine: Engine
    why: Text
    told: tuple[Lack, ...] = ()
    """What it does without."""


def choose(asked: str, needed: frozenset[Ability], site: Site) -> Choice:
    """The engine ``asked`` for; ``auto``: the first that works and does all that is needed, else the first at all.

    Raises :class:`RunError` when the engine does not work here, or refuses a run that needs so much.
    """
    if asked != AUTO:
        return only(engine(asked, site), needed)
    return first((engine(name, site) for name in ENGINES), needed)


def only(asked: Engine, needed: frozenset[Ability]) -> Choice:
    """The engine the user chose, or the reasons against it."""
    reason = asked.unavailable()
    if reason is not None:
        raise RunError(
            Text("the engine {engine} does not work here: {reason}", engine=asked.name, reason=reason),
            hints=(Text("--engine auto takes the first that works"),),
        )
    missing = shortcomings(needed, asked.lacks(needed))
    if missing and missing[0].refused:
        raise RunError(missing[0].why, hints=(Text("another engine may: --engine {engine}", engine="docker"),))
    return Choice(asked, Text("as asked"), missing)


def first(engines: Iterable[Engine], needed: frozenset[Ability]) -> Choice:
    """Looks at no more engines than it must: asking one may take a tenth of a second."""
    reasons: list[Text] = []
    second: Choice | None = None
    for candidate in engines:
        reason = candidate.unavailable()
        if reason is not None:
            reasons.append(Text("{engine}: {reason}", engine=candidate.name, reason=reason))
            continue
        missing = shortcomings(needed, candidate.lacks(needed))
        if not missing:
            return Choice(candidate, reasons[0] if reasons else Text("the first that works"))
        reasons.append(Text("{engine}: {reason}", engine=candidate.name, reason=missing[0].why))
        if second is None and not missing[0].refused:
            second = Choice(candidate, Text("the first that works"), missing)
    if second is not None:
        return second
    raise RunError(Text("no engine of this machine can run this"), hints=reasons)

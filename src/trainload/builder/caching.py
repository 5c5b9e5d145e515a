"""Which caches in registries a build reads and writes, and the doing of it (docs/adr/0025).

Read: the repositories that are configured or named, and those the image will be pushed to. Written: what was made
here, to those that are configured or named; what only others said is never passed on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING

from trainload.builder.owners import owners_of, statement
from trainload.builder.workshop import MadeLayer, Shared, Workshop
from trainload.errors import RegistryError, Text
from trainload.events import Level, Reporter, Said
from trainload.image.model import UNRECORDED
from trainload.plan.key import recipe_key
from trainload.plan.model import CodeRecipe, Plan
from trainload.project.keys import CacheWrite
from trainload.project.model import Cache
from trainload.reference import Reference
from trainload.store.store import Store
from trainload.values import dataclass, replace

if TYPE_CHECKING:
    from trainload.destinations.share import Written
    from trainload.registry.client import Client

_PATIENCE = 5.0
"""Seconds to reach a registry whose layers would only save work."""


@dataclass(frozen=True, slots=True)
class Caching:
    """What the command line says about layers that are made already."""

    anew: bool = False
    """Make all of them again; ``--no-cache``."""
    read: tuple[Reference, ...] = ()
    write: tuple[Reference, ...] = ()
    """Whether or not something is pushed."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Where layers may be found that were not made here."""

    caches: tuple[Reference, ...]
    images: tuple[Reference, ...]


def reading(configured: Cache, caching: Caching, targets: Sequence[Reference]) -> Reading:
    """What is read; nothing with ``--no-cache``."""
    if caching.anew:
        return Reading((), ())
    own = _repository(configured) if configured.read else ()
    caches = tuple(dict.fromkeys([*caching.read, *own]))
    return Reading(caches, tuple(targets) if configured.read else ())


def writing(configured: Cache, caching: Caching, *, pushed: bool) -> tuple[Reference, ...]:
    """What is written."""
    policy = CacheWrite(configured.write)
    wanted = policy is CacheWrite.ALWAYS or (policy is CacheWrite.PUSH and pushed)
    return tuple(dict.fromkeys([*caching.write, *(_repository(configured) if wanted else ())]))


def with_shared(
    shop: Workshop, found: Reading, plan: Plan, client: Callable[[], Client], *, offline: bool
) -> Workshop:
    """``shop`` that also looks into registries."""
    if not found.caches and not found.images:
        return shop

    @cache
    def shared() -> Shared:
        from trainload.builder.elsewhere import Elsewhere

        return Elsewhere(
            shop.store, _impatient(client()), found.caches, found.images, plan.platform, shop.reporter,
            offline=offline, limits=shop.limits,
        )  # fmt: skip

    return replace(shop, shared=shared)


@dataclass(frozen=True, slots=True)
class Sharing:
    """Layers on their way into caches."""

    store: Store
    client: Client
    now: str
    """RFC 3339."""
    reporter: Reporter

    def share(
        self, layers: Iterable[MadeLayer], plan: Plan, repositories: Sequence[Reference]
    ) -> tuple[Written, ...]:
        """Write the layers of ``plan`` that were made here; a cache that cannot be written is a warning."""
        from trainload.destinations.share import share
        from trainload.registry.entries import Entry

        entries = [
            Entry(recipe_key(made.planned.recipe), made.layer, made.planned.title, self.now)
            for made in layers
            if made.origin is None
            and not isinstance(made.planned.recipe, CodeRecipe)  # nobody else ever has the same
            and UNRECORDED not in made.layer.descriptor.annotations
        ]
        claim = statement(owners_of(plan))
        facts = [(claim, self.now)] if owners_of(plan) and self.store.facts.known(claim) else []
        written: list[Written] = []
        for repository in repositories:
            try:
                written.append(share(self.store, self.client, repository, entries, facts, reporter=self.reporter))
            except RegistryError as error:
                text = Text("the cache {name} cannot be written: {reason}", name=repository.name, reason=error)
                self.reporter.report(Said(text, Level.WARNING))
        return tuple(written)


def _repository(configured: Cache) -> tuple[Reference, ...]:
    return (Reference.parse(configured.registry),) if configured.registry is not None else ()


def _impatient(client: Client) -> Client:
    from trainload.registry.client import Client as Speaking
    from trainload.system.http import Retry

    http = replace(client.http, retry=Retry(tries=2, first=0.2), connect_timeout=_PATIENCE)
    return Speaking(http, client.hosts, client.credentials)

"""Writes layers that were made here to the cache in a registry, so that nobody makes them again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trainload.destinations.together import QUESTIONS, Stop, together
from trainload.digest import Digest
from trainload.errors import Text
from trainload.events import SILENT, Began, Ended, How, Level, Reporter, Said
from trainload.reference import Reference
from trainload.registry.client import Client
from trainload.registry.entries import Entries, Entry
from trainload.store.store import Store


@dataclass(frozen=True, slots=True)
class Written:
    """What happened to the cache."""

    repository: Reference
    new: int = 0
    """Entries that were not there."""
    there: int = 0
    sent: int = 0
    """Bytes of layers that went over the line; others were there or mounted."""
    other: tuple[str, ...] = ()
    """Titles of layers for which the cache has other bytes; what stands there was left alone."""


def share(
    store: Store,
    client: Client,
    repository: Reference,
    entries: Sequence[Entry],
    facts: Sequence[tuple[Digest, str]],
    *,
    reporter: Reporter = SILENT,
) -> Written:
    """Write ``entries``, whose layers are in the store, and ``facts`` (statement, when) unless they are there.

    Raises :class:`RegistryError`.
    """
    cache = Entries(client, repository)
    known = store.whereabouts.of(repository.domain)

    def record(entry: Entry) -> tuple[How, bool]:
        blob = entry.layer.descriptor
        near = [Reference(repository.domain, path) for path, has in known.items() if str(blob.digest) in has]
        how, there = cache.record(entry, lambda: store.blob_file(blob.digest), near)
        if how is How.SENT:
            reporter.report(Ended(str(entry.key), entry.title, how, blob.size))
        return how, (there.descriptor.digest, there.diff_id) == (blob.digest, entry.layer.diff_id)

    reporter.report(Began(str(repository), repository.name))
    try:
        results = together(record, entries, Stop(), QUESTIONS)
        together(lambda fact: cache.learn(*fact), facts, Stop())
    except BaseException:
        reporter.report(Ended(str(repository), repository.name, How.FAILED))
        raise
    store.whereabouts.learn(repository, [entry.layer.descriptor.digest for entry in entries])
    other = tuple(entry.title for entry, (_, same) in zip(entries, results, strict=True) if not same)
    for title in other:
        reporter.report(
            Said(
                Text(
                    "the cache {name} has another layer of {title} than was made here; it was left alone. "
                    "`trainload verify --rebuild` tells which one is right",
                    name=repository.name, title=title,
                ),
                Level.WARNING,
            )
        )  # fmt: skip
    ways = [how for how, _ in results]
    sent = sum(e.layer.descriptor.size for e, how in zip(entries, ways, strict=True) if how is How.SENT)
    return Written(repository, len(ways) - ways.count(How.PRESENT), ways.count(How.PRESENT), sent, other)

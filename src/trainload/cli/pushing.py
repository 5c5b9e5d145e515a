"""What verbs that push have in common: the sending, and how it is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trainload.cli import units
from trainload.cli.world import World
from trainload.errors import Text

if TYPE_CHECKING:
    from trainload.destinations.deliver import Delivered
    from trainload.destinations.push import Pushed
    from trainload.digest import Digest
    from trainload.platform import Platform
    from trainload.reference import Reference


def ready(world: World, places: Sequence[Reference]) -> None:
    """Ask each registry whether it lets us in, before a build takes its time.

    Raises :class:`RegistryError`.
    """
    from trainload.destinations.push import check_targets

    check_targets(places)
    for place in places:
        world.registry.find(place, pushing=True)


def send(
    world: World,
    digest: Digest,
    references: Sequence[Reference],
    platform: Platform | None = None,
    *,
    dry_run: bool = False,
) -> Pushed:
    """Push an image of the store and say what it took."""
    from trainload.destinations.cargo import from_store
    from trainload.destinations.push import push

    cargo = from_store(world.store, digest, platform)
    pushed = push(world.store, world.registry, cargo, references, dry_run=dry_run, reporter=world.reporter)
    tell(world, pushed.deliveries, pushed.size, dry_run=dry_run)
    return pushed


def tell(world: World, deliveries: Sequence[Delivered], size: int, *, dry_run: bool) -> None:
    """One sentence per repository."""
    for one in deliveries:
        facts = {
            "name": one.references[0].name, "sent": units.size(one.sent), "whole": units.size(size),
            "mounted": units.size(one.mounted), "there": units.size(one.present),
        }  # fmt: skip
        if dry_run:
            world.say(Text("{name}: {sent} of {whole} to send", **facts))
        else:
            world.say(Text("{name}: {sent} sent, {mounted} mounted, {there} already there", **facts))


def document(deliveries: Sequence[Delivered]) -> list[dict[str, object]]:
    """For ``--json``."""
    return [
        {
            "references": [str(reference) for reference in one.references],
            "digest": str(one.digest),
            "sent": one.sent,
            "mounted": one.mounted,
            "present": one.present,
            "missing": [{"digest": str(part.blob.digest), "size": part.blob.size, "title": part.label}
                        for part in one.missing],
        }
        for one in deliveries
    ]  # fmt: skip


def lines(deliveries: Sequence[Delivered]) -> list[str]:
    """What was named, each with its digest."""
    return [f"{reference}  {one.digest}" for one in deliveries for reference in one.references]

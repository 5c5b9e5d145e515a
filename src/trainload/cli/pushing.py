"""What verbs that push have in common: the sending, and how it is told."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

from trainload.cli import units
from trainload.cli.world import World
from trainload.errors import Text
from trainload.events import How
from trainload.values import dataclass, replace

if TYPE_CHECKING:
    from trainload.destinations.cargo import Cargo
    from trainload.destinations.deliver import Delivered
    from trainload.destinations.push import Pushed
    from trainload.pipeline import Built, Wishes
    from trainload.reference import Reference


def ready(world: World, places: Sequence[Reference]) -> None:
    """Ask each registry whether it lets us in, before a build takes its time.

    Raises :class:`RegistryError`.
    """
    from trainload.destinations.push import check_targets

    check_targets(places)
    for place in places:
        world.registry.find(place, pushing=True)


def build_and_send(
    world: World, wishes: Wishes, references: Sequence[Reference], *, dry_run: bool = False
) -> Shipped:
    """Build the project, push its image to ``references`` (none: nowhere), write caches, and say what it took."""
    from trainload.pipeline import build, share

    # an image without a name is kept by our lease alone
    with world.store.writing() if references else nullcontext():
        built = build(world.site, replace(wishes, targets=references))
        tell_built(world, built)
        pushed = send(world, cargo_of(world, built), references, dry_run=dry_run) if references else None
        written = () if dry_run else share(world.site, wishes, built, pushed=pushed is not None)
    for one in written:
        world.say(
            Text(
                "{name}: {new} layers written to the cache, {there} already there", name=one.repository.name,
                new=one.new, there=one.there,
            )
        )  # fmt: skip
    if built.elsewhere:
        world.say(
            Text(
                "{size} of the image lie in the registry only, so it has no name here; `trainload pull {name}` "
                "brings it whole",
                size=units.size(_size(built, How.REMOTE)), name=references[0],
            )
        )  # fmt: skip
    return Shipped(built, pushed)


@dataclass(frozen=True, slots=True)
class Shipped:
    """A project's image, and what became of it."""

    built: Built
    pushed: Pushed | None

    @property
    def deliveries(self) -> tuple[Delivered, ...]:
        return self.pushed.deliveries if self.pushed is not None else ()


def tell_built(world: World, built: Built) -> None:
    """One sentence, after what should be known."""
    for warning in built.planned.plan.warnings:
        world.warn(warning)
    facts = {
        "count": len(built.layers),
        "size": units.size(sum(made.layer.descriptor.size for made in built.layers)),
    }
    facts |= {
        "made": units.size(_size(built, How.MADE)), "there": units.size(_size(built, How.PRESENT)),
    }  # fmt: skip
    fetched, remote = _size(built, How.FETCHED), _size(built, How.REMOTE)
    if fetched or remote:
        text = Text(
            "{count} layers, {size}; {made} made, {there} already there, {fetched} fetched, {remote} remote",
            fetched=units.size(fetched), remote=units.size(remote), **facts,
        )  # fmt: skip
    else:
        text = Text("{count} layers, {size}; {made} made, {there} already there", **facts)
    world.say(text)


def _size(built: Built, how: How) -> int:
    return sum(made.layer.descriptor.size for made in built.layers if made.how is how)


def cargo_of(world: World, built: Built) -> Cargo:
    """The image that was just built, whose layers may lie in registries."""
    from trainload.destinations.cargo import from_store

    return from_store(world.store, built.root, elsewhere=built.elsewhere)


def send(world: World, cargo: Cargo, references: Sequence[Reference], *, dry_run: bool = False) -> Pushed:
    """Push it and say what it took."""
    from trainload.destinations.push import push

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

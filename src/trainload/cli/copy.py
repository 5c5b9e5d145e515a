"""``trainload copy``: from registry to registry, with nothing kept here."""

from __future__ import annotations

import click

from trainload.cli.options import pass_world, registry_options
from trainload.cli.pushing import document, lines, tell
from trainload.cli.world import World
from trainload.reference import Reference


@click.command()
@click.argument("source", metavar="SOURCE")
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True)
@click.option("--platform", metavar="OS/ARCH", help="Of an index only this image; default: the whole index.")
@click.option("--dry-run", is_flag=True, help="Only say what would be sent.")
@registry_options
@pass_world
def command(world: World, *, source: str, targets: tuple[str, ...], platform: str | None, dry_run: bool) -> None:
    """Copy an image from one registry to another; bytes stream through, and only what is missing there moves."""
    from trainload.destinations.copy import copy, from_registry
    from trainload.destinations.push import check_targets
    from trainload.platform import Platform

    places = [Reference.parse(target) for target in targets]
    check_targets(places)
    wanted = Platform.parse(platform) if platform else None
    cargo = from_registry(world.registry, Reference.parse(source), wanted)
    deliveries = copy(world.registry, cargo, places, dry_run=dry_run, reporter=world.reporter)
    tell(world, deliveries, cargo.size, dry_run=dry_run)
    result = {"digest": str(cargo.root.digest), "size": cargo.size, "repositories": document(deliveries)}
    world.result(result, lines(deliveries))

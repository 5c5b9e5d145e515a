"""``trainload pull``: bring images from registries."""

from __future__ import annotations

import click

from trainload.cli import units
from trainload.cli.options import pass_world, registry_options
from trainload.cli.world import World
from trainload.errors import Text, UsageError
from trainload.reference import Reference


@click.command()
@click.argument("references", metavar="REFERENCE...", nargs=-1, required=True)
@click.option("--platform", metavar="OS/ARCH", help="linux/amd64 or linux/arm64; default: this machine's.")
@click.option("--all-platforms", is_flag=True, help="All images of an index.")
@registry_options
@pass_world
def command(world: World, *, references: tuple[str, ...], platform: str | None, all_platforms: bool) -> None:
    """Bring images from registries; only what is not here is fetched, and every byte is verified."""
    from trainload.destinations.pull import Pull
    from trainload.platform import Platform

    if platform and all_platforms:
        raise UsageError(Text("--platform and --all-platforms exclude each other"))
    wanted = Platform.parse(platform) if platform else None
    documents: list[object] = []
    lines: list[str] = []
    for reference in [Reference.parse(text) for text in references]:
        pull = Pull(world.store, world.registry, reference, world.reporter)
        pulled = pull.run(wanted, all_platforms=all_platforms)
        world.say(
            Text(
                "{name}: {fetched} fetched, {there} already there", name=str(reference),
                fetched=units.size(pulled.fetched), there=units.size(pulled.present),
            )
        )  # fmt: skip
        documents.append(
            {
                "reference": str(reference), "digest": str(pulled.digest), "remote": str(pulled.remote),
                "fetched": pulled.fetched, "present": pulled.present,
            }
        )  # fmt: skip
        lines.append(f"{reference}  {pulled.digest}")
    world.result(documents, lines)

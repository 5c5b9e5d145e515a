"""``trainload import``: images from another form; one command per form."""

from __future__ import annotations

import click

from trainload.cli.arriving import checking, tell, wanted
from trainload.cli.options import pass_world
from trainload.cli.world import World


@click.group("import")
def command() -> None:
    """Take images from another form into the store."""


@command.command("layout", help="Take images from an OCI image layout, every digest kept.")
@click.argument("folder", metavar="FOLDER")
@click.argument("name", metavar="[NAME[:TAG]]", required=False)
@click.option("--platform", metavar="PLATFORM", help="Of an image for several platforms, the one for PLATFORM.")
@click.option("--max-unpacked", metavar="SIZE", help="What a layer may unpack to; default: 50g.")
@pass_world
def layout(world: World, *, folder: str, name: str | None, platform: str | None, max_unpacked: str | None) -> None:
    from trainload.destinations.layout import import_layout

    what = wanted([name] if name else [], platform, max_unpacked)
    with checking(world) as checked:
        arrived = import_layout(world.store, world.cwd / folder, what, world.reporter, checked)
    tell(world, arrived)

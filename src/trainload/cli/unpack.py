"""``trainload unpack``: what `trainload pack` wrote on another machine, into the store."""

from __future__ import annotations

import json

import click

from trainload.cli.arriving import checking, tell, wanted
from trainload.cli.options import pass_world
from trainload.cli.task import Task
from trainload.cli.world import World
from trainload.errors import Place, Text, UsageError
from trainload.events import How


@click.command("unpack")
@click.argument("source", metavar="FOLDER_OR_TAR")
@click.option("--listing", metavar="FILE", help="Then write what this store has, for the next `pack --have`.")
@click.option("--platform", metavar="PLATFORM", help="Of an image for several platforms, the one for PLATFORM.")
@click.option("--max-unpacked", metavar="SIZE", help="What a layer may unpack to; default: 50g.")
@pass_world
def command(
    world: World, *, source: str, listing: str | None, platform: str | None, max_unpacked: str | None
) -> None:
    """Take in what was packed on another machine.

    Everything is verified; what the pack left out must be here. A broken one leaves the store as it was.
    """
    from trainload.destinations.layout import import_layout
    from trainload.destinations.listing import listing as listing_of
    from trainload.destinations.load import load
    from trainload.system.files import replacing

    what = wanted((), platform, max_unpacked)
    path = world.cwd / source
    with checking(world) as checked:
        if path.is_dir():
            arrived = import_layout(world.store, path, what, world.reporter, checked)
        else:
            try:
                file = path.open("rb")
            except OSError as error:
                raise UsageError(
                    Text("the pack cannot be read"), place=Place(source), got=error.strerror
                ) from error
            with file, Task(world.reporter, "unpack", path.name, How.CHECKED, path.stat().st_size) as task:
                arrived = load(world.store, task.reading(file), source, what, world.reporter, checked)
    if listing is not None:
        with replacing(world.cwd / listing) as written:
            written.write(json.dumps(listing_of(world.store), indent=1).encode() + b"\n")
    tell(world, arrived)

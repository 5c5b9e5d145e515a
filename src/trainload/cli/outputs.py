"""``trainload outputs``: what a run on a server wrote so far."""

from __future__ import annotations

import click

from trainload.cli.hostoption import on_option
from trainload.cli.options import pass_world
from trainload.cli.world import World
from trainload.errors import Text, UsageError


@click.command()
@click.argument("run", metavar="RUN")
@on_option
@pass_world
def command(world: World, *, run: str, on: str | None) -> None:
    """Bring what a run on a server wrote to its outputs so far, also while it runs.

    Only files that changed move, and each is whole. At the end of a run it happens by itself.
    """
    from trainload.cli.engines import known
    from trainload.cli.onhost import engine_of_record, fetch

    found = known(world, run, on)
    if found.run.host is None:
        raise UsageError(
            Text("the run {id} is on this machine: what it wrote is here", id=found.id),
            hints=[Text("`trainload cp` copies other files out of it")],
        )
    brought = fetch(world, engine_of_record(world, found.run), found.run)
    document = {"id": found.id, "files": 0, "size": 0, "unchanged": 0}
    if brought is not None:
        document |= {"files": brought.files, "size": brought.size, "unchanged": brought.unchanged}
    world.result(document)

"""``trainload rm``: forget runs that ended."""

from __future__ import annotations

import click

from trainload.cli.hostoption import on_option
from trainload.cli.options import pass_world
from trainload.cli.world import World


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option("-f", "--force", is_flag=True, help="End it first, by force.")
@on_option
@pass_world
def command(world: World, *, runs: tuple[str, ...], force: bool, on: str | None) -> None:
    """Remove detached runs: their logs and what they wrote, but neither mounted folders nor the record."""
    from trainload.cli.engines import known, records

    for word in runs:
        found = known(world, word, on)
        if force and found.state.lives:
            found.engine.stop(found.id, 0)
        if found.run.host is not None:
            from trainload.cli.onhost import ended_there

            ended_there(world, found)
        records(world).settle(world.now)  # how it ended is not known any more afterwards
        if found.engine.state(found.id) is not None:
            found.engine.remove(found.id)
        world.result({"id": found.id}, word)

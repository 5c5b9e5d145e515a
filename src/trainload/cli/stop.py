"""``trainload stop``: ask runs to end, then make them."""

from __future__ import annotations

import click

from trainload.cli.hostoption import on_option
from trainload.cli.options import pass_world
from trainload.cli.world import World


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option(
    "-t",
    "--time",
    "grace",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Until the end by force; default: what the run was started with.",
)
@on_option
@pass_world
def command(world: World, *, runs: tuple[str, ...], grace: float | None, on: str | None) -> None:  # fmt: skip
    """Ask runs to end by their stop signal, and end them by force when they do not."""
    from trainload.cli.engines import known, records

    for word in runs:
        found = known(world, word, on)
        if found.state.lives:
            found.engine.stop(found.id, grace)
        if found.run.host is not None:
            from trainload.cli.onhost import ended_there

            ended_there(world, found)
        world.result({"id": found.id}, word)
    records(world).settle(world.now)

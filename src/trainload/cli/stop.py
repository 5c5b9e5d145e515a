"""``trainload stop``: ask runs to end, then make them."""

from __future__ import annotations

import click

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
@pass_world
def command(world: World, *, runs: tuple[str, ...], grace: float | None) -> None:  # fmt: skip
    """Ask runs to end by their stop signal, and end them by force when they do not."""
    from trainload.cli.engines import known, records

    for word in runs:
        found = known(world, word)
        if found.state.lives:
            found.engine.stop(found.id, grace)
        world.result({"id": found.id}, word)
    records(world).settle(world.now)

"""``trainload kill``: send a signal to a run."""

from __future__ import annotations

import click

from trainload.cli.hostoption import on_option
from trainload.cli.options import pass_world
from trainload.cli.world import World
from trainload.errors import Text, UsageError


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option("-s", "--signal", "name", metavar="SIGNAL", default="KILL", help="Name or number; default: KILL.")
@on_option
@pass_world
def command(world: World, *, runs: tuple[str, ...], name: str, on: str | None) -> None:
    """Send a signal to runs; without one they end at once."""
    from trainload.cli.engines import known
    from trainload.run.words import signal_number

    number = signal_number(name)
    if number is None:
        raise UsageError(Text("{option} is no signal", option="--signal"), got=name, want="a name as SIGINT")
    for word in runs:
        found = known(world, word, on)
        found.engine.kill(found.id, number)
        world.result({"id": found.id}, word)

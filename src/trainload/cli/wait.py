"""``trainload wait``: until runs ended."""

from __future__ import annotations

import click

from trainload.cli.options import pass_world
from trainload.cli.world import World


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@pass_world
def command(world: World, *, runs: tuple[str, ...]) -> None:
    """Wait until runs ended, and print their exit codes."""
    from trainload.cli.engines import known, records

    for word in runs:
        found = known(world, word)
        code = found.engine.wait(found.id).exit_code
        if code is None:  # nothing is left of it but its record
            code = records(world).find(found.id).exit_code
        world.result({"id": found.id, "exit_code": code}, str(code))

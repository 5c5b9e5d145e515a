"""``trainload attach``: stay with a run that goes on without us."""

from __future__ import annotations

import click

from trainload.cli.options import pass_world
from trainload.cli.world import World


@click.command()
@click.argument("run", metavar="RUN")
@pass_world
def command(world: World, *, run: str) -> int:
    """Stay with a detached run until its end; its exit code becomes ours.

    One that can be talked to (run -dit, or -di) has our terminal meanwhile, and Ctrl-P Ctrl-Q leaves it alone. Of
    others all that they said and say is printed, and Ctrl-C leaves.
    """
    from trainload.cli.engines import known, records
    from trainload.cli.joining import join
    from trainload.cli.logs import follow

    found = known(world, run)
    if found.state.open and found.state.lives:
        return join(world, found)
    follow(found.engine, found.id)
    state = found.engine.wait(found.id)
    code = state.exit_code if state.exit_code is not None else records(world).find(found.id).exit_code
    return code or 0

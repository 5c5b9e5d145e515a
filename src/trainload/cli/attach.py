"""``trainload attach``: stay with a run that goes on without us."""

from __future__ import annotations

import click

from trainload.cli.hostoption import on_option
from trainload.cli.options import pass_world
from trainload.cli.world import World


@click.command()
@click.argument("run", metavar="RUN")
@on_option
@pass_world
def command(world: World, *, run: str, on: str | None) -> int:
    """Stay with a detached run until its end; its exit code becomes ours.

    One that can be talked to (run -dit, or -di) has our terminal meanwhile, and Ctrl-P Ctrl-Q leaves it alone. Of
    others all that they said and say is printed, and Ctrl-C leaves. What a run on a server wrote to its outputs is
    brought here at its end.
    """
    from trainload.cli.engines import known, records
    from trainload.cli.joining import join
    from trainload.cli.logs import follow
    from trainload.cli.onhost import engine_of_record, join_there, stay

    found = known(world, run, on)
    if found.run.host is not None:
        if found.state.open and found.state.lives:
            return join_there(world, found, records(world))
        engine = engine_of_record(world, found.run)
        with engine.held():
            return stay(world, engine, found.run, records(world))
    if found.state.open and found.state.lives:
        return join(world, found)
    follow(found.engine, found.id)
    state = found.engine.wait(found.id)
    code = state.exit_code if state.exit_code is not None else records(world).find(found.id).exit_code
    return code or 0

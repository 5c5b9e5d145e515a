"""``trainload wait``: until runs ended."""

from __future__ import annotations

import click

from trainload.cli.hostoption import on_option
from trainload.cli.options import pass_world
from trainload.cli.world import World


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@on_option
@pass_world
def command(world: World, *, runs: tuple[str, ...], on: str | None) -> None:
    """Wait until runs ended, and print their exit codes."""
    from trainload.cli.engines import known, records
    from trainload.errors import StoreError

    for word in runs:
        try:
            found = known(world, word, on)
        except StoreError:
            run = records(world).find(word)  # it may just have ended, and be removed
            if run.exit_code is None or run.host is not None:
                raise
            world.result({"id": run.id, "exit_code": run.exit_code}, str(run.exit_code))
            continue
        code = found.engine.wait(found.id).exit_code
        if found.run.host is not None:
            from trainload.cli.onhost import ended_there

            ended_there(world, found)
        if code is None:  # nothing is left of it but its record
            code = records(world).find(found.id).exit_code
        world.result({"id": found.id, "exit_code": code}, str(code))

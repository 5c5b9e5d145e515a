"""``trainload rerun``: the same digest, command and mounts once more."""

from __future__ import annotations

import click

from trainload.cli.hostoption import on_option
from trainload.cli.options import pass_world
from trainload.cli.running import Target, perform
from trainload.cli.runoptions import Way
from trainload.cli.world import World
from trainload.errors import Text


@click.command()
@click.argument("run", metavar="RUN")
@click.option("-e", "--env", "env", multiple=True, metavar="NAME[=VALUE]", help="Value of a variable the run had.")
@click.option("--engine", metavar="NAME", help="Another engine than that run's.")
@click.option("-d", "--detach", is_flag=True, help="Start it, print its id, and come back.")
@on_option
@pass_world
def command(
    world: World, *, run: str, env: tuple[str, ...], engine: str | None, detach: bool, on: str | None
) -> int:
    """Repeat a run with the same image and command."""
    from trainload.cli.engines import records
    from trainload.project.detect import limits_given
    from trainload.run import flags
    from trainload.run.request import request_from

    found = records(world).find(run)
    values = {**world.environ, **flags.environment(env, world.environ)}
    target = Target(world.store.image(found.image), found.name, limits_given({}, world.environ).limits())
    world.say(Text("{name} {digest}, as in run {id}", name=found.name, digest=found.image.short, id=found.id))
    way = Way(engine or found.engine, detach=detach, on=on or found.host)
    return perform(world, target, request_from(found.request, values), way)

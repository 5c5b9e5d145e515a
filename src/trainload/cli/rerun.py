"""``trainload rerun``: the same digest, command and mounts once more."""

from __future__ import annotations

import click

from trainload.cli.hostoption import on_option
from trainload.cli.options import pass_world
from trainload.cli.running import Target, perform
from trainload.cli.runoptions import Way
from trainload.cli.world import World
from trainload.errors import Text, UsageError


@click.command()
@click.argument("run", metavar="RUN")
@click.option("-e", "--env", "env", multiple=True, metavar="NAME[=VALUE]", help="Value of a variable the run had.")
@click.option("--engine", metavar="NAME", help="Another engine than that run's.")
@click.option("-d", "--detach", is_flag=True, help="Start it, print its id, and come back.")
@on_option
@click.option("--here", is_flag=True, help="On this machine, although it was on a server.")
@pass_world
def command(
    world: World, /, *, run: str, env: tuple[str, ...], engine: str | None, detach: bool,
    **where: str | bool | None,
) -> int:  # fmt: skip
    """Repeat a run with the same image and command, on the same machine or another."""
    from trainload.cli.engines import records
    from trainload.project.detect import limits_given
    from trainload.run import flags
    from trainload.run.request import request_from

    found = records(world).find(run)
    values = {**world.environ, **flags.environment(env, world.environ)}
    target = Target(world.store.image(found.image), found.name, limits_given({}, world.environ).limits())
    world.say(Text("{name} {digest}, as in run {id}", name=found.name, digest=found.image.short, id=found.id))
    on, here = where["on"], where["here"]
    if here and on is not None:
        raise UsageError(Text("{one} and {other} exclude each other", one="--here", other="--on"))
    place = str(on) if on is not None else None if here else found.host
    # another machine may have another engine
    way = Way(engine or (found.engine if place == found.host else None), detach=detach, on=place)
    return perform(world, target, request_from(found.request, values), way)

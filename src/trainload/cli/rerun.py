"""``trainload rerun``: the same digest, command and mounts once more."""

from __future__ import annotations

import click

from trainload.cli.options import pass_world
from trainload.cli.running import Target, perform
from trainload.cli.world import World
from trainload.errors import Text


@click.command()
@click.argument("run", metavar="RUN")
@click.option("-e", "--env", "env", multiple=True, metavar="NAME[=VALUE]", help="Value of a variable the run had.")
@pass_world
def command(world: World, *, run: str, env: tuple[str, ...]) -> int:
    """Repeat a run with the same image and command."""
    from functools import partial

    from trainload.project.detect import limits_given
    from trainload.run import flags
    from trainload.run.request import request_from
    from trainload.run.rundir import alive
    from trainload.store.runs import RunRecords

    found = RunRecords(world.home).find(run, partial(alive, world.store.rootfs))
    values = {**world.environ, **flags.environment(env, world.environ)}
    target = Target(world.store.image(found.image), found.name, limits_given({}, world.environ).limits())
    world.say(Text("{name} {digest}, as in run {id}", name=found.name, digest=found.image.short, id=found.id))
    return perform(world, target, request_from(found.request, values))

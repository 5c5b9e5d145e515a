"""``trainload logout``: forget the credentials for a registry."""

from __future__ import annotations

import click

from trainload.cli.options import pass_world
from trainload.cli.world import World
from trainload.errors import Text
from trainload.reference import DOCKER_HUB, registry_named


@click.command()
@click.argument("registry", metavar="[REGISTRY]", default=DOCKER_HUB)
@pass_world
def command(world: World, *, registry: str) -> None:
    """Forget the credentials for a registry; Docker Hub when none is named."""
    from trainload.registry.credentials import Keyring

    name = registry_named(registry)
    had = Keyring.of(world.environ).own.erase(name)
    if had:
        world.say(Text("the credentials for {registry} are forgotten", registry=name))
    else:
        world.say(Text("there were no credentials for {registry}", registry=name))
    world.result({"registry": name, "forgotten": had})

"""``trainload tag``: another name for an image."""

from __future__ import annotations

import click

from trainload.cli.options import pass_world
from trainload.cli.world import World
from trainload.errors import Text


@click.command()
@click.argument("image", metavar="IMAGE")
@click.argument("name", metavar="NAME[:TAG]")
@pass_world
def command(world: World, *, image: str, name: str) -> None:
    """Give an image another name."""
    digest = world.store.tag(image, name)
    world.say(Text("{name} is {digest}", name=name, digest=digest))
    world.result({"name": name, "digest": str(digest)})

"""``trainload tags``: what a repository has."""

from __future__ import annotations

import click

from trainload.cli.options import pass_world, registry_options
from trainload.cli.world import World
from trainload.errors import Text, UsageError
from trainload.reference import Reference


@click.command()
@click.argument("repository", metavar="REPOSITORY")
@registry_options
@pass_world
def command(world: World, *, repository: str) -> None:
    """List the tags of a repository in a registry."""
    reference = Reference.parse(repository)
    if reference.tag is not None or reference.digest is not None:
        raise UsageError(Text("a repository has no tag here"), got=repository, want=reference.name)
    found = world.registry.tags(reference)
    world.result({"repository": reference.name, "tags": list(found)}, found)

"""``trainload schema``: what an editor needs to complete and check the configuration."""

from __future__ import annotations

import json

import click

from trainload.cli.options import pass_world
from trainload.cli.world import World


@click.command()
@pass_world
def command(world: World) -> None:
    """Print the JSON Schema of the configuration, for editors."""
    from trainload.project.schema import schema

    found = schema()
    world.result(found, json.dumps(found, indent=2, ensure_ascii=False))

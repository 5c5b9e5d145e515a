"""``trainload history``: an image's layers, the newest first as Docker shows them."""

from __future__ import annotations

import click

from trainload.cli.options import pass_world
from trainload.cli.render import table
from trainload.cli.units import size
from trainload.cli.world import World
from trainload.errors import Text
from trainload.platform import Platform


@click.command()
@click.argument("image", metavar="IMAGE")
@click.option("--platform", metavar="PLATFORM", help="Of an image for several platforms, the one for PLATFORM.")
@click.option("--no-trunc", is_flag=True, help="Show whole digests.")
@pass_world
def command(world: World, *, image: str, platform: str | None, no_trunc: bool) -> None:
    """Show an image's layers: what each holds and weighs."""
    from trainload.image.history import Step, steps

    target = Platform.parse(platform) if platform else None
    found = steps(world.store.image(world.store.resolve(image), target))[::-1]

    def row(step: Step) -> list[object]:
        layer = step.layer
        digest = "-" if layer is None else str(layer.digest) if no_trunc else layer.digest.short
        return [digest, step.title or "-", size(layer.size if layer else 0), step.history.comment]

    heads = [Text("LAYER"), Text("CREATED BY"), Text("SIZE"), Text("COMMENT")]
    documents = [
        {
            "layer": str(step.layer.digest) if step.layer else None,
            "diff_id": str(step.diff_id) if step.diff_id else None,
            "size": step.layer.size if step.layer else 0,
            "created_by": step.history.created_by,
            "created": step.history.created,
            "comment": step.history.comment,
            "recipe": step.recipe or None,
        }
        for step in found
    ]
    world.result(documents, table(heads, [row(step) for step in found], world.catalogue, right=[2]))

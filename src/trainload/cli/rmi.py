"""``trainload rmi``: take a name off an image."""

from __future__ import annotations

import click

from trainload.cli.options import pass_world
from trainload.cli.world import World
from trainload.errors import Problems, Text, TrainloadError


@click.command()
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@click.option("-f", "--force", is_flag=True, help="With a digest: all names of the image.")
@pass_world
def command(world: World, *, images: tuple[str, ...], force: bool) -> None:
    """Remove an image's name.

    With its last name an image is no longer listed; `trainload gc` then frees its space.
    """
    problems = Problems()
    documents: list[object] = []
    lines: list[str] = []
    for image in images:
        try:
            done = world.store.untag(image, force=force)
        except TrainloadError as error:
            problems.add(error)
            continue
        documents.append({"names": list(done.names), "digest": str(done.digest), "gone": done.gone})
        lines += [world.translate(Text("Untagged: {name}", name=name)) for name in done.names]
        if done.gone:
            lines.append(world.translate(Text("Removed from the list: {digest}", digest=done.digest)))
    world.result(documents, lines)
    if any(isinstance(document, dict) and document["gone"] for document in documents):
        world.say(Text("`trainload gc` frees the space"))
    problems.check()

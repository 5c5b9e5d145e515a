"""``trainload export``: images in another form; one command per form."""

from __future__ import annotations

import click

from trainload.cli.devcontainer import devcontainer
from trainload.cli.dockerfile import dockerfile
from trainload.cli.options import pass_world
from trainload.cli.task import Task
from trainload.cli.units import size
from trainload.cli.world import World
from trainload.errors import Text
from trainload.events import How
from trainload.platform import Platform


@click.group("export")
def command() -> None:
    """Write images in another form."""


command.add_command(devcontainer)
command.add_command(dockerfile)


@command.command("layout", help="Write images into a folder, as an OCI image layout.")
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@click.argument("folder", metavar="FOLDER")
@click.option("--platform", metavar="PLATFORM", help="Of an image for several platforms, the one for PLATFORM.")
@pass_world
def layout(world: World, *, images: tuple[str, ...], folder: str, platform: str | None) -> None:
    from trainload.destinations.departure import choose
    from trainload.destinations.layout_export import export_layout

    leaving = choose(world.store, images, Platform.parse(platform) if platform else None)
    with Task(world.reporter, "export", folder, How.MADE) as task:
        done = export_layout(world.store, leaving, world.cwd / folder, task.moved)
    world.say(
        Text("{written} written, {there} already there", written=size(done.written), there=size(done.present))
    )
    document = {
        "folder": folder,
        "images": [{"name": one.name, "digest": str(one.descriptor.digest)} for one in leaving],
        "written": done.written,
        "present": done.present,
    }
    world.result(document, [f"{one.name or '<none>'}  {one.descriptor.digest}" for one in leaving])

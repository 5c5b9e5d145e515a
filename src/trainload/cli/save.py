"""``trainload save``: images as one file."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from trainload.cli.options import pass_world
from trainload.cli.task import Task
from trainload.cli.world import World
from trainload.errors import Text, UsageError
from trainload.events import How
from trainload.platform import Platform

if TYPE_CHECKING:
    from trainload.destinations.departure import Leaving

_STDOUT = "-"


@click.command("save")
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@click.option("-o", "--output", metavar="FILE", help="Where to; default, and with -: the standard output.")
@click.option(
    "--compress",
    type=click.Choice(["none", "gzip", "zstd"]),
    help="Compress the archive as a whole; default: what FILE ends in, else none (layers are compressed already).",
)
@click.option("--platform", metavar="PLATFORM", help="Of an image for several platforms, the one for PLATFORM.")
@pass_world
def command(
    world: World, *, images: tuple[str, ...], output: str | None, compress: str | None, platform: str | None
) -> None:
    """Save images into one file.

    It is read by `docker load`, `podman load`, `skopeo copy oci-archive:FILE`, `ctr images import` and
    `trainload load`. The same image gives the same bytes.
    """
    from trainload.destinations.compress import by_name, compressed
    from trainload.destinations.departure import choose
    from trainload.destinations.save import pack, write

    to_stdout = output in (None, _STDOUT)
    if to_stdout and world.stdout.isatty():
        raise UsageError(
            Text("an archive is not for a terminal"),
            hints=[Text("write it into a file: trainload save -o FILE {images}", images=" ".join(images))],
        )
    leaving = choose(world.store, images, Platform.parse(platform) if platform else None)
    _tell_tags(world, leaving)
    archive = pack(leaving)
    label = "-" if to_stdout else Path(output or "").name
    with Task(world.reporter, "save", label, How.MADE, archive.size) as task, _sink(world, output) as file:
        with compressed(compress or by_name(label), file) as sink:
            write(world.store, archive, sink, task.moved)
        file.flush()
    if not to_stdout:
        names = [one.name or str(one.descriptor.digest) for one in leaving]
        document = {
            "file": output,
            "images": [{"name": one.name, "digest": str(one.descriptor.digest)} for one in leaving],
        }
        world.result(document, [f"{output}  {name}" for name in names])


def _sink(world: World, output: str | None) -> AbstractContextManager[BinaryIO]:
    from trainload.system.files import replacing

    if output is None or output == _STDOUT:
        return nullcontext(world.stdout.buffer)
    return replacing(world.cwd / output)


def _tell_tags(world: World, leaving: tuple[Leaving, ...]) -> None:
    """Docker knows no name without a tag."""
    from trainload.destinations.naming import tagged

    for one in leaving:
        reference = tagged(one.name) if one.name else None
        if reference is not None and str(reference) != one.name:
            world.say(
                Text("{name} has no tag: Docker and Podman will call it {tagged}", name=one.name, tagged=reference)
            )

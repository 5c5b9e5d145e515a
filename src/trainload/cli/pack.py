"""``trainload pack``: images for a machine without a network, less what it has already."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainload.cli import units
from trainload.cli.options import pass_world
from trainload.cli.task import Task
from trainload.cli.world import World
from trainload.errors import Place, Text, UsageError
from trainload.events import How
from trainload.platform import Platform

if TYPE_CHECKING:
    from trainload.destinations.departure import Leaving
    from trainload.digest import Digest

_FILES = (".tar", ".tar.gz", ".tgz", ".tar.zst")


@click.command("pack")
@click.argument("images", metavar="[IMAGE...]", nargs=-1)
@click.option(
    "-o", "--output", metavar="FOLDER_OR_TAR",
    help="Where to: a file if it ends in .tar, .tar.gz or .tar.zst, else a folder, made or added to.",
)  # fmt: skip
@click.option("--have", metavar="LISTING", help="What the other machine has, as `trainload pack --list` wrote it.")
@click.option("--list", "listed", is_flag=True, help="Write what this store has, for --have on another machine.")
@click.option("--platform", metavar="PLATFORM", help="Of an image for several platforms, the one for PLATFORM.")
@pass_world
def command(
    world: World,
    *,
    images: tuple[str, ...],
    output: str | None,
    have: str | None,
    listed: bool,
    platform: str | None,
) -> None:
    """Write images for a machine without a network.

    On that machine, `trainload unpack` takes them in. With --have only what it lacks is written: a change of code
    is a few kilobytes.
    """
    from trainload.destinations.departure import blobs_of, choose
    from trainload.destinations.listing import listing

    if listed:
        if images or output or have:
            raise UsageError(Text("--list goes alone: it writes what this store has"))
        world.stdout.write(json.dumps(listing(world.store), indent=1) + "\n")
        return
    if not images or output is None:
        raise UsageError(
            Text("which image, and where to?"), want="trainload pack IMAGE -o FOLDER_OR_TAR [--have LISTING]"
        )
    omit = _omit(world, have)
    leaving = choose(world.store, images, Platform.parse(platform) if platform else None)
    written = _write(world, leaving, output, omit)
    whole, packed = sum(blobs_of(leaving).values()), sum(blobs_of(leaving, omit).values())
    there = whole - packed
    world.say(
        Text("{written} of {whole} written; {there} are there already", written=units.size(written),
             whole=units.size(whole), there=units.size(there))
    )  # fmt: skip
    document = {
        "output": output, "size": whole, "written": written, "omitted": there,
        "images": [{"name": one.name, "digest": str(one.descriptor.digest)} for one in leaving],
    }  # fmt: skip
    world.result(document, [f"{one.name or '<none>'}  {one.descriptor.digest}" for one in leaving])


def _omit(world: World, have: str | None) -> frozenset[Digest]:
    from trainload.destinations.listing import LIMIT, parse_listing

    if have is None:
        return frozenset()
    try:
        with (world.cwd / have).open("rb") as file:
            return parse_listing(file.read(LIMIT + 1), have)
    except OSError as error:
        raise UsageError(Text("the listing cannot be read"), place=Place(have), got=error.strerror) from error


def _write(world: World, leaving: tuple[Leaving, ...], output: str, omit: frozenset[Digest]) -> int:
    """Bytes written."""
    from trainload.destinations.compress import by_name, compressed
    from trainload.destinations.layout_export import export_layout
    from trainload.destinations.save import pack, write
    from trainload.system.files import replacing

    label = Path(output).name or output
    if not output.endswith(_FILES):
        with Task(world.reporter, "pack", label, How.MADE) as task:
            return export_layout(world.store, leaving, world.cwd / output, task.moved, omit).written
    archive = pack(leaving, omit)
    with (
        Task(world.reporter, "pack", label, How.MADE, archive.size) as task,
        replacing(world.cwd / output) as file,
        compressed(by_name(label), file) as sink,
    ):
        write(world.store, archive, sink, task.moved)
    return sum(size for _, size in archive.blobs)

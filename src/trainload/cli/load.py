"""``trainload load``: images from one file."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click

from trainload.cli.arriving import checking, tell, wanted
from trainload.cli.options import pass_world
from trainload.cli.task import Task
from trainload.cli.world import World
from trainload.errors import ImageError, Place, Text, UsageError
from trainload.events import How

_STDIN = "-"


@click.command("load")
@click.argument("file", metavar="[FILE]", required=False)
@click.option(
    "-i", "--input", "source", metavar="FILE", help="The same as FILE; without either, and with -: standard input."
)
@click.option(
    "--name", "names", metavar="NAME[:TAG]", multiple=True,
    help="What to call the image instead of its own name; may be given several times.",
)  # fmt: skip
@click.option("--platform", metavar="PLATFORM", help="Of an image for several platforms, the one for PLATFORM.")
@click.option("--max-unpacked", metavar="SIZE", help="What a layer may unpack to; default: 50g.")
@pass_world
def command(
    world: World,
    file: str | None,
    *,
    source: str | None,
    names: tuple[str, ...],
    platform: str | None,
    max_unpacked: str | None,
) -> None:
    """Load images from one file.

    Reads what `trainload save`, `docker save`, `podman save` and `skopeo copy` write, compressed with gzip, zstd,
    xz or not at all. Everything is verified; a broken archive leaves the store as it was.
    """
    from trainload.destinations.load import load

    if file is not None and source is not None:
        raise UsageError(Text("one archive at a time"), got=f"{file}, {source}")
    what = wanted(names, platform, max_unpacked)
    where = file or source or _STDIN
    with _opened(world, where) as stream:
        state = os.fstat(stream.fileno())
        total = state.st_size if stat.S_ISREG(state.st_mode) else None
        with checking(world) as checked, Task(world.reporter, "load", _label(where), How.CHECKED, total) as task:
            arrived = load(world.store, task.reading(stream), where, what, world.reporter, checked)
    tell(world, arrived)


def _label(source: str) -> str:
    return "the archive" if source == _STDIN else Path(source).name


@contextmanager
def _opened(world: World, source: str) -> Iterator[BinaryIO]:
    if source == _STDIN:
        if sys.stdin.isatty():
            raise UsageError(
                Text("an archive does not come from a terminal"),
                hints=[Text("read it from a file: trainload load -i FILE"), Text("or: trainload load < FILE")],
            )
        yield sys.stdin.buffer
        return
    path = world.cwd / source
    if path.is_dir():
        raise ImageError(
            Text("this is a folder, not an archive"),
            place=Place(source),
            hints=[
                Text(
                    "a folder with an OCI image layout is read by: trainload import layout {folder}", folder=source
                )
            ],
        )
    try:
        file = path.open("rb")
    except OSError as error:
        raise ImageError(Text("the archive cannot be read"), place=Place(source), got=error.strerror) from error
    with file:
        yield file

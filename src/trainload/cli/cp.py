"""``trainload cp``: files out of a container."""

from __future__ import annotations

import click

from trainload.cli.hostoption import on_option
from trainload.cli.options import pass_world
from trainload.cli.world import World
from trainload.errors import Text, UsageError


@click.command()
@click.argument("source", metavar="RUN:PATH")
@click.argument("target", metavar="TARGET")
@on_option
@pass_world
def command(world: World, *, source: str, target: str, on: str | None) -> None:
    """Copy a file or folder out of a detached run, also after its end; TARGET - writes a tar to stdout.

    Into a running container nothing is copied: mount the folder when it starts (-v).
    """
    import sys
    from contextlib import ExitStack

    from trainload.cli.engines import known
    from trainload.run.engines.copied import extract

    word, colon, path = source.partition(":")
    if not colon or not path.startswith("/"):
        raise UsageError(
            Text("{source} is not a path in a run", source=source),
            want="RUN:/absolute/path",
            hints=(Text("files go into a container by mounting their folder: -v ./data:/data"),),
        )
    with ExitStack() as stack:
        found = known(world, word, on, stack)
        stream = stack.enter_context(found.engine.copy_out(found.id, path))
        if target == "-":
            while piece := stream.read(1 << 18):
                sys.stdout.buffer.write(piece)
            return
        copied = extract(stream, world.cwd / target, path)
    world.say(Text("{path}: {count} files", path=copied.place, count=copied.files))

"""``trainload logs``: what a detached run said."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, Concatenate, TypeVar

import click

from trainload.cli.hostoption import on_option
from trainload.cli.options import pass_world
from trainload.cli.world import World
from trainload.errors import Text, UsageError

if TYPE_CHECKING:
    from trainload.run.engines.interface import Engine, LogLine, LogQuery

R = TypeVar("R")
_LINES = (
    click.option("-f", "--follow", is_flag=True, help="Go on until the run ends."),
    click.option("--since", metavar="TIME", help="From a time on, or so long ago: 10m, 1h30m, 2026-11-27T10:00."),
    click.option("--until", metavar="TIME", help="Up to a time, as --since."),
    click.option("-n", "--tail", metavar="NUMBER", help="The last so many lines; all: every line."),
)


def _which_lines(verb: Callable[Concatenate[World, LogQuery, ...], R]) -> Callable[Concatenate[World, ...], R]:
    """Gives a verb what its command line asks for as second argument."""

    @functools.wraps(verb)
    def called(world: World, *args: object, **kwargs: object) -> R:
        from trainload.run.engines.interface import LogQuery
        from trainload.run.engines.logs import moment

        since, until = kwargs.pop("since"), kwargs.pop("until")
        query = LogQuery(
            follow=bool(kwargs.pop("follow")),
            since=moment(str(since), world.now, "--since") if since else None,
            until=moment(str(until), world.now, "--until") if until else None,
            tail=_tail(kwargs.pop("tail")),
        )
        return verb(world, query, *args, **kwargs)

    for option in reversed(_LINES):
        option(called)
    return called


@click.command()
@click.argument("run", metavar="RUN")
@pass_world
@_which_lines
@on_option
@click.option("-t", "--timestamps", is_flag=True, help="Say when each line was said.")
@click.option("--frames", is_flag=True, help="Also what progress bars wrote over.")
def command(world: World, query: LogQuery, *, run: str, timestamps: bool, frames: bool, on: str | None) -> None:
    """Print what a detached run said; of progress bars only what a terminal would show in the end."""
    import sys

    from trainload.cli.engines import known
    from trainload.run.engines.logs import collapsed

    found = known(world, run, on)
    lines = found.engine.logs(found.id, query)
    live = query.follow and sys.stdout.isatty()  # a bar may move there
    for line in lines if frames or live else collapsed(lines):
        write_line(line, sys.stderr.buffer if line.stderr else sys.stdout.buffer, timestamps=timestamps, live=live)


def follow(engine: Engine, run: str) -> None:
    """All that a run said and says, until its end."""
    import sys

    from trainload.run.engines.interface import LogQuery
    from trainload.run.engines.logs import collapsed

    live = sys.stdout.isatty()
    lines = engine.logs(run, LogQuery(follow=True))
    for line in lines if live else collapsed(lines):
        write_line(line, sys.stderr.buffer if line.stderr else sys.stdout.buffer, timestamps=False, live=live)


def _tail(text: object) -> int | None:
    if text in (None, "all"):
        return None
    if not str(text).isdecimal():
        raise UsageError(Text("--tail is not a number"), got=text, want="a number or all")
    return int(str(text))


def write_line(line: LogLine, out: BinaryIO, *, timestamps: bool, live: bool) -> None:
    """``live``: a frame of a progress bar is written over by the next."""
    head = f"{line.at.isoformat(timespec='milliseconds')} ".encode() if timestamps else b""
    out.write(head + line.text + (b"\r" if line.frame and live else b"\n"))
    out.flush()

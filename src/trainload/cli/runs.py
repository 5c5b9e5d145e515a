"""``trainload runs``: what was run, with which image, and how it ended."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from trainload.cli.options import world_of
from trainload.cli.render import table
from trainload.cli.runsdiff import command as diff
from trainload.cli.units import duration, shorten
from trainload.cli.world import World
from trainload.errors import Text

if TYPE_CHECKING:
    from trainload.store.runs import Run

_INITS = ("tini", "docker-init", "dumb-init", "catatonit")


@click.group(invoke_without_command=True)
@click.option("--no-ask", is_flag=True, help="As it is known here: servers are not asked.")
@click.pass_context
def command(ctx: click.Context, *, no_ask: bool) -> None:
    """List what was run, with which image, on which server, and how it ended.

    Servers are asked about runs that have not ended, as far as is known here: a few seconds, all at once. One that
    cannot be reached is named.
    """
    if ctx.invoked_subcommand is None:
        _list(world_of(ctx), ask=not no_ask)


command.add_command(diff)


def _list(world: World, *, ask: bool) -> None:
    from trainload.cli.engines import records

    written = records(world)
    runs: Sequence[Run] = written.all()
    unknown = frozenset(run.id for run in runs if run.host is not None and run.reason is None)
    if ask and unknown:
        from trainload.cli.asking import refreshed

        runs, unknown = refreshed(world, runs, written)
    heads = [
        Text("RUN"), Text("IMAGE"), Text("COMMAND"), Text("ENGINE"), Text("HOST"), Text("COMMIT"), Text("STARTED"),
        Text("TOOK"), Text("END"),
    ]  # fmt: skip
    rows: list[list[object]] = [_row(world, run, known=run.id not in unknown) for run in runs]
    documents = [document(world, run, known=run.id not in unknown) for run in runs]
    world.result(documents, table(heads, rows, world.catalogue))


def _row(world: World, run: Run, *, known: bool) -> list[object]:
    commit = f"{run.git_commit[:8]}{'+' if run.git_dirty else ''}" if run.git_commit else "-"
    return [
        run.id,
        f"{run.name} ({run.image.short})",
        shorten(shlex.join(without_init(run.command)), 40),
        run.engine,
        run.host or "-",
        commit,
        run.started.astimezone().strftime("%Y-%m-%d %H:%M"),
        duration((run.ended - run.started).total_seconds()) if run.ended else "-",
        world.translate(run.reason or (Text("running") if known else Text("running, when last asked"))),
    ]


def without_init(command: Sequence[str]) -> Sequence[str]:
    """What runs below the image's init, as the user knows it: ``tini -g -- python train.py`` is their script."""
    if command[0].rpartition("/")[2] not in _INITS or "--" not in command[:-1]:
        return command
    at = command.index("--")
    return command[at + 1 :] if all(word.startswith("-") for word in command[1:at]) else command


def document(world: World, run: Run, *, known: bool = True) -> dict[str, object]:
    """A record, for ``--json``; not ``known``: its server was not asked, or did not answer."""
    return {
        "id": run.id,
        "image": str(run.image),
        "name": run.name,
        "engine": run.engine,
        "host": run.host,
        "command": list(run.command),
        "environment": run.request["env"],
        "folder": run.folder,
        "git_commit": run.git_commit,
        "git_dirty": run.git_dirty,
        "started": run.started.isoformat(),
        "ended": run.ended.isoformat() if run.ended else None,
        "state": "ended" if run.reason is not None else "running" if known else "unknown",
        "exit_code": run.exit_code,
        "reason": world.translate(run.reason) if run.reason else None,
        "notes": [world.translate(note) for note in run.notes],
    }

"""``trainload capture``: what was changed by hand in a container, as changes of the project."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from trainload.cli.options import pass_world
from trainload.cli.render import table
from trainload.cli.world import World
from trainload.errors import ConfigError, Text, UsageError

if TYPE_CHECKING:
    from trainload.capture.model import Proposal, Recognised
    from trainload.capture.proposal import Choice
    from trainload.run.changed import Container


@click.command()
@click.argument("container", metavar="[RUN|CONTAINER]", required=False)
@click.option("-l", "--list", "listing", is_flag=True, help="List the shells and runs of which something is kept.")
@click.option("--engine", metavar="NAME", help="Where the container is: embedded, docker or podman.")
@click.option("--pin/--no-pin", default=True, help="Write name==version (default), or name>=version.")
@click.option(
    "--skip", multiple=True, metavar="NAME", help="Leave a package or file out; may be given several times."
)
@click.option(
    "--take", multiple=True, metavar="PATH", help="Copy a file from elsewhere into captured/; repeatable."
)
@click.option("--overwrite", is_flag=True, help="Take files that were changed in the project, too.")
@click.option("-n", "--dry-run", is_flag=True, help="Show what would be changed; write nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--lock", "with_lock", is_flag=True, help="Make the lock anew afterwards.")
@pass_world
def command(  # noqa: PLR0913 - the options of a verb
    world: World, *, container: str | None, listing: bool, engine: str | None, pin: bool, skip: tuple[str, ...],
    take: tuple[str, ...], overwrite: bool, dry_run: bool, yes: bool, with_lock: bool,
) -> None:  # fmt: skip
    """Turn what was changed by hand in a container into changes of the project.

    Packages that pip, uv or apt installed go into the requirements and into system, edited files back into the
    folder. The difference is shown first and written as a whole, or not at all. Without a name it is the latest
    shell of this folder; containers of Docker and Podman are found by id or name.
    """
    if listing:
        _list(world)
        return
    from trainload.capture.proposal import Choice
    from trainload.cli.capturing import container as find

    choice = Choice(pin, frozenset(path.removeprefix("./") for path in skip), take)
    meant = find(world, container, engine)
    found, proposal = _proposed(world, meant, choice)
    _show(world, found, proposal, frozenset(path.strip("/") for path in take))
    written = False
    if not dry_run and proposal.edits:
        _check(world, proposal, overwrite=overwrite, yes=yes)
        if yes or click.confirm(world.translate(Text("Write this into the project?")), err=True):
            from trainload.capture.write import write

            write(world.cwd, proposal.edits)
            written = True
    if world.json:
        world.result(_document(world, meant, found, proposal, written=written))
    if written:
        _after(world, with_lock=with_lock)


def _list(world: World) -> None:
    from trainload.capture.recognise import look
    from trainload.cli.capturing import kept_runs, of_run, summary

    rows: list[list[object]] = []
    documents: list[dict[str, object]] = []
    for run in kept_runs(world):
        what = ", ".join(world.translate(text) for text in summary(look(of_run(world, run))))
        rows.append([run.id, run.name, run.folder, run.started.isoformat(" ", "seconds"), what])
        documents.append({"id": run.id, "image": run.name, "folder": run.folder, "started": run.started.isoformat(),
                          "changed": what})  # fmt: skip
    heads = [Text("RUN"), Text("IMAGE"), Text("FOLDER"), Text("STARTED"), Text("CHANGED")]
    world.result(documents, table(heads, rows, world.catalogue) if rows else ())
    if not rows:
        world.say(Text("nothing is kept"))


def _proposed(world: World, meant: Container, choice: Choice) -> tuple[Recognised, Proposal]:
    from trainload.capture.proposal import Here, propose
    from trainload.capture.recognise import look
    from trainload.project.config import read_sources
    from trainload.project.detect import read_project
    from trainload.system.git import above
    from trainload.system.tree import DiskTree

    tree = DiskTree(world.cwd)
    # this machine's variables are not the project's: they must not decide what is written into it
    environ = {name: value for name, value in world.environ.items() if not name.startswith("TRAINLOAD_")}
    here = Here(
        tree, read_project(tree, environ=environ), read_sources(tree, {}, environ), environ,
        above(world.cwd, world.environ),
    )  # fmt: skip
    found = look(meant)
    return found, propose(found, meant, here, choice)


def _show(world: World, found: Recognised, proposal: Proposal, taken: frozenset[str]) -> None:
    from trainload.capture.difference import diff

    if not world.json:
        world.result(None, diff(proposal.edits).rstrip("\n"))
    for note in proposal.notes:
        world.warn(note)
    for path, why in proposal.left_out:
        world.warn(Text("{path} is left out: {why}", path=path, why=world.translate(why)))
    for line in proposal.commands:
        world.say(Text("uv keeps the packages of this project; run: {command}", command=line))
    elsewhere = [path for path, _ in found.elsewhere if path not in taken]
    if elsewhere:
        shown = ", ".join(f"/{path}" for path in elsewhere[:_MOST])
        more = f" … ({len(elsewhere)})" if len(elsewhere) > _MOST else ""
        world.warn(
            Text("changed outside the project, and not captured: {paths}; --take PATH copies one into captured/",
                 paths=shown + more)
        )  # fmt: skip
    if found.noise:
        world.say(Text("{count} caches, logs and the like are left out", count=found.noise))
    if not proposal.edits and not proposal.commands:
        world.say(Text("nothing is to be changed in the project"))


_MOST = 20
"""Paths that are named."""


def _check(world: World, proposal: Proposal, *, overwrite: bool, yes: bool) -> None:
    """What stands against writing it. Raises :class:`TrainloadError`."""
    import sys

    if proposal.conflicts and not overwrite:
        raise ConfigError(
            Text(
                "changed in the container and in the project: {paths}", paths=", ".join(proposal.conflicts[:_MOST])
            ),
            hints=[
                Text("leave the project's: --skip {path}", path=proposal.conflicts[0]),
                Text("take the container's, as the difference shows it: --overwrite"),
            ],
        )
    if not yes and not sys.stdin.isatty():
        raise UsageError(
            "nobody is there to be asked, so nothing was written",
            hints=("--yes writes it", "--dry-run only shows it"),
        )


def _after(world: World, *, with_lock: bool) -> None:
    from trainload.project.model import LOCK

    if with_lock:
        from trainload.pipeline import Wishes, lock

        lock(world.site, Wishes())
        world.say(Text("{file} was made anew", file=LOCK))
    elif (world.cwd / LOCK).exists():
        world.say(Text("{file} is stale now: trainload lock, or the next build, makes it anew", file=LOCK))


def _document(
    world: World, meant: Container, found: Recognised, proposal: Proposal, *, written: bool
) -> dict[str, object]:
    from trainload.capture.difference import diff

    return {
        "container": meant.name,
        "image": meant.image,
        "python": [asdict(one) for one in found.python],
        "system": [asdict(one) for one in found.system],
        "files": [{"path": path, "how": how} for path, how in found.code],
        "elsewhere": [{"path": f"/{path}", "how": how} for path, how in found.elsewhere],
        "noise": found.noise,
        "edits": [edit.path for edit in proposal.edits],
        "diff": diff(proposal.edits),
        "commands": list(proposal.commands),
        "conflicts": list(proposal.conflicts),
        "left_out": [{"path": path, "why": world.translate(why)} for path, why in proposal.left_out],
        "notes": [world.translate(note) for note in proposal.notes],
        "written": written,
    }

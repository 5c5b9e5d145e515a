"""``trainload ship``: an image to a server over ssh."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from trainload.cli import units
from trainload.cli.dockerfiles import late_dockerfile_options
from trainload.cli.options import pass_world
from trainload.cli.wishes import Later, late_build_options
from trainload.cli.world import World
from trainload.errors import Text, UsageError

if TYPE_CHECKING:
    from trainload.destinations.ship.ship import Shipped, Target

_ENGINES = ("auto", "docker", "podman", "store")


@click.command()
@click.argument("words", metavar="[IMAGE] HOST", nargs=-1)
@click.option("--dry-run", is_flag=True, help="Only say what would be sent.")
@click.option(
    "--engine", type=click.Choice(_ENGINES),
    help="Who takes it there; store: a folder. Default: the host's setting, else docker or podman, else store.",
)  # fmt: skip
@click.option("--to", "folder", metavar="FOLDER", help="Into a store in FOLDER there, made if absent.")
@pass_world
@late_build_options
@late_dockerfile_options()
def command(
    world: World, wishes: Later, *, words: tuple[str, ...], dry_run: bool, engine: str | None, folder: str | None
) -> None:
    """Send an image to a server over ssh.

    HOST is USER@HOST:PORT, a name of ~/.ssh/config, or one of [tool.trainload.hosts]. Without IMAGE it is the
    project in this folder, which is built first. Docker or Podman there gets what it lacks; without them the image
    goes into a folder there, which needs python3 only. After a cut the same command goes on.
    """
    from trainload.destinations.cargo import from_store
    from trainload.destinations.ship.ship import Shipment
    from trainload.store.lookup import find_name, look_up

    if not 1 <= len(words) <= 2:
        raise UsageError(Text("where to? Give an image and a host"), want="trainload ship [IMAGE] USER@HOST[:PORT]")
    if folder is not None and engine not in (None, "store"):
        raise UsageError(Text("--to is a folder, and --engine {engine} has its own", engine=engine))
    if len(words) == 2 and "@" in words[0] and "@" not in words[1]:
        raise UsageError(
            Text("the host comes last"), got=" ".join(words), want=f"trainload ship {words[1]} {words[0]}"
        )
    target = target_of(world, words[-1], "store" if folder is not None else engine, folder)
    text = words[0] if len(words) == 2 else _built(world, wishes, words[0])
    names = world.store.names()
    entry, named = look_up(names, text), find_name(names, text)
    cargo = from_store(world.store, entry.digest, wishes.platform)
    name = named.name if named is not None else next(iter(names.names_of(entry.digest)), None)
    shipped = Shipment(cargo, name, target, world.reporter, world.environ, dry_run=dry_run).run()
    _tell(world, shipped, target, dry_run=dry_run)


def target_of(world: World, word: str, engine: str | None, folder: str | None) -> Target:
    """The host that ``word`` means, as it is configured. Raises :class:`UsageError` for what cannot be a host."""
    from trainload.address import Address
    from trainload.destinations.ship.engines import Choice
    from trainload.destinations.ship.ship import Target
    from trainload.project.config import read_sources
    from trainload.project.keys import HOSTS
    from trainload.system.tree import DiskTree

    known = read_sources(DiskTree(world.cwd), {}, world.environ).choose(HOSTS).value.get(word, {})
    choice = engine or known.get("engine", "auto")
    place = folder if folder is not None else known.get("folder")
    return Target(Address.parse(known.get("address", word)), Choice(choice), place)


def _built(world: World, wishes: Later, word: str) -> str:
    """The project's image. Raises :class:`UsageError` when there is none, or ``word`` was meant to be an image."""
    from trainload.cli.project import holds_code
    from trainload.pipeline import build
    from trainload.store.lookup import find_name

    if find_name(world.store.names(), word) is not None:
        raise UsageError(
            Text("{name} is an image; where to?", name=word), want=f"trainload ship {word} USER@HOST[:PORT]"
        )
    if not holds_code(world, wishes.flags):
        raise UsageError(
            Text("this folder holds no project; which image?"), got=world.cwd,
            want=f"trainload ship IMAGE {word}",
            hints=[Text("`trainload images` lists what there is")],
        )  # fmt: skip

    built = build(world.site, wishes.make())
    for warning in built.planned.plan.warnings:
        world.warn(warning)
    return str(built.image.digest)


def _tell(world: World, shipped: Shipped, target: Target, *, dry_run: bool) -> None:
    facts = {
        "host": target.address, "sent": units.size(shipped.sent), "whole": units.size(shipped.size),
        "way": shipped.way, "where": shipped.where,
    }  # fmt: skip
    if dry_run:
        world.say(Text("{host}: {sent} of {whole} to send", **facts))
    elif shipped.way == "store":
        world.say(Text("{host}: {sent} of {whole} sent, into {where}", **facts))
    else:
        world.say(Text("{host}: {sent} of {whole} sent, into {way} {where}", **facts))
    name = shipped.name or "<none>"
    document = {
        "host": str(target.address), "digest": str(shipped.digest), "name": shipped.name,
        "engine": str(shipped.way), "where": shipped.where, "size": shipped.size, "sent": shipped.sent,
        "missing": [{"digest": str(part.blob.digest), "size": part.blob.size, "title": part.label}
                    for part in shipped.missing],
    }  # fmt: skip
    world.result(document, f"{name}  {shipped.digest}")

"""``trainload cache``: the layers that are shared through a registry."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from trainload.cli.options import pass_world, registry_options
from trainload.cli.render import table
from trainload.cli.units import size
from trainload.cli.wishes import repositories
from trainload.cli.world import World
from trainload.errors import Text, UsageError

if TYPE_CHECKING:
    from trainload.registry.entries import Entries, Listed


@click.group()
def command() -> None:
    """Look after layers that are shared through a registry.

    Without REPOSITORY the one that the project's configuration names.
    """


@command.command("list")
@click.argument("repository", required=False)
@pass_world
@registry_options
def list_entries(world: World, repository: str | None) -> None:
    """List what the cache has, the oldest first."""
    found = _entries(world, repository).list()
    rows = [[one.created or "-", size(one.size), _title(world, one)] for one in found]
    heads = [Text("WRITTEN"), Text("SIZE"), Text("LAYER")]
    world.result([_document(one) for one in found], table(heads, rows, world.catalogue, right=(1,)))
    world.say(Text("{count} entries, {size}", count=len(found), size=size(sum(one.size for one in found))))


@command.command()
@click.argument("repository", required=False)
@click.option("--older-than", metavar="DAYS", type=click.IntRange(0), help="Entries that were written before that.")
@click.option("--all", "everything", is_flag=True, help="All entries.")
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
@pass_world
@registry_options
def prune(world: World, repository: str | None, *, older_than: int | None, everything: bool, dry_run: bool) -> None:
    """Delete entries of the cache; no image needs them.

    Whoever still has a deleted layer writes it again at the next push. The registry frees the space when it
    collects its garbage.
    """
    if (older_than is None) != everything:
        raise UsageError(Text("which entries? Give --older-than DAYS or --all"))
    entries = _entries(world, repository)
    oldest = None if older_than is None else world.now - timedelta(days=older_than)
    chosen = [one for one in entries.list() if oldest is None or _is_older(one, oldest)]
    for digest in dict.fromkeys(one.digest for one in chosen if not dry_run):
        entries.delete(digest)
    world.result([_document(one) for one in chosen], [_title(world, one) for one in chosen])
    facts = {"count": len(chosen), "size": size(sum(one.size for one in chosen))}
    world.say(
        Text("{count} entries would be deleted, {size}", **facts)
        if dry_run
        else Text("{count} entries deleted, {size}", **facts)
    )


def _entries(world: World, repository: str | None) -> Entries:
    from trainload.registry.entries import Entries

    if repository is None:
        from trainload.project.config import read_sources
        from trainload.project.keys import CACHE_REGISTRY
        from trainload.system.tree import DiskTree

        repository = read_sources(DiskTree(world.cwd), {}, world.environ).choose(CACHE_REGISTRY).value
    if repository is None:
        raise UsageError(
            Text("which cache? The project names none"), want="registry.example/team/cache",
            hints=[Text('or set registry = "…" in [tool.trainload.cache]')],
        )  # fmt: skip
    return Entries(world.registry, repositories((repository,))[0])


def _title(world: World, one: Listed) -> str:
    return one.title or world.translate(Text("(that certain wheels get along)"))


def _document(one: Listed) -> dict[str, object]:
    return {
        "tag": one.tag, "digest": str(one.digest), "size": one.size, "title": one.title, "created": one.created,
    }  # fmt: skip


def _is_older(one: Listed, oldest: datetime) -> bool:
    """An entry that does not tell its age is kept."""
    try:
        created = datetime.fromisoformat(one.created)
    except ValueError:
        return False
    return (created if created.tzinfo is not None else created.replace(tzinfo=UTC)) < oldest

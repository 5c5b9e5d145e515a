"""``trainload push``: send the project's image, or another one, to registries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from trainload.cli.dockerfiles import late_dockerfile_options
from trainload.cli.options import pass_world
from trainload.cli.pushing import build_and_send, document, lines, ready, send
from trainload.cli.wishes import Later, caching_options, late_build_options
from trainload.cli.world import World
from trainload.errors import RegistryError, Text, UsageError
from trainload.reference import Reference
from trainload.store.trouble import MissingError
from trainload.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainload.builder.caching import Caching
    from trainload.digest import Digest


@click.command()
@click.argument("words", metavar="[IMAGE] [REFERENCE...]", nargs=-1)
@click.option("--dry-run", is_flag=True, help="Only say what would be sent.")
@click.option("--all-platforms", is_flag=True, help="Of an index: all its images (the default without --platform).")
@pass_world
@late_build_options
@late_dockerfile_options()
@caching_options
def command(
    world: World,
    wishes: Later,
    *,
    caching: Callable[[], Caching],
    words: tuple[str, ...],
    dry_run: bool,
    all_platforms: bool,
) -> None:
    """Send an image to registries, under one reference or several.

    When the first word names an image in the store, that one is sent, to its own name when no REFERENCE follows.
    Otherwise all words are references for the project in this folder, which is built first. Only what a registry
    lacks is sent.
    """
    if all_platforms and wishes.platform is not None:
        raise UsageError(Text("--platform and --all-platforms exclude each other"))
    if not words:
        raise UsageError(
            Text("where to? Give at least one reference"), want="trainload push registry.example/team/app:v1"
        )
    digest = _stored(world, words[0])
    targets = [Reference.parse(word) for word in (words if digest is None or len(words) == 1 else words[1:])]
    if digest is None:
        _check_can_build(world, wishes, targets, words[0])
        pushed = build_and_send(world, replace(wishes.make(), caching=caching()), targets, dry_run=dry_run).pushed
        assert pushed is not None
    else:
        from trainload.destinations.cargo import from_store

        cargo = from_store(world.store, digest, wishes.platform)
        pushed = send(world, cargo, targets, dry_run=dry_run)
    result = {"digest": str(pushed.digest), "size": pushed.size, "repositories": document(pushed.deliveries)}
    world.result(result, lines(pushed.deliveries))


def _stored(world: World, word: str) -> Digest | None:
    try:
        return world.store.resolve(word)
    except MissingError:
        return None


def _check_can_build(world: World, later: Later, targets: Sequence[Reference], word: str) -> None:
    """Raises :class:`MissingError` when a word without a registry was meant to be an image."""
    from trainload.destinations.push import check_targets

    try:
        check_targets(targets[:1])
    except RegistryError:
        world.store.resolve(word)
        raise
    _check_project(world, later, word)
    ready(world, targets)


def _check_project(world: World, later: Later, word: str) -> None:
    """An empty folder would become an image of nothing. Raises :class:`UsageError`."""
    from trainload.cli.project import holds_code

    if not holds_code(world, later.flags):
        raise UsageError(
            Text("this folder holds no project, and the store no image {name}", name=word),
            got=world.cwd,
            hints=[Text("`trainload images` lists what can be pushed by name")],
        )

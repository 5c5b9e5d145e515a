"""``trainload build``: make the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from trainload.cli.above import warn_below
from trainload.cli.dockerfiles import dockerfile_options, hand_over
from trainload.cli.options import folder_argument, pass_world
from trainload.cli.pushing import build_and_send, document, lines, ready
from trainload.cli.wishes import build_options, caching_options
from trainload.cli.world import World
from trainload.errors import Text, UsageError
from trainload.events import How
from trainload.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainload.builder.caching import Caching
    from trainload.pipeline import Built, Wishes
    from trainload.reference import Reference


@click.command("build", help="Make the image of the project in this folder; lock it first if it is not.")
@click.option("-t", "--tag", "references", multiple=True, metavar="NAME[:TAG]", help="Name of the image.")
@click.option(
    "--push", "targets", multiple=True, metavar="REFERENCE", help="Send it to a registry under this name."
)
@click.option("--engine", type=click.Choice(["docker", "podman", "buildah"]),
              help="Hand the Dockerfile to this builder; the image stays with it.")  # fmt: skip
@folder_argument
@pass_world
@build_options
@dockerfile_options
@caching_options
def command(
    world: World,
    wishes: Wishes,
    *,
    caching: Callable[[], Caching],
    references: tuple[str, ...],
    targets: tuple[str, ...],
    engine: str | None,
) -> None:
    from trainload.reference import Reference

    file = wishes.flags.get("dockerfile")
    warn_below(world, None if file is None else str(file))
    names = tuple(str(Reference.parse(reference)) for reference in references)
    if engine is not None:
        if targets:
            raise UsageError(Text("--push is for images that are built here, not by {builder}", builder=engine))
        hand_over(world, replace(wishes, references=names, caching=caching()), engine)
        return
    shipped = build_and_send(world, replace(wishes, references=names, caching=caching()), _places(world, targets))
    built = shipped.built
    result = {**_document(built), **({"pushed": document(shipped.deliveries)} if targets else {})}
    named = [f"{name}  {built.image.digest}" for name in built.references[:1]]
    world.result(result, [*named, *lines(shipped.deliveries)])


def _places(world: World, targets: Sequence[str]) -> list[Reference]:
    """Where to push; what cannot be pushed to is refused before anything is built."""
    if not targets:
        return []
    from trainload.reference import Reference

    places = [Reference.parse(target) for target in targets]
    ready(world, places)
    return places


def _document(built: Built) -> dict[str, object]:
    return {
        "digest": str(built.image.digest),
        "references": list(built.references),
        "platform": str(built.planned.plan.platform),
        "layers": [
            {
                "title": item.planned.title,
                "digest": str(item.layer.descriptor.digest),
                "diff_id": str(item.layer.diff_id),
                "size": item.layer.descriptor.size,
                "present": item.how is How.PRESENT,
                "how": str(item.how),
            }
            for item in built.layers
        ],
    }

"""``trainload build``: make the image."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from trainload.cli import units
from trainload.cli.options import pass_world
from trainload.cli.pushing import document, lines, ready, send
from trainload.cli.wishes import build_options
from trainload.cli.world import World
from trainload.errors import Text
from trainload.events import How

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainload.pipeline import Built, Wishes
    from trainload.reference import Reference


@click.command("build", help="Make the image of the project in this folder; lock it first if it is not.")
@click.option("-t", "--tag", "references", multiple=True, metavar="NAME[:TAG]", help="Name of the image.")
@click.option(
    "--push", "targets", multiple=True, metavar="REFERENCE", help="Send it to a registry under this name."
)
@pass_world
@build_options
def command(world: World, wishes: Wishes, references: tuple[str, ...], targets: tuple[str, ...]) -> None:
    from trainload.pipeline import build
    from trainload.reference import Reference

    names = tuple(str(Reference.parse(reference)) for reference in references)
    places = _places(world, targets)
    built = build(world.site, replace(wishes, references=names))
    _tell(world, built)
    deliveries = send(world, built.image.digest, places).deliveries if places else ()
    result = {**_document(built), **({"pushed": document(deliveries)} if places else {})}
    world.result(result, [f"{built.references[0]}  {built.image.digest}", *lines(deliveries)])


def _places(world: World, targets: Sequence[str]) -> list[Reference]:
    """Where to push; what cannot be pushed to is refused before anything is built."""
    if not targets:
        return []
    from trainload.reference import Reference

    places = [Reference.parse(target) for target in targets]
    ready(world, places)
    return places


def _tell(world: World, built: Built) -> None:
    for warning in built.planned.plan.warnings:
        world.warn(warning)
    made = [item.layer.descriptor.size for item in built.layers if item.how is How.MADE]
    there = [item.layer.descriptor.size for item in built.layers if item.how is How.PRESENT]
    world.say(
        Text(
            "{count} layers, {size}; {made} made, {there} already there",
            count=len(built.layers),
            size=units.size(sum(made) + sum(there)),
            made=units.size(sum(made)),
            there=units.size(sum(there)),
        )
    )


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
            }
            for item in built.layers
        ],
    }

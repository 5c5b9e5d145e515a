"""``trainload inspect``: an image's manifest and config."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from trainload.cli.options import pass_world
from trainload.cli.world import World
from trainload.platform import Platform

if TYPE_CHECKING:
    from trainload.image.model import Image


@click.command()
@click.argument("images", metavar="IMAGE|RUN...", nargs=-1, required=True)
@click.option("--platform", metavar="PLATFORM", help="Of an image for several platforms, the one for PLATFORM.")
@click.option("--raw", type=click.Choice(["manifest", "config"]), help="Print the exact bytes of one document.")
@pass_world
def command(world: World, *, images: tuple[str, ...], platform: str | None, raw: str | None) -> None:
    """Show an image's manifest and configuration, or all that is known about a run."""
    target = Platform.parse(platform) if platform else None
    if raw is None and target is None:
        documents = [_one(world, name) for name in images]
        world.result(documents, json.dumps(documents, ensure_ascii=False, indent=2))
        return
    found = [world.store.image(world.store.resolve(name), target) for name in images]
    if raw is not None:
        for image in found:
            world.stdout.write((image.manifest_bytes if raw == "manifest" else image.config_bytes).decode())
        world.stdout.flush()
        return
    documents = [_document(world, image) for image in found]
    world.result(documents, json.dumps(documents, ensure_ascii=False, indent=2))


def _one(world: World, name: str) -> dict[str, object]:
    """Of the image ``name``, or else of the run."""
    from trainload.store.trouble import MissingError

    try:
        return _document(world, world.store.image(world.store.resolve(name)))
    except MissingError as error:
        document = _run(world, name)
        if document is None:
            raise error from None
        return document


def _run(world: World, name: str) -> dict[str, object] | None:
    from trainload.cli.engines import known, records
    from trainload.cli.ps import document as of_state
    from trainload.cli.runs import document as of_record
    from trainload.errors import StoreError, TrainloadError

    try:
        run = records(world).find(name)
    except StoreError:
        return None
    document = {**of_record(world, run), "request": dict(run.request)}
    try:
        return {**document, **of_state(world, run, known(world, run.id).state)}
    except TrainloadError:  # nothing is left of it but its record
        return document


def _document(world: World, image: Image) -> dict[str, object]:
    return {
        "digest": str(image.digest),
        "names": list(world.store.names().names_of(image.digest)),
        "platform": str(image.config.platform),
        "size": image.size,
        "manifest": json.loads(image.manifest_bytes),
        "config": json.loads(image.config_bytes),
    }

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
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@click.option("--platform", metavar="PLATFORM", help="Of an image for several platforms, the one for PLATFORM.")
@click.option("--raw", type=click.Choice(["manifest", "config"]), help="Print the exact bytes of one document.")
@pass_world
def command(world: World, *, images: tuple[str, ...], platform: str | None, raw: str | None) -> None:
    """Show an image's manifest and configuration."""
    target = Platform.parse(platform) if platform else None
    found = [world.store.image(world.store.resolve(name), target) for name in images]
    if raw is not None:
        for image in found:
            world.stdout.write((image.manifest_bytes if raw == "manifest" else image.config_bytes).decode())
        world.stdout.flush()
        return
    documents = [_document(world, image) for image in found]
    world.result(documents, json.dumps(documents, ensure_ascii=False, indent=2))


def _document(world: World, image: Image) -> dict[str, object]:
    return {
        "digest": str(image.digest),
        "names": list(world.store.names().names_of(image.digest)),
        "platform": str(image.config.platform),
        "size": image.size,
        "manifest": json.loads(image.manifest_bytes),
        "config": json.loads(image.config_bytes),
    }

"""``trainload verify``: whether the store is whole, and an image what it says."""

from __future__ import annotations

import click

from trainload.cli.options import pass_world, registry_options
from trainload.cli.render import table
from trainload.cli.units import size
from trainload.cli.world import World
from trainload.errors import Text, UsageError
from trainload.events import Began, Ended, How, Moved


@click.command()
@click.option("--full", is_flag=True, help="Read every byte: hash all blobs and unpack all layers.")
@click.option("--repair", is_flag=True, help="Put damaged blobs aside, so that they are made or fetched again.")
@click.option("--rebuild", "image", metavar="IMAGE", help="Make the layers of this image again and compare them.")
@pass_world
@registry_options
def command(world: World, *, full: bool, repair: bool, image: str | None) -> int:
    """Check that the store is whole, or that an image is what its project describes.

    Without --full: names, sizes and every document, but of layers only whether they were touched since they were
    committed. With --rebuild, in the project's folder: each layer of IMAGE, in the store or a registry, is made
    again from what the lock names, and its digest is compared. Exit code 1 when something is wrong.
    """
    if image is not None:
        if full or repair:
            raise UsageError(Text("--rebuild looks at one image, --full and --repair at the whole store"))
        from trainload.cli.rebuilding import rebuild

        return rebuild(world, image)
    world.reporter.report(Began("verify", "the store"))
    verdict = world.store.verify(
        full=full, repair=repair, moved=lambda done: world.reporter.report(Moved("verify", done))
    )
    how = How.FAILED if verdict.findings else How.CHECKED
    world.reporter.report(Ended("verify", "the store", how, verdict.size if full else None))
    document = {
        "images": verdict.images,
        "blobs": verdict.blobs,
        "bytes": verdict.size,
        "full": full,
        "findings": [
            {
                "text": world.translate(finding.text),
                "path": str(finding.path),
                "images": list(finding.images),
                "put_aside": repair and finding.damaged is not None,
            }
            for finding in verdict.findings
        ],
    }
    heads = [Text("FINDING"), Text("IMAGES"), Text("FILE")]
    rows = [[finding.text, ", ".join(finding.images) or "-", finding.path] for finding in verdict.findings]
    world.result(document, table(heads, rows, world.catalogue) if rows else ())
    if not verdict.findings:
        told = Text(
            "images: {images}, blobs: {blobs}, together {size}: all as it should be",
            images=verdict.images,
            blobs=verdict.blobs,
            size=size(verdict.size),
        )
        world.say(told)
        return 0
    world.warn(Text("problems found: {count}", count=len(verdict.findings)))
    if repair:
        world.say(Text("damaged blobs were put aside; build or pull the images again"))
    else:
        world.say(Text("`trainload verify --repair` puts damaged blobs aside; then build or pull the images again"))
    return 1

"""``trainload images``: what the store has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from trainload.cli.options import pass_world
from trainload.cli.render import table
from trainload.cli.units import size
from trainload.cli.world import World
from trainload.errors import Text

if TYPE_CHECKING:
    from trainload.store.store import Listed


@click.command()
@click.option("--engine", metavar="NAME", help="What docker or podman got from us, instead of the store's.")
@click.option("--digests", is_flag=True, help="Show whole digests.")
@pass_world
def command(world: World, *, digests: bool, engine: str | None) -> None:
    """List the images in the store."""
    if engine is not None:
        _in_engine(world, engine)
        return
    listed = world.store.images()
    rows = [row for one in listed for row in _rows(one, digests=digests)]
    heads = [Text("REPOSITORY"), Text("TAG"), Text("IMAGE ID"), Text("PLATFORM"), Text("CREATED"), Text("SIZE")]
    world.result([_document(one) for one in listed], table(heads, rows, world.catalogue, right=[5]))
    blobs = {layer.digest: layer.size for one in listed if one.image for layer in one.image.manifest.layers}
    if listed:
        total = size(sum(blobs.values()))
        world.say(
            Text("images: {count}, together {size}; shared layers are kept once", count=len(listed), size=total)
        )


def _in_engine(world: World, name: str) -> None:
    """Images of ours that another engine has."""
    from trainload.cli.engines import named, site

    found = named(name, site(world)).delivered()
    rows: list[list[object]] = [
        [*_split(label), one.id.removeprefix("sha256:")[:12], size(one.size)]
        for one in found
        for label in one.names or ("",)
    ]
    heads = [Text("REPOSITORY"), Text("TAG"), Text("IMAGE ID"), Text("SIZE")]
    documents = [{"id": one.id, "names": list(one.names), "size": one.size} for one in found]
    world.result(documents, table(heads, rows, world.catalogue, right=[3]))


def _rows(one: Listed, *, digests: bool) -> list[list[object]]:
    image = one.image
    facts: list[object] = [
        str(one.digest) if digests else one.digest.short,
        image.config.platform if image else "?",
        _day(image.config.created if image else None),
        size(image.size) if image else one.reason or "?",
    ]
    return [[*_split(name), *facts] for name in one.names or ("",)]


def _split(name: str) -> tuple[str, str]:
    """Repository and tag as Docker shows them."""
    head, slash, last = name.rpartition("/")
    last, _, tag = last.partition(":")
    return (f"{head}{slash}{last}" or "<none>", tag or "<none>")


def _day(created: str | None) -> str:
    """The day an image was made; the epoch means that its bytes do not depend on it."""
    return "-" if created is None or created.startswith(("1970-01-01", "0001-01-01")) else created[:10]


def _document(one: Listed) -> dict[str, object]:
    image = one.image
    return {
        "digest": str(one.digest),
        "names": list(one.names),
        "platform": str(image.config.platform) if image else None,
        "created": image.config.created if image else None,
        "size": image.size if image else None,
        "layers": [str(layer.digest) for layer in image.manifest.layers] if image else None,
        "unreadable": str(one.reason) if one.reason else None,
    }

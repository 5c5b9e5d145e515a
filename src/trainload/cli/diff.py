"""``trainload diff``: what differs between two images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from trainload.cli.options import pass_world
from trainload.cli.render import table
from trainload.cli.units import size
from trainload.cli.world import World
from trainload.errors import Text
from trainload.platform import Platform

if TYPE_CHECKING:
    from trainload.image.difference import Difference, FileChange, LayerChange, PackageChange, SettingChange
    from trainload.image.model import Image


@click.command("diff")
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@click.option("--files", is_flag=True, help="Also every file that is new, gone or different.")
@click.option("--platform", metavar="PLATFORM", help="Of images for several platforms, the ones for PLATFORM.")
@pass_world
def command(world: World, *, old: str, new: str, files: bool, platform: str | None) -> None:
    """Show what differs between two images.

    Layers, packages with their versions and bytes, configuration and, with --files, files. Layers are read once;
    after that the answer is quick.
    """
    from trainload.image.difference import compare
    from trainload.store.inventories import look_into

    target = Platform.parse(platform) if platform else None
    images = [world.store.image(world.store.resolve(name), target) for name in (old, new)]
    before, after = (look_into(world.store, image, world.cpus, world.reporter) for image in images)
    found = compare(images[0], images[1], before, after)
    document = document_of(images, found, files=files)
    world.result(document, list(_report(world, images, found, files=files)))


def _report(world: World, images: list[Image], found: Difference, *, files: bool) -> Iterator[str]:
    tr = world.translate
    for sign, image in zip("-+", images, strict=True):
        yield f"{sign} {image.digest.short}  {image.config.platform}  {size(image.size)}"
    if images[0].digest == images[1].digest:
        yield tr(Text("the images are the same"))
        return
    yield ""
    counted = Text(
        "layers: {shared} shared, {gone} gone, {new} new",
        shared=size(found.size(in_old=True, in_new=True)),
        gone=size(found.size(in_old=True, in_new=False)),
        new=size(found.size(in_old=False, in_new=True)),
    )
    yield tr(counted)
    yield from indented(world, [_layer(one) for one in found.layers if not (one.in_old and one.in_new)], 2)
    if found.packages:
        yield from ("", tr(Text("packages")))
        yield from indented(world, [package_row(one) for one in found.packages], 3)
    if found.settings:
        yield from ("", tr(Text("configuration")))
        yield from indented(world, [setting_row(one) for one in found.settings])
    yield ""
    yield tr(Text("files and folders: {new} new, {gone} gone, {changed} different", **_counts(found)))
    if files:
        yield from indented(world, [file_row(one) for one in found.files], 1)


def indented(world: World, rows: list[list[str]], *right: int) -> list[str]:
    """Columns without a head; those in ``right`` end flush."""
    if not rows:
        return []
    return [f"  {line}" for line in table([""] * len(rows[0]), rows, world.catalogue, right=right)[1:]]


def _layer(change: LayerChange) -> list[str]:
    layer = change.step.layer
    assert layer is not None
    title = " ".join((change.step.title or layer.digest.short).split())[:80]
    return ["+" if change.in_new else "-", title, size(layer.size)]


def package_row(change: PackageChange) -> list[str]:
    grown = change.new_size - change.old_size
    bytes_ = f"{'+' if grown > 0 else ''}{size(grown)}"
    return [_sign(change.old, change.new), change.name, _value(change.old, change.new), bytes_]


def setting_row(change: SettingChange) -> list[str]:
    return [_sign(change.old, change.new), change.name, _value(change.old, change.new)]


def _value(old: str | None, new: str | None) -> str:
    return f"{old} → {new}" if old and new else new or old or ""


def file_row(change: FileChange) -> list[str]:
    now = change.new if change.new is not None else change.old
    return [_sign(change.old, change.new), size(now or 0), f"/{change.path}"]


def _sign(old: object, new: object) -> str:
    return "+" if old is None else "-" if new is None else "~"


def _counts(found: Difference) -> dict[str, str]:
    signs = [_sign(one.old, one.new) for one in found.files]
    return {name: f"{signs.count(sign):,}" for name, sign in (("new", "+"), ("gone", "-"), ("changed", "~"))}


def document_of(images: list[Image], found: Difference, *, files: bool) -> dict[str, object]:
    return {
        "old": {"digest": str(images[0].digest), "size": images[0].size},
        "new": {"digest": str(images[1].digest), "size": images[1].size},
        "layers": [
            {
                "layer": str(one.step.layer.digest) if one.step.layer else None,
                "title": one.step.title,
                "size": one.step.layer.size if one.step.layer else 0,
                "in_old": one.in_old,
                "in_new": one.in_new,
            }
            for one in found.layers
        ],
        "packages": [
            {
                "manager": one.manager, "name": one.name, "old": one.old, "new": one.new,
                "old_size": one.old_size, "new_size": one.new_size,
            }
            for one in found.packages
        ],
        "settings": [{"name": one.name, "old": one.old, "new": one.new} for one in found.settings],
        "files": {name: int(count.replace(",", "")) for name, count in _counts(found).items()},
        **(
            {"changed_files": [{"path": f"/{one.path}", "old": one.old, "new": one.new} for one in found.files]}
            if files
            else {}
        ),
    }  # fmt: skip

"""``trainload runs diff``: what changed from one run to another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from trainload.cli.diff import document_of, file_row, indented, package_row, setting_row
from trainload.cli.options import pass_world
from trainload.cli.world import World
from trainload.errors import StoreError, Text

if TYPE_CHECKING:
    from trainload.image.difference import Difference
    from trainload.image.model import Image
    from trainload.run.compared import FieldChange, RunDifference
    from trainload.store.runs import Run

_MANY = 40
"""Files that are listed; more become a number."""


@click.command("diff")
@click.argument("old", metavar="RUN")
@click.argument("new", metavar="RUN")
@click.option("--files", "everything", is_flag=True, help="Every file that differs, those of packages too.")
@pass_world
def command(world: World, *, old: str, new: str, everything: bool) -> None:
    """Show what changed from one run to another.

    Command, options and names of variables from their records; code, packages and settings from their images.
    """
    from trainload.cli.engines import records
    from trainload.run.compared import compare

    known = records(world)
    runs = known.find(old), known.find(new)
    found = compare(*runs)
    compared = _images(world, runs)
    document = _document(runs, found, compared, everything=everything)
    world.result(document, list(_report(world, runs, found, compared, everything=everything)))


def _images(world: World, runs: tuple[Run, Run]) -> tuple[list[Image], Difference] | None:
    """Both images and what differs; None when one is not in the store any more, which is said."""
    from trainload.image.difference import compare
    from trainload.store.inventories import look_into

    images = []
    for run in runs:
        try:
            images.append(world.store.image(run.image))
        except StoreError:
            text = "the image {digest} of run {id} is not in the store any more: only the records are compared"
            world.warn(Text(text, digest=run.image.short, id=run.id))
            return None
    if images[0].digest == images[1].digest:
        return None
    before, after = (look_into(world.store, image, world.cpus, world.reporter) for image in images)
    return images, compare(images[0], images[1], before, after)


def _report(
    world: World, runs: tuple[Run, Run], found: RunDifference, compared: tuple[list[Image], Difference] | None,
    *, everything: bool,
) -> Iterator[str]:  # fmt: skip
    tr = world.translate
    for sign, run in zip("-+", runs, strict=True):
        started = run.started.astimezone().strftime("%Y-%m-%d %H:%M")
        yield f"{sign} {run.id}  {run.name} ({run.image.short})  {started}"
    if not found and runs[0].image == runs[1].image:
        yield tr(Text("the runs are the same"))
        return
    if found.command:
        words = zip("-+", found.command, strict=True)
        yield from ("", tr(Text("command")), *(f"  {sign} {line}" for sign, line in words))
    gone, new = found.environment
    if gone or new:
        names = [["-", name] for name in gone] + [["+", name] for name in new]
        yield from ("", tr(Text("names of variables")), *indented(world, names))
    if found.fields:
        yield from ("", tr(Text("run")), *indented(world, [_field(one) for one in found.fields]))
    if compared is not None:
        yield from _image_report(world, compared[1], everything=everything)


def _image_report(world: World, found: Difference, *, everything: bool) -> Iterator[str]:
    tr = world.translate
    own = found.code
    if own:
        yield from ("", tr(Text("code")), *indented(world, [file_row(one) for one in own[:_MANY]], 1))
        if len(own) > _MANY:
            yield "  " + tr(Text("and {count} more files", count=len(own) - _MANY))
    if found.packages:
        yield from ("", tr(Text("packages")), *indented(world, [package_row(one) for one in found.packages], 3))
    if found.settings:
        yield from ("", tr(Text("configuration")), *indented(world, [setting_row(one) for one in found.settings]))
    if everything:
        yield from ("", tr(Text("files")), *indented(world, [file_row(one) for one in found.files], 1))


def _field(change: FieldChange) -> list[str]:
    sign = "+" if change.old is None else "-" if change.new is None else "~"
    both = change.old is not None and change.new is not None
    return [sign, change.name, f"{change.old} → {change.new}" if both else change.new or change.old or ""]


def _document(
    runs: tuple[Run, Run], found: RunDifference, compared: tuple[list[Image], Difference] | None,
    *, everything: bool,
) -> dict[str, object]:  # fmt: skip
    old, new = runs
    command_ = {"old": list(old.command), "new": list(new.command)} if found.command else None
    document: dict[str, object] = {
        "old": {"id": old.id, "image": str(old.image)},
        "new": {"id": new.id, "image": str(new.image)},
        "same": not found and old.image == new.image,
        "command": command_,
        "environment": {"gone": list(found.environment[0]), "new": list(found.environment[1])},
        "run": [asdict(one) for one in found.fields],
        "image": None,
    }
    if compared is not None:
        images, difference = compared
        code = [{"path": f"/{one.path}", "old": one.old, "new": one.new} for one in difference.code]
        document["image"] = {"code": code, **document_of(images, difference, files=everything)}
    return document

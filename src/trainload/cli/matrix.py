"""``trainload matrix``: several Pythons, accelerators and variants of a project at once, and what they share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

from trainload.cli import units
from trainload.cli.options import pass_world
from trainload.cli.pushing import build_and_send, document, ready
from trainload.cli.render import table
from trainload.cli.wishes import build_options, caching_options
from trainload.cli.world import World
from trainload.errors import ConfigError, ManyErrors, Place, Problems, Text, TrainloadError, UsageError

if TYPE_CHECKING:
    from trainload.builder.caching import Caching
    from trainload.cli.pushing import Shipped
    from trainload.pipeline import Built, Wishes
    from trainload.project.matrix import Cell
    from trainload.reference import Reference


_LISTED = 400
"""Characters of combinations that an error names."""


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one combination."""

    cell: Cell
    shipped: Shipped | None
    error: TrainloadError | None = None

    @property
    def built(self) -> Built | None:
        return self.shipped.built if self.shipped is not None else None


@click.command("matrix")
@click.option("--push", "target", metavar="REPOSITORY", help="Send each to a registry, tagged by its combination.")
@click.option("--list", "only_list", is_flag=True, help="Show the combinations, and build nothing.")
@pass_world
@build_options
@caching_options
def command(
    world: World, wishes: Wishes, *, caching: Callable[[], Caching], target: str | None, only_list: bool
) -> int:
    """Build every combination of [tool.trainload.matrix]: variants, Pythons and accelerators.

    Each has a lock of its own, which begins with the versions of the project's, so that they share layers.
    --variant, --python and --accelerator narrow it down. One that fails does not keep the others from being built.
    """
    cells = _cells(world, wishes)
    if only_list:
        world.result([{"tag": cell.tag, **cell.flags()} for cell in cells], [cell.tag or "–" for cell in cells])
        return 0
    places = _places(world, target, cells)
    wishes = replace(wishes, caching=caching())
    rows = [_build(world, wishes, cell, place) for cell, place in zip(cells, places, strict=True)]
    world.result(_document(rows), list(_report(world, rows)))
    errors = [row.error for row in rows if row.error is not None]
    if errors and world.json:  # they are in the document
        return ManyErrors(errors).exit_code
    Problems(errors).check()
    return 0


def _cells(world: World, wishes: Wishes) -> tuple[Cell, ...]:
    """The combinations that are meant. Raises :class:`ConfigError` for names of variants that are not there."""
    from trainload.project import keys
    from trainload.project.config import read_sources
    from trainload.project.matrix import AXES, cells
    from trainload.project.variants import no_such

    flags = {key: value for key, value in wishes.flags.items() if key not in AXES}
    sources = read_sources(world.site.tree, flags, world.environ)
    variants = sources.choose(keys.MATRIX_VARIANT).value
    for index, name in enumerate(variants):
        if name not in sources.variants:
            raise no_such(name, sources.variants, Place(sources.file or "environment", f"matrix.variant[{index}]"))
    pythons, accelerators = (sources.choose(key).value for key in (keys.MATRIX_PYTHON, keys.MATRIX_ACCELERATOR))
    exclude = sources.choose(keys.MATRIX_EXCLUDE).value
    everything = cells(variants, pythons, accelerators, ())
    for index, one in enumerate(exclude):
        if cells(variants, pythons, accelerators, [one]) == everything:
            raise ConfigError(
                Text("there is no such combination, so nothing is left out"),
                place=Place(sources.file or "environment", f"matrix.exclude[{index}]"),
                got=", ".join(f"{axis} {value}" for axis, value in one),
                want=", ".join(cell.tag for cell in everything)[:_LISTED],
            )
    found = cells(variants, pythons, accelerators, exclude)
    asked = {axis: str(wishes.flags[axis]) for axis in AXES if axis in wishes.flags}
    kept = tuple(cell for cell in found if all(getattr(cell, axis) == value for axis, value in asked.items()))
    if not any(cell.tag for cell in found):
        raise ConfigError(
            "there is no matrix",
            place=Place("tool.trainload.matrix"),
            hints=[Text('for instance: python = ["3.11", "3.12"] in [tool.trainload.matrix]')],
        )
    if not kept:
        told = " ".join(f"--{key} {value}" for key, value in asked.items())
        raise UsageError("no combination is left", got=told, want=", ".join(cell.tag for cell in found)[:_LISTED])
    return kept


def _places(world: World, target: str | None, cells: Sequence[Cell]) -> list[list[Reference]]:
    """Where each is pushed to; what cannot be pushed to is refused before anything is built."""
    if target is None:
        return [[] for _ in cells]
    from trainload.reference import Reference

    repository = Reference.parse(target)
    if repository.tag or repository.digest:
        raise UsageError("each combination has its own tag", got=target, want=repository.name)
    places = [[Reference.parse(f"{target}:{cell.tag}")] for cell in cells]
    ready(world, places[0])
    return places


def _build(world: World, wishes: Wishes, cell: Cell, places: Sequence[Reference]) -> Row:
    world.say(Text("combination {tag}", tag=cell.tag))
    one = replace(wishes, flags={**wishes.flags, **cell.flags()}, cell=cell)
    try:
        return Row(cell, build_and_send(world, one, places))
    except TrainloadError as error:
        world.warn(Text("the combination {tag} failed: {reason}", tag=cell.tag, reason=world.translate(error.text)))
        return Row(cell, None, error)


def _sharing(rows: Sequence[Row]) -> Counter[object]:
    """How many of the images have each layer."""
    images = [{one.layer.descriptor.digest for one in row.built.layers} for row in rows if row.built is not None]
    return Counter(digest for layers in images for digest in layers)


def _sizes(row: Row, counts: Counter[object]) -> tuple[int, int]:
    """(bytes, those of them that another image has too)."""
    assert row.built is not None
    layers = [one.layer.descriptor for one in row.built.layers]
    return sum(one.size for one in layers), sum(one.size for one in layers if counts[one.digest] > 1)


def _document(rows: Sequence[Row]) -> dict[str, object]:
    counts = _sharing(rows)
    images: list[dict[str, object]] = []
    for row in rows:
        one: dict[str, object] = {"tag": row.cell.tag, "variant": None, "python": None, "accelerator": None}
        one |= row.cell.flags()
        if row.built is None or row.shipped is None:
            images.append({**one, "error": str(row.error)})
            continue
        whole, shared = _sizes(row, counts)
        planned = row.built.planned
        one |= {"digest": str(row.built.image.digest), "references": list(row.built.references)}
        one |= {"lock": planned.locked.project.locks[0], "size": whole, "shared": shared}
        images.append({**one, "layers": len(row.built.layers), "pushed": document(row.shipped.deliveries)})
    return {
        "images": images,
        "size": _together(rows),
        "sum": sum(_sizes(row, counts)[0] for row in rows if row.built),
    }


def _together(rows: Sequence[Row]) -> int:
    """Bytes of all of them, each layer once."""
    layers = [one.layer.descriptor for row in rows if row.built is not None for one in row.built.layers]
    return sum({one.digest: one.size for one in layers}.values())


def _report(world: World, rows: Sequence[Row]) -> Iterator[str]:
    tr, counts = world.translate, _sharing(rows)
    lines = []
    for row in rows:
        if row.built is None:
            lines.append([row.cell.tag, tr(Text("failed")), "–", "–"])
            continue
        whole, shared = _sizes(row, counts)
        lines.append([row.cell.tag, str(row.built.image.digest), units.size(whole), units.size(shared)])
    head = [Text("COMBINATION"), Text("DIGEST"), Text("SIZE"), Text("SHARED")]
    yield from table([tr(one) for one in head], lines, world.catalogue, right=(2, 3))
    built = [row for row in rows if row.built is not None]
    yield ""
    yield tr(
        Text(
            "{count} images, {size} together; one by one they would be {sum}",
            count=len(built),
            size=units.size(_together(rows)),
            sum=units.size(sum(_sizes(row, counts)[0] for row in built)),
        )
    )

"""``trainload plan``: what goes in, how big and why, before anything is built."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import click

from trainload.cli import units
from trainload.cli.dockerfiles import dockerfile_options
from trainload.cli.options import folder_argument, pass_world
from trainload.cli.wishes import build_options
from trainload.cli.world import World
from trainload.errors import Text

if TYPE_CHECKING:
    from trainload.digest import Digest
    from trainload.image.model import Image
    from trainload.pipeline import Planned, Wishes
    from trainload.plan.diff import BuiltLayer, LayerChange
    from trainload.plan.model import Plan, Recipe
    from trainload.project.model import Settings

_SIGNS = {"same": " ", "new": "+", "gone": "-"}


@click.command("plan", help="Show what goes in, how big it is and why, before anything is built.")
@click.option("--diff", "other", metavar="IMAGE", help="Compare with an image in the store.")
@folder_argument
@pass_world
@build_options
@dockerfile_options
def command(world: World, wishes: Wishes, other: str | None) -> None:
    from trainload.pipeline import dockerfile_of, plan
    from trainload.plan.key import recipe_key
    from trainload.plan.show import as_data

    file = dockerfile_of(world.site, wishes)
    if file is not None:
        from trainload.cli.dockerfiles import show_lines

        show_lines(world, wishes, file)
        return
    planned = plan(world.site, wishes)
    for warning in planned.plan.warnings:
        world.warn(warning)
    if other is not None:
        changes = _changes(world, planned.plan, other)
        world.result([_change_document(change) for change in changes], list(_difference(world, changes)))
        return
    mounted = [layer for mount in planned.plan.mounts for layer in mount.layers]
    layers = (*planned.plan.layers, *mounted)
    present = {recipe_key(layer.recipe) for layer in layers if _is_here(world, layer.recipe)}
    document = as_data(planned.plan, present) | {
        "settings": {name: _chosen(world, value) for name, value in _settings(planned.locked.project.settings)},
        "left_out": [
            {"path": path, "why": why.value, "rule": rule} for path, why, rule in planned.listing.left_out
        ],
    }
    world.result(document, list(_table(world, planned, present)))


def _is_here(world: World, recipe: Recipe) -> bool:
    from trainload.digest import Digest
    from trainload.plan.key import recipe_key
    from trainload.plan.model import ImageLayerRecipe

    if isinstance(recipe, ImageLayerRecipe):
        return world.store.has(Digest.parse(recipe.digest), recipe.size)
    return world.store.recipes.find(recipe_key(recipe)) is not None


def _settings(settings: Settings) -> Iterator[tuple[str, object]]:
    return ((name, getattr(settings, name)) for name in type(settings).__dataclass_fields__)


def _chosen(world: World, chosen: object) -> dict[str, object]:
    from trainload.project.model import Chosen

    assert isinstance(chosen, Chosen)
    return {
        "value": _plain(chosen.value),
        "origin": chosen.origin.value,
        "reason": world.translate(chosen.reason),
    }


def _plain(value: object) -> object:
    """A setting's value as JSON holds it."""
    from dataclasses import asdict, is_dataclass

    from trainload.project.weights import Wanted

    if isinstance(value, Wanted):
        return {**asdict(value), "source": str(value)}
    if is_dataclass(value) and not isinstance(value, type):
        return {"kind": type(value).__name__, **asdict(value)}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value


def _table(world: World, planned: Planned, present: set[Digest]) -> Iterator[str]:
    """Settings that were found or set, then the layers with their reasons, then the sum."""
    from trainload.plan.key import recipe_key

    tr = world.translate
    yield f"{planned.plan.name}  {planned.plan.platform}"
    yield ""
    yield from _columns([(name, text, reason) for name, text, reason in _reasons(world, planned)])
    yield ""
    rows = []
    for layer in planned.plan.layers:
        weight = units.size(layer.size) if layer.size is not None else "–"
        there = tr(Text("already there")) if recipe_key(layer.recipe) in present else ""
        rows.append((layer.title, weight, tr(layer.why), there))
    for mount in planned.plan.mounts:
        for layer in mount.layers:
            there = tr(Text("already there")) if recipe_key(layer.recipe) in present else ""
            why = tr(Text("mounted at {path}, no part of the image", path=f"/{mount.path}"))
            rows.append((layer.title, units.size(layer.size or 0), why, there))
    yield from _columns(rows, right={1})
    yield ""
    yield from _sources(world, planned.plan)
    total = sum(layer.size or 0 for layer in planned.plan.layers)
    to_make = sum(layer.size or 0 for layer in planned.plan.layers if recipe_key(layer.recipe) not in present)
    yield tr(
        Text(
            "{count} layers, {total} of inputs, {missing} to make",
            count=len(planned.plan.layers),
            total=units.size(total),
            missing=units.size(to_make),
        )
    )


def _sources(world: World, plan: Plan) -> Iterator[str]:
    """Packages that have only their source, and whether their wheels are there."""
    from trainload.plan.show import builds

    found = [build for layer in plan.layers for build in builds(layer)]
    coming = ", ".join(build["package"] for build in found if build["wheel"] is None)
    there = ", ".join(build["package"] for build in found if build["wheel"] is not None)
    if coming:
        yield world.translate(Text("to be built from source in the sandbox: {packages}", packages=coming))
    if there:
        yield world.translate(Text("built from source in the sandbox: {packages}", packages=there))


def _reasons(world: World, planned: Planned) -> Iterator[tuple[str, str, str]]:
    from trainload.project.model import Origin

    shown = {"python", "base", "profile", "system", "dependencies", "accelerator", "command", "user", "workdir"}
    for name, chosen in _settings(planned.locked.project.settings):
        value = getattr(chosen, "value", None)
        if name not in shown and getattr(chosen, "origin", None) in (Origin.DEFAULT, Origin.DETECTED):
            continue
        text = planned.locked.lock.python if name == "python" and value is None else _text(value)
        if text:
            yield name, text, world.translate(getattr(chosen, "reason", Text("")))


def _text(value: object) -> str:
    from dataclasses import is_dataclass

    if isinstance(value, tuple):
        return shlex.join(map(str, value))
    if isinstance(value, dict):
        return " ".join(f"{key}={item}" for key, item in value.items())
    if is_dataclass(value):
        files = getattr(value, "files", None) or (getattr(value, "path", ""),)
        return " ".join(filter(None, files)) or "–"
    return str(value)


def _columns(rows: Sequence[Sequence[str]], right: Iterable[int] = ()) -> Iterator[str]:
    """Rows with aligned columns; those in ``right`` end at the same cell."""
    if not rows:
        return
    widths = [max(units.cells(row[n]) for row in rows) for n in range(len(rows[0]))]
    aligned = set(right)
    for row in rows:
        cells = [units.pad(cell, widths[n], right=n in aligned) for n, cell in enumerate(row)]
        yield "  ".join(cells).rstrip()


def _changes(world: World, plan: Plan, name: str) -> tuple[LayerChange, ...]:
    from trainload.plan.diff import compare

    image = world.store.image(world.store.resolve(name), plan.platform)
    return compare(plan, list(_built(image)))


def _built(image: Image) -> Iterator[BuiltLayer]:
    from trainload.image.model import RECIPE
    from trainload.plan.diff import BuiltLayer

    titles = [entry.created_by for entry in image.config.history if not entry.empty]
    for number, layer in enumerate(image.manifest.layers):
        title = titles[number].rpartition(" · ")[0] if number < len(titles) else str(layer.digest)
        yield BuiltLayer(title, layer.annotations.get(RECIPE, ""), layer.size)


def _difference(world: World, changes: Sequence[LayerChange]) -> Iterator[str]:
    rows = [
        (_SIGNS[change.change.value], change.title, units.size(change.size) if change.size is not None else "–")
        for change in changes
    ]
    yield from _columns(rows, right={2})
    same = sum(change.size or 0 for change in changes if change.change.value == "same")
    new = sum(change.size or 0 for change in changes if change.change.value == "new")
    yield ""
    yield world.translate(Text("{same} the same, {new} new", same=units.size(same), new=units.size(new)))


def _change_document(change: LayerChange) -> dict[str, object]:
    return {"change": change.change.value, "title": change.title, "size": change.size}

"""``trainload size``: why an image is as large as it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

import click

from trainload.cli.options import pass_world
from trainload.cli.render import table
from trainload.cli.units import size
from trainload.cli.world import World
from trainload.errors import Text
from trainload.platform import Platform

if TYPE_CHECKING:
    from trainload.digest import Digest
    from trainload.image.history import Step
    from trainload.image.model import Image
    from trainload.image.weight import Weight, Weights

Key = TypeVar("Key")
_PACKAGES = 15
_DUPLICATES = 10


def kind_names() -> dict[str, Text]:
    """What kinds of files are called."""
    return {
        "gpu": Text("CUDA and other GPU libraries"),
        "weights": Text("weights of models"),
        "python": Text("Python packages"),
        "bytecode": Text("bytecode"),
        "distribution": Text("the distribution"),
        "code": Text("your code"),
        "cache": Text("caches"),
        "other": Text("other"),
    }


@click.command("size")
@click.argument("image", metavar="IMAGE")
@click.option("--all", "everything", is_flag=True, help="Every package and duplicate, not only the largest.")
@click.option("--platform", metavar="PLATFORM", help="Of an image for several platforms, the one for PLATFORM.")
@pass_world
def command(world: World, *, image: str, everything: bool, platform: str | None) -> None:
    """Show why an image is as large as it is.

    By kind, layer and package, what is in it twice or never seen, and what would make it smaller. Layers are read
    once; after that the answer is quick.
    """
    from trainload.image.history import steps
    from trainload.image.weight import weigh
    from trainload.store.inventories import look_into

    found = world.store.image(world.store.resolve(image), Platform.parse(platform) if platform else None)
    contents = look_into(world.store, found, world.cpus, world.reporter)
    weights = weigh(contents, found.config.runtime.workdir)
    layers = [step for step in steps(found) if step.layer is not None]
    world.result(
        _document(world, found, weights, layers),
        list(_report(world, found, weights, layers, everything=everything)),
    )


def _report(world: World, image: Image, weights: Weights, layers: list[Step], *, everything: bool) -> Iterator[str]:
    tr = world.translate
    total = Text(
        "{packed} as it is stored and sent, {unpacked} unpacked, {files} files",
        packed=size(image.size),
        unpacked=size(weights.seen.unpacked),
        files=f"{weights.seen.files:,}",
    )
    yield f"{image.digest.short}  {image.config.platform}  {tr(total)}"
    for path, digest, whole in _mounted(world, image):
        beside = Text(
            "beside it, mounted at {path}: {size} ({digest})", path=path, size=size(whole), digest=digest.short
        )
        yield tr(beside)
    yield ""
    yield from _table(world, Text("KIND"), ((kind_names()[kind], one) for kind, one in _heaviest(weights.kinds)))
    yield ""
    rows = ((_title(layers[number]), seen) for number, (seen, _) in sorted(weights.layers.items()))
    yield from _table(world, Text("LAYER"), rows)
    packages = _heaviest(weights.packages)
    if packages:
        yield ""
        shown = packages if everything else packages[:_PACKAGES]
        yield from _table(world, Text("PACKAGE"), ((f"{p.name} {p.version}", one) for p, one in shown))
        yield from _more(world, len(packages) - len(shown))
    yield from _losses(world, weights, everything=everything)
    if weights.hints:
        yield ""
        yield from (f"- {tr(hint)}" for hint in weights.hints)


def _losses(world: World, weights: Weights, *, everything: bool) -> Iterator[str]:
    """What is there for nothing."""
    tr = world.translate
    if weights.hidden.files:
        yield ""
        text = Text(
            "{files} files, {packed} of the layers, are replaced or deleted by higher layers",
            files=f"{weights.hidden.files:,}",
            packed=size(weights.hidden.packed),
        )
        yield tr(text)
    if weights.twice:
        yield ""
        shown = weights.twice if everything else weights.twice[:_DUPLICATES]
        heads = [Text("TWICE"), Text("TOO MUCH"), Text("PATHS")]
        rows = [[one.name, size(one.waste), "  ".join(one.paths)] for one in shown]
        yield from table(heads, rows, world.catalogue, right=[1])
        yield from _more(world, len(weights.twice) - len(shown))


def _more(world: World, count: int) -> Iterator[str]:
    if count > 0:
        yield world.translate(Text("… and {count} more: --all shows them", count=count))


def _table(world: World, head: Text, rows: Iterable[tuple[Text | str, Weight]]) -> list[str]:
    cells = [[name, size(one.packed), size(one.unpacked), f"{one.files:,}"] for name, one in rows]
    heads = [head, Text("STORED"), Text("UNPACKED"), Text("FILES")]
    return table(heads, cells, world.catalogue, right=[1, 2, 3])


def _heaviest(weights: dict[Key, Weight]) -> list[tuple[Key, Weight]]:
    return sorted(weights.items(), key=lambda item: (-item[1].packed, str(item[0])))


def _title(step: Step) -> str:
    title = step.title or (step.layer.digest.short if step.layer else "")
    return " ".join(title.split())[:80]


def _document(world: World, image: Image, weights: Weights, layers: list[Step]) -> dict[str, object]:
    return {
        "digest": str(image.digest),
        "platform": str(image.config.platform),
        "stored": image.size,
        "unpacked": weights.seen.unpacked,
        "files": weights.seen.files,
        "kinds": {str(kind): _plain(one) for kind, one in _heaviest(weights.kinds)},
        "mounts": [
            {"path": path, "digest": str(digest), "stored": whole} for path, digest, whole in _mounted(world, image)
        ],
        "layers": [
            {
                "layer": str(step.layer.digest) if step.layer else None,
                "title": step.title,
                "stored": step.layer.size if step.layer else 0,
                "seen": _plain(weights.layers[number][0]) if number in weights.layers else None,
                "hidden": _plain(weights.layers[number][1]) if number in weights.layers else None,
            }
            for number, step in enumerate(layers)
        ],
        "packages": [
            {"manager": package.manager, "name": package.name, "version": package.version, **_plain(one)}
            for package, one in _heaviest(weights.packages)
        ],
        "hidden": _plain(weights.hidden),
        "twice": [
            {"name": one.name, "waste": one.waste, "same_content": one.same_content, "paths": list(one.paths)}
            for one in weights.twice
        ],
        "hints": [world.translate(hint) for hint in weights.hints],
    }


def _mounted(world: World, image: Image) -> list[tuple[str, Digest, int]]:
    """Weights that are no part of the image, with their bytes as far as they are here."""
    from trainload.image.mounts import mounts_of

    found = mounts_of(image)
    return [(path, one, world.store.image(one).size if world.store.has(one) else 0) for path, one in found]


def _plain(weight: Weight) -> dict[str, int]:
    return {"stored": weight.packed, "unpacked": weight.unpacked, "files": weight.files}

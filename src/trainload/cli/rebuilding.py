"""``trainload verify --rebuild``: whether an image's layers are what the project's lock gives."""

from __future__ import annotations

from trainload.builder.rebuild import Verdict
from trainload.cli.render import table
from trainload.cli.units import size
from trainload.cli.world import World
from trainload.destinations.remote import remote_image
from trainload.errors import Text
from trainload.image.model import Image
from trainload.platform import Platform
from trainload.reference import Reference
from trainload.store.trouble import MissingError

_WORDS = {
    Verdict.EQUAL: Text("equal"),
    Verdict.DIFFERENT: Text("different"),
    Verdict.NOT_REBUILT: Text("not rebuilt"),
}


def rebuild(world: World, name: str) -> int:
    """Tell of each layer; exit code 1 when one is different."""
    from trainload.pipeline import Wishes
    from trainload.pipeline import rebuild as remake

    found = remake(world.site, Wishes(), _image(world, name))
    rows = [
        [
            _WORDS[one.verdict], one.title, size(one.size), one.digest.short,
            world.translate(one.reason) if one.reason else f"sha256:{one.got.short}" if one.got else "",
        ]
        for one in found
    ]  # fmt: skip
    layers = [
        {
            "verdict": str(one.verdict), "title": one.title, "digest": str(one.digest), "size": one.size,
            "got": str(one.got) if one.got else None, "reason": world.translate(one.reason) if one.reason else None,
        }
        for one in found
    ]  # fmt: skip
    heads = [Text("VERDICT"), Text("LAYER"), Text("SIZE"), Text("DIGEST"), Text("WHY")]
    world.result({"layers": layers}, table(heads, rows, world.catalogue))
    counts = {verdict: sum(one.verdict is verdict for one in found) for verdict in Verdict}
    told = Text(
        "layers: {equal} equal, {different} different, {other} not rebuilt", equal=counts[Verdict.EQUAL],
        different=counts[Verdict.DIFFERENT], other=counts[Verdict.NOT_REBUILT],
    )  # fmt: skip
    if counts[Verdict.DIFFERENT]:
        world.warn(told)
        return 1
    world.say(told)
    return 0


def _image(world: World, name: str) -> Image:
    """The image in the store or, of a name with a registry, in that registry: its two documents are enough."""
    try:
        return world.store.image(world.store.resolve(name))
    except MissingError:
        reference = Reference.parse(name)
        if reference.tag is None and reference.digest is None:
            raise
    return remote_image(world.registry, reference, Platform.host())

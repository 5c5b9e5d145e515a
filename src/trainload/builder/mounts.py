"""Weights that are mounted: their layers made like the image's, in an artifact of their own."""

from __future__ import annotations

from trainload.builder.makers import Code
from trainload.builder.workshop import MadeLayer, Workshop
from trainload.image.assemble import assemble_mount
from trainload.image.model import Image
from trainload.plan.model import Plan, PlannedMount
from trainload.values import dataclass, replace


@dataclass(frozen=True, slots=True)
class MountedLayers:
    """An artifact, and how its layers came to be."""

    image: Image
    layers: tuple[MadeLayer, ...]


def make_mount(shop: Workshop, mount: PlannedMount, plan: Plan, code: Code) -> MountedLayers:
    """The artifact of ``mount``, which belongs to ``plan``; its documents are still to be stored."""
    layers = shop.make(replace(plan, layers=mount.layers, mounts=(), base=None), code)
    return MountedLayers(assemble_mount(mount, plan.platform, [made.layer for made in layers]), layers)

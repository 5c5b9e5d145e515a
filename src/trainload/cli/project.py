"""The project in this folder as something to run: its image, built first if it must."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainload.cli.running import Target
from trainload.errors import Text

if TYPE_CHECKING:
    from trainload.cli.world import World
    from trainload.project.model import Resources


def project_target(world: World, *, frozen: bool) -> tuple[Target, Resources]:
    """The project's image and its defaults for a run. Raises :class:`TrainloadError`."""
    from trainload.pipeline import Wishes, build

    built = build(world.site, Wishes(frozen=frozen))
    for warning in built.planned.plan.warnings:
        world.warn(warning)
    name = built.references[0]
    world.say(Text("{name}  {digest}", name=name, digest=built.image.digest))
    return Target(built.image, name), built.planned.locked.project.settings.run.value

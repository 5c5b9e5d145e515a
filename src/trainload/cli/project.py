"""The project in this folder as something to run: its image, built first if it must."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainload.cli.running import Target
from trainload.errors import Text, UsageError

if TYPE_CHECKING:
    from trainload.cli.world import World
    from trainload.project.model import Resources


def project_target(world: World) -> tuple[Target, Resources]:
    """The project's image and its defaults for a run. Raises :class:`TrainloadError`."""
    raise UsageError(
        Text("a project cannot be run before it is built: {folder}", folder=world.cwd),
        hints=("name an image: `trainload images` lists them",),
    )

"""Called in a folder of a project instead of the project's own: the usual reason for an empty image."""

from __future__ import annotations

import os
from pathlib import Path

from trainload.cli.world import World
from trainload.errors import Text

_SAYS = (
    "trainload.toml", "Dockerfile", "Containerfile", "pyproject.toml", "uv.lock", "pylock.toml", "requirements.txt",
    "environment.yml",
)  # fmt: skip
_HIGHEST = 4
"""Folders above the one we are called in."""


def warn_below(world: World, file: str | None) -> None:
    """Told where nothing here says what the project is, and something above does; ``file``: of ``-f``."""
    here = world.cwd
    if file is not None or _says(here) or any(here.glob("*.py")):
        return
    home = Path.home()
    for folder in list(here.parents)[:_HIGHEST]:
        found = _says(folder)
        if found and folder != home:
            name = os.path.relpath(folder, here)
            world.warn(
                Text("nothing here says what the project is, and {file} does: trainload -C {folder} …",
                     file=f"{name}/{found}", folder=name)
            )  # fmt: skip
            return


def _says(folder: Path) -> str | None:
    return next((name for name in _SAYS if (folder / name).is_file()), None)

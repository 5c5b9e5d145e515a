"""``trainload freeze``: the lock in the words of other tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainload.cli.options import pass_world
from trainload.cli.wishes import build_options
from trainload.cli.world import World
from trainload.errors import LockError, Text

if TYPE_CHECKING:
    from trainload.lock.model import Lock
    from trainload.pipeline import Wishes
    from trainload.platform import Platform

_FORMS = ("explicit", "requirements", "json")


@click.command("freeze", help="Write what is locked for conda, for pip, or as a list for bills of materials.")
@click.option("--format", "form", type=click.Choice(_FORMS), help="Print this one.")
@click.option("-o", "--output", metavar="FOLDER", type=click.Path(path_type=Path), help="Write them into a folder.")
@pass_world
@build_options
def command(world: World, wishes: Wishes, form: str | None, output: Path | None) -> None:
    from trainload.pipeline import lock

    locked = lock(world.site, wishes).lock
    platform = wishes.platform or locked.platforms[0]
    if output is None:
        kind = form or ("explicit" if locked.conda is not None else "requirements")
        text = _texts(locked, platform, kind)[1]
        world.result(json.loads(text) if kind == "json" else {"format": kind, "text": text}, text.rstrip("\n"))
        return
    kinds = [form] if form else [kind for kind in _FORMS if kind != "explicit" or locked.conda is not None]
    folder = world.cwd / output
    written = [_write(folder, *_texts(locked, platform, kind)) for kind in kinds]
    world.result([str(path) for path in written], [str(output / path.name) for path in written])


def _texts(lock: Lock, platform: Platform, kind: str) -> tuple[str, str]:
    """(file name, content)."""
    from trainload.lock import freeze

    if kind == "explicit":
        text = freeze.explicit(lock, platform)
        return f"conda-{text.split()[2]}.lock", text
    if kind == "requirements":
        return "requirements.frozen.txt", freeze.requirements(lock, platform)
    rows = freeze.inventory(lock, platform)
    return "packages.json", json.dumps(rows, indent=2, ensure_ascii=False) + "\n"


def _write(folder: Path, name: str, text: str) -> Path:
    from trainload.system.files import replace

    path = folder / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace(path, text.encode())
    except OSError as error:
        raise LockError(Text("{path} cannot be written", path=path), got=error.strerror) from error
    return path

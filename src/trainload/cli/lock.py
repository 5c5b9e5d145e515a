"""``trainload lock``: pin the exact bytes of everything that goes in, and tell what changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from trainload.cli.dockerfiles import dockerfile_options
from trainload.cli.options import pass_world
from trainload.cli.wishes import build_options
from trainload.cli.world import World
from trainload.errors import Text, UsageError

if TYPE_CHECKING:
    from trainload.lock.diff import Change, Changes, Package
    from trainload.lock.model import Lock
    from trainload.pipeline import Locked, Wishes

_SAVED = ("accelerator", "python", "base", "profile")


@click.command("lock", help="Pin the exact bytes of everything that goes in; tell what changed.")
@click.option("-U", "--upgrade", is_flag=True, help="Take the newest of PACKAGE…, or of everything.")
@click.option("--check", is_flag=True, help="Change nothing; fail when the lock does not hold.")
@click.option(
    "--save",
    is_flag=True,
    help="Keep --accelerator, --python, --base and --profile in the project's configuration.",
)
@click.argument("packages", nargs=-1, metavar="[PACKAGE]...")
@pass_world
@build_options
@dockerfile_options
def command(
    world: World, wishes: Wishes, packages: tuple[str, ...], *, upgrade: bool, check: bool, save: bool
) -> None:
    from trainload.lock.diff import diff, sentences
    from trainload.pipeline import dockerfile_of, lock
    from trainload.resolve.upgrade import Upgrade

    if packages and not upgrade:
        raise UsageError(
            "packages are named with --upgrade only",
            got=" ".join(packages),
            hints=[Text("trainload lock --upgrade {packages}", packages=" ".join(packages))],
        )
    if upgrade and (check or wishes.frozen):
        raise UsageError("--upgrade changes the lock, --check and --frozen refuse to")
    if wishes.platform is not None:
        raise UsageError(
            "a lock is for all platforms of the project at once",
            got=f"--platform {wishes.platform}",
            hints=[Text("add it to platforms in [tool.trainload], or set TRAINLOAD_PLATFORMS")],
        )
    if save:
        _check_saving(wishes, frozen=wishes.frozen or check)
    wanted = Upgrade(everything=not packages, packages=packages) if upgrade else None
    wishes = replace(wishes, frozen=wishes.frozen or check, upgrade=wanted)
    project = dockerfile_of(world.site, wishes)
    if project is not None and save:
        raise UsageError("--save is for a project's own configuration; a Dockerfile says all that itself")
    if project is not None:
        from trainload.cli.dockerfiles import lock_file

        lock_file(world, wishes, project)
        return
    locked = lock(world.site, wishes)
    if upgrade:
        _tell_who_decides(world, locked)
    if save:
        _save(world, wishes)
    file = locked.project.locks[0]
    if not locked.is_new:
        world.say(Text("{file} holds what the project asks for", file=file))
        world.result({"file": file, "changed": False, **_sizes(locked.lock)})
        return
    changes = diff(locked.previous, locked.lock)
    for sentence in sentences(changes):
        world.say(sentence)
    world.result({"file": file, "changed": bool(changes), **_sizes(locked.lock), "changes": _document(changes)})


def _check_saving(wishes: Wishes, *, frozen: bool) -> None:
    if frozen:
        raise UsageError("--save changes the project, --check and --frozen refuse to")
    if not wishes.flags.keys() & set(_SAVED):
        raise UsageError(
            "there is nothing to save", want=", ".join(f"--{name}" for name in _SAVED),
            hints=[Text("trainload lock --accelerator cu126 --save")],
        )  # fmt: skip


def _save(world: World, wishes: Wishes) -> None:
    """What the command line said, into the file that holds the configuration: the lock holds for it already."""
    from trainload.project.config import OWN, PYPROJECT, VARIANTS, read_sources
    from trainload.project.saving import with_settings
    from trainload.system import files
    from trainload.system.tree import DiskTree

    tree = DiskTree(world.cwd)
    file = read_sources(tree, {}, {}).file or (PYPROJECT if tree.find(PYPROJECT) else OWN)
    table = [] if file == OWN else ["tool", "trainload"]
    if variant := wishes.flags.get("variant"):
        table += [VARIANTS, str(variant)]
    settings = {name: str(wishes.flags[name]) for name in _SAVED if name in wishes.flags}
    old = tree.read(file, limit=1 << 20).decode() if tree.find(file) else ""
    files.replace(world.cwd / file, with_settings(old, table, settings).encode())
    for name, value in settings.items():
        world.say(Text('{file}: {name} = "{value}"', file=file, name=name, value=value))


def _tell_who_decides(world: World, locked: Locked) -> None:
    """A lock that another tool made is honoured exactly, so an upgrade of ours finds nothing newer."""
    from trainload.project.model import PylockFile, UvLock

    dependencies = locked.project.settings.dependencies.value
    if isinstance(dependencies, UvLock):
        world.warn(Text("{file} decides the versions; for newer ones: uv lock --upgrade", file=dependencies.path))
    elif isinstance(dependencies, PylockFile):
        world.warn(Text("{file} decides the versions; make it anew for newer ones", file=dependencies.path))


def _sizes(lock: Lock) -> dict[str, object]:
    """What each platform takes; bytes are null where an index does not tell them."""
    from trainload.errors import TrainloadError
    from trainload.lock.select import select

    platforms: dict[str, object] = {}
    for platform in lock.platforms:
        try:
            files = select(lock, platform, sdists=True).files
        except TrainloadError:  # told while locking: no image can be made for it
            continue
        sizes = [file.size for file in files]
        whole = None if None in sizes else sum(size for size in sizes if size is not None)
        platforms[str(platform)] = {"files": len(files), "bytes": whole}
    return {"inputs": lock.inputs, "python": lock.python, "platforms": platforms}


def _document(changes: Changes) -> dict[str, object]:
    return {
        "settings": [{"name": name, "old": old, "new": new} for name, old, new in changes.settings],
        "packages": [dict(_change(change)) for change in changes.changes],
    }


def _change(change: Change) -> Iterator[tuple[str, object]]:
    yield from (("part", change.package.part.value), ("name", change.package.name))
    yield from (("old", _version(change.old)), ("new", _version(change.new)), ("bytes", change.growth))


def _version(package: Package | None) -> str | None:
    return package.version if package is not None else None

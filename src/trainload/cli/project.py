"""The project in this folder as something to run: its image, built first if it must."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from trainload.cli.running import Target
from trainload.errors import Place, Text, UsageError
from trainload.values import replace

if TYPE_CHECKING:
    from trainload.cli.world import World
    from trainload.pipeline import Wishes
    from trainload.project.model import Resources


def project_target(world: World, wishes: Wishes, *, runs: bool = False) -> tuple[Target, Resources]:
    """The project's image and its defaults for a run. ``runs``: its own command is to be run.

    Raises :class:`UsageError` when no command was found that could be run, :class:`TrainloadError`.
    """
    from trainload.pipeline import build

    if runs:
        _check_command(world, wishes)
    built = build(world.site, replace(wishes, here=True))
    for warning in built.planned.plan.warnings:
        world.warn(warning)
    name = built.references[0]
    world.say(Text("{name}  {digest}", name=name, digest=built.image.digest))
    settings = built.planned.locked.project.settings
    return Target(built.image, name, settings.limits.value.limits(), settings.run.value.engine), settings.run.value


def built_target(world: World, flags: Mapping[str, object], digest: str) -> tuple[Target, Resources]:
    """As :func:`project_target`, of an image that was built before. Raises :class:`StoreError`."""
    from trainload.project.detect import read_project
    from trainload.system.tree import DiskTree

    settings = read_project(DiskTree(world.cwd), flags=flags, environ=world.environ).settings
    image = world.store.image(world.store.resolve(digest))
    target = Target(image, settings.name.value, settings.limits.value.limits(), settings.run.value.engine)
    return target, settings.run.value


def other_profile(world: World, wishes: Wishes) -> Wishes:
    """A profile on the command line is for this command: an image beside the project's, whose lock stays."""
    from trainload.builder.beside import Beside
    from trainload.project.detect import read_project
    from trainload.project.model import Profile

    flags = {key: value for key, value in wishes.flags.items() if key != "profile"}
    asked = wishes.flags.get("profile")
    if (
        asked is None
        or read_project(world.site.tree, flags=flags, environ=world.environ).settings.profile.value == asked
    ):
        return replace(wishes, flags=flags)
    profile = Profile(str(asked))
    return replace(wishes, flags=flags, beside=Beside(f"profile-{profile}", profile=profile))


def _check_command(world: World, wishes: Wishes) -> None:
    """Python without a script would wait for input or end at once: nothing was trained, and nobody would know."""
    from trainload.project.detect import read_project
    from trainload.project.model import DockerfileInput, Origin

    project = read_project(world.site.tree, flags=wishes.flags, environ=world.environ)
    says_all = isinstance(project.settings.dependencies.value, DockerfileInput)
    if says_all or project.settings.command.origin is not Origin.DEFAULT:
        return
    names = [entry.path for entry in world.site.tree.walk(lambda _: False)]
    scripts = sorted(name for name in names if name.endswith(".py"))
    if scripts:
        raise UsageError(
            Text("it is not clear which script is meant"),
            place=Place(str(world.cwd)),
            got=", ".join(scripts[:10]),
            hints=[
                Text("name it behind --: trainload run -- {script}", script=scripts[0]),
                Text('or for every run: command = ["python", "{script}"] in trainload.toml', script=scripts[0]),
            ],
        )
    raise UsageError(
        Text("no script to run was found in this folder"),
        place=Place(str(world.cwd)),
        want="train.py, main.py, or another script with if __name__ == '__main__'",
        hints=[
            Text('name it: command = ["python", "my_script.py"] in trainload.toml'),
            Text("or open a shell: trainload shell"),
        ],
    )


def holds_code(world: World, flags: Mapping[str, object]) -> bool:
    """Whether there is anything to build in the folder we work in."""
    from trainload.project.detect import read_project
    from trainload.project.listing import list_code

    project = read_project(world.site.tree, flags=flags, environ=world.environ)
    return bool(list_code(world.site.tree, project).files)

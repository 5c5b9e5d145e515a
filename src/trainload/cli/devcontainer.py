"""``trainload export devcontainer``: the project for editors that open containers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from trainload.cli.options import pass_world
from trainload.cli.wishes import build_options
from trainload.cli.world import World
from trainload.errors import Place, Text, UsageError

if TYPE_CHECKING:
    from trainload.lock.model import Lock
    from trainload.pipeline import Wishes
    from trainload.platform import Platform
    from trainload.project.model import Resources
    from trainload.run.devcontainer import Container
    from trainload.run.model import Mount

_ROOT = 0
_HOME = "${localWorkspaceFolder}"  # the format's word for the project's folder, wherever it lies


@click.command("devcontainer")
@click.option("--image", metavar="REFERENCE", help="The image in a registry, as it was pushed.")
@click.option(
    "--engine",
    type=click.Choice(["docker", "podman"]),
    default="docker",
    help="Of this machine, for an image without a registry.",
)
@click.option("--force", is_flag=True, help="Write over the file that is there.")
@pass_world
@build_options
def devcontainer(world: World, wishes: Wishes, *, image: str | None, engine: str, force: bool) -> None:
    """Write .devcontainer/devcontainer.json, for VS Code, JetBrains and other editors that open containers.

    The editor's container is the project's image, with this folder in it. Without --image it is that of Docker on
    this machine, or of --engine podman, brought up to date each time it is opened; with --image one that a registry
    has. A file that is there is kept, unless --force.
    """
    from trainload.run.devcontainer import PLACES, document
    from trainload.system.files import replace as write

    _check_free(world, force=force)
    container = _container(world, wishes, image, engine)
    data = json.dumps(document(container), ensure_ascii=False, indent=2) + "\n"
    path = world.cwd / PLACES[0]
    path.parent.mkdir(exist_ok=True)
    write(path, data.encode())
    world.say(Text("open this folder in your editor, and there: Reopen in Container"))
    world.result({"file": PLACES[0], "image": container.image}, f"{PLACES[0]}  {container.image}")


def _check_free(world: World, *, force: bool) -> None:
    from trainload.run.devcontainer import PLACES

    there = [place for place in PLACES if (world.cwd / place).exists()]
    if there and not force:
        raise UsageError(
            Text("there is one already, and it may be yours"),
            place=Place(there[0]),
            hints=[Text("write over it: {option}", option="--force")],
        )


def _container(world: World, wishes: Wishes, image: str | None, engine: str) -> Container:
    from dataclasses import replace

    from trainload.cli.project import other_profile
    from trainload.pipeline import lock
    from trainload.platform import Platform
    from trainload.project.model import Profile
    from trainload.run import flags
    from trainload.run.devcontainer import Container
    from trainload.run.engines.inspected import local_name

    wishes = other_profile(world, wishes)
    locked = lock(world.site, wishes)
    settings = locked.project.settings
    if any(one.mount for one in settings.weights.value):
        world.warn(Text("weights that are mounted when it runs are not in it"))
    beside = wishes.beside
    profile = beside.profile if beside is not None else settings.profile.value
    if profile is Profile.DISTROLESS:
        raise UsageError(
            Text("an editor needs a shell in the image, and distroless has none"),
            hints=[Text("take another for the editor: {option}", option="--profile dev")],
        )
    name = settings.name.value
    local = ":".join(local_name(name if beside is None else f"{name}:{beside.tag}"))
    resources = settings.run.value
    container = Container(
        name=name,
        image=image or local,
        workdir=settings.workdir.value,
        user=_user(locked.lock, wishes.platform or Platform.host(), settings.user.value),
        uid=settings.user.value,
        engine=engine,
        mounts=[_mount(world, flags.volume(word, world.cwd)) for word in resources.volumes],
        ports=[flags.port(word).container for word in resources.ports],
    )
    container = _with_resources(container, resources)
    return container if image else replace(container, bring=_bring(engine, profile if beside is not None else None))


def _with_resources(container: Container, resources: Resources) -> Container:
    from dataclasses import replace

    return replace(container, gpus=resources.gpus, shm=resources.shm, memory=resources.memory, cpus=resources.cpus)


def _bring(engine: str, profile: str | None) -> list[str]:
    """Builds what has changed, and brings to the engine what it lacks; what it runs for it does nothing."""
    more = [] if profile is None else ["--profile", str(profile)]
    return ["trainload", "-q", "shell", "--rm", *more, "--engine", engine, "--entrypoint", "true"]


def _mount(world: World, mount: Mount) -> tuple[str, str, bool, bool]:
    source = mount.source
    if not mount.volume and (source == str(world.cwd) or source.startswith(f"{world.cwd}/")):
        source = _HOME + source[len(str(world.cwd)) :]
    return source, mount.target, mount.read_only, mount.volume


def _user(lock: Lock, platform: Platform, uid: int) -> str:
    """The name of a user of the image: editors look it up in /etc/passwd to give the user our number."""
    from trainload.layers.debian.accounts import USER_ID, default_user, numbered_user
    from trainload.layers.user import user_lines
    from trainload.lock.model import ImageBase
    from trainload.plan.model import AccountFiles

    if uid == _ROOT:
        return "root"
    if not isinstance(lock.base, ImageBase):
        return (default_user("") if uid == USER_ID else numbered_user(uid, "")).name
    passwd, group = lock.base.images[platform.architecture].accounts
    known = [line.split(":")[0] for line in passwd if line.split(":")[2:3] == [str(uid)]]
    return known[0] if known else user_lines(uid, AccountFiles(passwd, group))[0].name

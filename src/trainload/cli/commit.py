"""``trainload commit``: the changes of a container as an image, with a warning."""

from __future__ import annotations

import click

from trainload.cli.options import pass_world
from trainload.cli.world import World
from trainload.errors import Text, UsageError


@click.command()
@click.argument("words", metavar="[RUN|CONTAINER] NAME[:TAG]", nargs=-1, required=True)
@click.option("--engine", metavar="NAME", help="Where the container is: embedded, docker or podman.")
@pass_world
def command(world: World, *, words: tuple[str, ...], engine: str | None) -> None:
    """Make an image of what was changed by hand in a container.

    Nobody can build such an image again: `trainload capture` makes changes of the project of it instead. Caches,
    logs and secrets are left out; what it holds is written into its history and an annotation.
    """
    from trainload.capture.commit import CAPTURED, commit
    from trainload.capture.recognise import look
    from trainload.cli.capturing import container, summary

    if len(words) > 2:
        raise UsageError(
            "commit takes a run or container, and a name", hints=("trainload commit my-container my-image",)
        )
    meant = container(world, words[0] if len(words) == 2 else None, engine)
    found = look(meant)
    with world.store.writing():
        done = commit(meant, found, world.store, world.now)
        world.store.commit_image(done.image, (words[-1],))
    for path in done.secrets:
        world.warn(Text("/{path} looks like a secret, and is left out", path=path))
    world.warn(Text("this image cannot be built again, no lock has what it holds: better use `trainload capture`"))
    what = ", ".join(world.translate(text) for text in summary(found))
    world.say(Text("{name} is {digest}: {what}", name=words[-1], digest=done.image.digest, what=what))
    world.result(
        {
            "name": words[-1],
            "digest": str(done.image.digest),
            "captured": done.image.manifest.annotations[CAPTURED],
            "secrets": [f"/{path}" for path in done.secrets],
        }
    )

"""``trainload run --debug``: the project under debugpy, waiting for an editor."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trainload.cli.engines import listening, port_for
from trainload.cli.running import for_project, perform
from trainload.cli.runoptions import Given
from trainload.cli.world import World
from trainload.errors import Text, UsageError

if TYPE_CHECKING:
    from trainload.cli.wishes import Later

_LOOPBACK = "127.0.0.1"  # a debugger runs what it is told, and asks nobody for a password


@dataclass(frozen=True, slots=True)
class Debugging:
    """What the command line says."""

    image: str | None
    arguments: tuple[str, ...]
    port: int | None
    """None: the usual one, or a free one near it."""
    wait: bool


def run_debugged(world: World, given: Given, later: Later, asked: Debugging) -> int:
    """Run the project so that an editor may attach. Raises :class:`UsageError` for what is not the project's."""
    from trainload.builder.beside import Beside
    from trainload.cli.project import project_target
    from trainload.run import debugger
    from trainload.run.model import Port
    from trainload.run.request import spec_of

    if asked.image is not None:
        raise UsageError(
            Text("{verb} is for the project in this folder", verb="--debug"),
            got=asked.image,
            hints=[
                Text("arguments of its program go behind --: trainload run --debug -- {word}", word=asked.image)
            ],
        )
    if not given.request.network:
        raise UsageError(Text("{one} and {other} exclude each other", one="--debug", other="--network none"))
    port = port_for(asked.port, debugger.PORT, _LOOPBACK)
    wishes = replace(later.make(), beside=Beside("with-debugpy", (debugger.REQUIREMENT,)))
    own = not asked.arguments and given.request.entrypoint is None
    target, defaults = project_target(world, wishes, runs=own)
    request = replace(for_project(world, given, target, defaults), arguments=asked.arguments, append=True)
    request = replace(
        request,
        ports=(*request.ports, Port(port, port, _LOOPBACK)),
        env={**debugger.ENVIRONMENT, **request.env},
    )
    way, inside = listening(world, target, request, given.way)
    spec = spec_of(request, target.image.digest, target.image.config.runtime, "none")
    listens = debugger.Listening(inside, port, asked.wait)
    program, *arguments = debugger.under_debugger(spec.command, listens)
    request = replace(request, entrypoint=program, arguments=tuple(arguments), append=False)
    _tell(world, port, spec.workdir, asked)
    return perform(world, target, request, way)


def _tell(world: World, port: int, workdir: str, asked: Debugging) -> None:
    from trainload.run.debugger import attach_document

    place = f"{_LOOPBACK}:{port}"
    if asked.wait:
        world.say(Text("the program begins when an editor attaches at {place}", place=place))
    else:
        world.say(Text("an editor may attach at {place}", place=place))
    world.say(Text("in VS Code, as one of the configurations in .vscode/launch.json:"))
    for line in json.dumps(attach_document(port, workdir), indent=2).splitlines():
        world.say(Text("{line}", line=line))

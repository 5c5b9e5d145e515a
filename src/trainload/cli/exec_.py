"""``trainload exec``: one more program in a running container."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Concatenate, TypeVar

import click

from trainload.cli.hostoption import on_option
from trainload.cli.options import pass_world
from trainload.cli.world import World

if TYPE_CHECKING:
    from trainload.run.engines.interface import Execution

R = TypeVar("R")
_HOW = (
    click.argument("words", metavar="COMMAND…", nargs=-1, required=True, type=click.UNPROCESSED),
    click.option("-i", "--interactive", is_flag=True, help="It reads our standard input."),
    click.option("-t", "--tty", is_flag=True, help="It gets a terminal."),
    click.option("-u", "--user", metavar="USER[:GROUP]", help="Who it is; default: as the run."),
    click.option("-w", "--workdir", metavar="FOLDER", help="Working directory; default: the run's."),
    click.option("-e", "--env", multiple=True, metavar="NAME[=VALUE]", help="Set a variable, or pass ours on."),
)


def _execution(verb: Callable[Concatenate[World, Execution, ...], R]) -> Callable[Concatenate[World, ...], R]:
    """Gives a verb the program of its command line as second argument."""

    @functools.wraps(verb)
    def called(world: World, *args: object, **kwargs: object) -> R:
        from trainload.run.engines.interface import Execution
        from trainload.run.flags import environment

        words, env, user, workdir = (kwargs.pop(name) for name in ("words", "env", "user", "workdir"))
        assert isinstance(words, tuple)
        assert isinstance(env, tuple)
        execution = Execution(
            command=words,
            user=str(user) if user else None,
            workdir=str(workdir) if workdir else None,
            env=environment(env, world.environ),
            tty=bool(kwargs.pop("tty")),
            interactive=bool(kwargs.pop("interactive")),
        )
        return verb(world, execution, *args, **kwargs)

    for option in reversed(_HOW):
        option(called)
    return called


@click.command(context_settings={"allow_interspersed_args": False})
@click.argument("run", metavar="RUN")
@on_option
@pass_world
@_execution
def command(world: World, execution: Execution, *, run: str, on: str | None) -> int:
    """Run one more program in a running container, here or on a server: exec RUN nvidia-smi, exec -it RUN sh."""
    from contextlib import ExitStack

    from trainload.cli.engines import known

    with ExitStack() as stack:
        found = known(world, run, on, stack)
        return found.engine.execute(found.id, execution)

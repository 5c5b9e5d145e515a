"""``trainload ps``: what runs."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from trainload.cli.hostoption import on_option
from trainload.cli.options import pass_world
from trainload.cli.render import table
from trainload.cli.runs import without_init
from trainload.cli.units import duration, shorten
from trainload.cli.world import World
from trainload.errors import Text

if TYPE_CHECKING:
    from trainload.run.engines.interface import State
    from trainload.store.runs import Run


_WORDS = {
    "starting": Text("starting"),
    "healthy": Text("healthy"),
    "unhealthy": Text("unhealthy"),
    "running": Text("running"),
    "restarting": Text("restarting"),
    "paused": Text("paused"),
}


@click.command()
@click.option("-a", "--all", "everything", is_flag=True, help="Also those that ended and were not removed.")
@on_option
@pass_world
def command(world: World, *, everything: bool, on: str | None) -> None:
    """List running programs, on whatever engine they run; with -q their ids only."""
    found = _known(world) if on is None else _there(world, on)
    listed = [(run, state) for run, state in found if everything or state.lives]
    heads = [
        Text("RUN"), Text("NAME"), Text("IMAGE"), Text("COMMAND"), Text("ENGINE"), Text("STARTED"), Text("STATE"),
    ]  # fmt: skip
    rows: list[list[object]] = [_row(world, run, state) for run, state in listed]
    documents = [document(world, run, state) for run, state in listed]
    world.result(documents, [run.id for run, _ in listed] if world.quiet else table(heads, rows, world.catalogue))
    for run, state in listed:
        for note in (*run.notes, *state.notes):
            world.warn(Text("{run}: {note}", run=run.called or run.id, note=world.translate(note)))


def _there(world: World, on: str) -> list[tuple[Run, State]]:
    """Every run a server has, whoever started it."""
    from trainload.cli.onhost import engine_on, host_of, run_from
    from trainload.run.hosts.engine import state_of

    host = host_of(world, on)
    found = [(run_from(told, host), state_of(told)) for told in engine_on(world, host).told()]
    return sorted(found, key=lambda pair: pair[0].started, reverse=True)


def _known(world: World) -> list[tuple[Run, State]]:
    """Every recorded run that is there; each engine is asked once, one that is away is told."""
    from trainload.cli.engines import alive_in_front, engine_of
    from trainload.errors import TrainloadError
    from trainload.run.engines.interface import Phase, State
    from trainload.store.runs import RunRecords

    runs = [run for run in RunRecords(world.home).all() if run.host is None]
    states: dict[str, State] = {}
    for run in {run.engine: run for run in runs}.values():
        try:
            states.update((state.id, state) for state in engine_of(world, run).states())
        except TrainloadError as error:
            world.warn(error.text)
    for run in runs:
        if run.reason is None and run.id not in states and alive_in_front(world, run):
            states[run.id] = State(run.id, Phase.RUNNING, run.started)
    return [(run, states[run.id]) for run in runs if run.id in states]


def _row(world: World, run: Run, state: State) -> list[object]:
    return [
        run.id,
        run.called or "-",
        f"{run.name} ({run.image.short})",
        shorten(shlex.join(without_init(run.command)), 40),
        run.engine,
        (state.started or run.started).astimezone().strftime("%Y-%m-%d %H:%M"),
        in_words(world, state),
    ]


def in_words(world: World, state: State) -> str:
    """``running for 3 min 05 s (healthy)``, ``finished``, ``restarting: exit code 1``."""
    from trainload.run.engines.interface import Phase

    reason = world.translate(state.reason) if state.reason else ""
    if state.phase is Phase.RUNNING and state.started is not None:
        lasted = duration((world.now - state.started).total_seconds())
        text = world.translate(Text("running for {time}", time=lasted))
        return f"{text} ({world.translate(_WORDS[state.health])})" if state.health else text
    if state.phase is Phase.RESTARTING and reason:
        return world.translate(Text("restarting: {reason}", reason=reason))
    return reason or world.translate(_WORDS.get(state.phase, Text("ended")))


def document(world: World, run: Run, state: State) -> dict[str, object]:
    """A run that is there, for ``--json``."""
    return {
        "id": run.id,
        "name": run.called,
        "image": str(run.image),
        "image_name": run.name,
        "engine": run.engine,
        "command": list(run.command),
        "state": state.phase,
        "health": state.health,
        "restarts": state.restarts,
        "notes": [world.translate(note) for note in (*run.notes, *state.notes)],
        "started": state.started.isoformat() if state.started else None,
        "ended": state.ended.isoformat() if state.ended else None,
        "exit_code": state.exit_code,
        "reason": world.translate(state.reason) if state.reason else None,
    }

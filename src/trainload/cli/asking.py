"""Servers asked what became of runs whose end is not recorded here: side by side, and not for long."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from trainload.cli.world import World
from trainload.errors import Text, TrainloadError

if TYPE_CHECKING:
    from trainload.run.engines.interface import State
    from trainload.run.hosts.engine import OnHost
    from trainload.store.runs import Run, RunRecords

PATIENCE = 8.0
"""Seconds for a login; a list of runs is worth no more."""
_AT_MOST = 15.0
"""Seconds for all of them: they are asked at the same time."""
GONE = Text("its host does not know it any more")


@dataclass(slots=True)
class _Asked:
    """One server, and what it said."""

    engine: OnHost
    states: Mapping[str, State] | None = None
    why: Text = field(default_factory=lambda: Text("it does not answer"))

    def ask(self) -> None:
        try:
            self.states = {state.id: state for state in self.engine.states()}
        except TrainloadError as error:
            self.why = error.text


def refreshed(world: World, runs: Sequence[Run], written: RunRecords) -> tuple[list[Run], frozenset[str]]:
    """The runs as their servers tell of them, ends written down; and the ids of those that nobody could tell of."""
    open_ = [run for run in runs if run.host is not None and run.reason is None]
    asked = _ask(world, open_)
    now = {run.id: _now(world, run, asked[_place(run)], written) for run in open_}
    unknown = frozenset(run.id for run in open_ if asked[_place(run)].states is None)
    return [now.get(run.id, run) for run in runs], unknown


def _place(run: Run) -> tuple[str, str]:
    """Which server, and which folder there."""
    found = run.request["host"]
    assert isinstance(found, Mapping)
    return str(found["address"]), str(found.get("folder"))


def _ask(world: World, runs: Sequence[Run]) -> Mapping[tuple[str, str], _Asked]:
    import time

    from trainload.cli.onhost import engine_of_record

    asked = {_place(run): _Asked(engine_of_record(world, run, patience=PATIENCE)) for run in runs}
    threads = [threading.Thread(target=one.ask, name="ask", daemon=True) for one in asked.values()]
    for thread in threads:
        thread.start()
    end = time.monotonic() + _AT_MOST
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    for one in asked.values():
        if one.states is None:
            world.warn(Text("{host}: {reason}", host=one.engine.host.name, reason=one.why))
    return asked


def _now(world: World, run: Run, asked: _Asked, written: RunRecords) -> Run:
    if asked.states is None:
        return run
    state = asked.states.get(run.id)
    if state is None:
        return replace(run, reason=GONE)  # not written down: it may have been looked for in the wrong place
    if state.lives:
        return run
    from trainload.cli.onhost import LOST, has_outputs

    ended, reason = state.ended or world.now, state.reason or LOST
    written.end(run.id, ended, state.exit_code, reason)
    if has_outputs(run):
        world.say(Text("{id} ended; what it wrote: trainload outputs {id}", id=run.id))
    return replace(run, ended=ended, exit_code=state.exit_code, reason=reason)

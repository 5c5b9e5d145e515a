"""What verbs share that meet engines: which one takes a run, and how a recorded run is found again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from trainload.cli.world import World
from trainload.errors import RunError, StoreError, Text, TrainloadError, UsageError
from trainload.events import Noting
from trainload.limits import DEFAULT, Limits
from trainload.values import dataclass, replace

if TYPE_CHECKING:
    from trainload.cli.running import Target
    from trainload.cli.runoptions import Way
    from trainload.run.engines.interface import Engine, State
    from trainload.run.engines.table import Site
    from trainload.run.model import RunSpec
    from trainload.run.request import Request
    from trainload.store.runs import End, Run, RunRecords


def site(world: World, limits: Limits = DEFAULT) -> Site:
    """What engines are given."""
    from trainload.run.engines.table import Site

    return Site(world.store, world.environ, world.reporter, limits)


def noting(here: Site) -> tuple[Site, list[Callable[[Text], object]]]:
    """A site whose engine's warnings are given to whoever is in the list by then."""
    listeners: list[Callable[[Text], object]] = []

    def tell(note: Text) -> None:
        for listener in listeners:
            listener(note)

    return replace(here, reporter=Noting(here.reporter, tell)), listeners


def chosen(world: World, asked: str | None, spec: RunSpec, here: Site, *, detached: bool) -> Engine:
    """The engine of a run; says which and why, and what it does without. Raises :class:`RunError`."""
    from trainload.run.engines.interface import needs
    from trainload.run.engines.table import AUTO, ENGINES, choose

    asked = asked or AUTO
    if asked != AUTO and asked not in ENGINES:
        raise UsageError(
            Text("there is no engine {name}", name=asked), want=", ".join([AUTO, *ENGINES])
        )  # fmt: skip
    choice = choose(asked, needs(spec, detached=detached), here)
    if asked == AUTO:
        world.say(
            Text("engine: {engine} ({why})", engine=choice.engine.name, why=world.translate(choice.why))
        )  # fmt: skip
    for lack in choice.told:
        world.warn(lack.why)
    return choice.engine


def listening(world: World, target: Target, request: Request, way: Way) -> tuple[Way, str]:
    """The engine of a run, settled, and where inside it a server must listen to be reached by its published port.

    Raises :class:`RunError` as :func:`chosen`.
    """
    from trainload.run.engines.interface import Ability
    from trainload.run.request import spec_of

    spec = spec_of(request, target.image.digest, target.image.config.runtime, "none")
    engine = chosen(world, way.engine or target.engine, spec, site(world, target.limits), detached=way.detach)
    shares = request.network_name == "host" or Ability.PORTS in engine.lacks(frozenset({Ability.PORTS}))
    return replace(way, engine=engine.name), "127.0.0.1" if shares else "0.0.0.0"  # noqa: S104 - of the container


def port_for(asked: int | None, usual: int, address: str) -> int:
    """A port of this machine: the one that was asked for, else the usual one or a free one near it.

    Raises :class:`UsageError` when what was asked for is taken.
    """
    from trainload.system.ports import free_port, is_free

    if asked is None:
        return free_port(usual, address)
    if not is_free(asked, address):
        raise UsageError(
            Text("port {port} is taken", port=asked), hints=[Text("leave the port out, and a free one is found")]
        )
    return asked


def named(name: str, here: Site) -> Engine:
    """The engine the user names. Raises :class:`UsageError`, or :class:`RunError` when it does not work here."""
    from trainload.run.engines.table import ENGINES, engine, only

    if name not in ENGINES:
        raise UsageError(Text("there is no engine {name}", name=name), want=", ".join(ENGINES))
    return only(engine(name, here), frozenset()).engine


@dataclass(frozen=True, slots=True)
class Known:
    """A run that its engine has."""

    run: Run
    engine: Engine
    state: State

    @property
    def id(self) -> str:
        return self.run.id


def engine_of(world: World, run: Run, here: Site | None = None) -> Engine:
    """The engine that has ``run``. Raises :class:`RunError` when it does not work at the moment."""
    from trainload.run.engines.table import engine

    if run.host is not None:
        from trainload.cli.onhost import engine_of_record

        return engine_of_record(world, run)
    found = engine(run.engine, here or site(world))
    reason = found.unavailable()
    if reason is not None:
        raise RunError(
            Text("the run {id} is in {engine}, which does not work now: {reason}", id=run.id, engine=run.engine,
                 reason=reason)
        )  # fmt: skip
    return found


def known(world: World, word: str, on: str | None = None, hold: ExitStack | None = None) -> Known:
    """The run whose name is ``word`` or whose id begins so, with its engine; ``on``: the server it is on.

    ``hold``: what is asked of a server until it ends needs one login only.

    Raises :class:`StoreError` for none, several, or one that is not there any more.
    """
    if on is None:
        run = records(world).find(word)
    else:
        from trainload.cli.onhost import found_on

        run = found_on(world, word, on)
    engine = engine_of(world, run) if run.host is None else _held(world, run, hold)
    state = engine.state(run.id)
    if state is None:
        raise StoreError(
            Text("nothing is left of the run {id}: it ran in the foreground, or was removed", id=run.id),
            hints=(
                "`trainload runs` tells how it ended",
                "run with -d to keep logs and files until `trainload rm`",
            ),
        )
    return Known(run, engine, state)


def _held(world: World, run: Run, hold: ExitStack | None) -> Engine:
    from trainload.cli.onhost import engine_of_record

    engine = engine_of_record(world, run)
    if hold is not None:
        hold.enter_context(engine.held())
    return engine


def records(world: World) -> RunRecords:
    """The record of runs; those whose end nobody wrote down are asked about at their engines."""
    from trainload.store.runs import RunRecords

    return RunRecords(world.home, lambda run: _end(world, run))


def is_there(world: World, run: Run) -> bool:
    """Whether its engine has it, ended or not; what is on a server is in nobody's way here."""
    if run.host is not None:
        return False
    if run.reason is None and alive_in_front(world, run):
        return True
    return engine_of(world, run).state(run.id) is not None


def alive_in_front(world: World, run: Run) -> bool:
    """Whether a Trainload waits for it in the embedded engine."""
    from trainload.run.rundir import alive

    return alive(world.store.rootfs, run.id)


def _end(world: World, run: Run) -> End | None:
    """How a run ended that began and whose end is not recorded; None: it runs, or its engine cannot say."""
    from trainload.store.runs import LOST, End

    if run.host is not None or alive_in_front(world, run):
        return None  # a server is asked when somebody asks for the run
    try:
        state = engine_of(world, run).state(run.id)
    except TrainloadError:
        return None
    if state is None:
        return End(None, None, LOST)
    if state.lives:
        return None
    return End(state.ended, state.exit_code, state.reason or LOST)

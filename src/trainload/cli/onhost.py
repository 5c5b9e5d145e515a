"""``run --on HOST`` and what verbs share that reach runs on servers."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from trainload.cli.world import World
from trainload.errors import HostError, StoreError, Text, TrainloadError, UsageError, printable

if TYPE_CHECKING:
    from trainload.cli.engines import Known
    from trainload.cli.running import Target
    from trainload.cli.runoptions import Way
    from trainload.run.engines.interface import State
    from trainload.run.hosts.engine import OnHost
    from trainload.run.hosts.outputs import Brought
    from trainload.run.hosts.place import Host, Output
    from trainload.run.model import RunSpec
    from trainload.run.request import Request
    from trainload.store.runs import Run, RunRecords

LOST = Text("lost: it was killed on its host, or the host was started again")
STILL_RUNS = 75  # sysexits.h: EX_TEMPFAIL; nobody knows the exit code yet
_TOLD = 5
_REASONS = {"link": Text("a link"), "special": Text("a device, pipe or socket")}


def host_of(world: World, word: str) -> Host:
    """The host that ``word`` means: a name of the configuration, or an address. Raises :class:`UsageError`."""
    from trainload.address import Address
    from trainload.destinations.ship.engines import Choice
    from trainload.project.config import read_sources
    from trainload.project.keys import HOSTS
    from trainload.run.hosts.place import Host
    from trainload.system.tree import DiskTree

    known = read_sources(DiskTree(world.cwd), {}, world.environ).choose(HOSTS).value.get(word, {})
    return Host(
        name=word, address=Address.parse(known.get("address", word)), choice=Choice(known.get("engine", "auto")),
        folder=known.get("folder"), gpus=known.get("gpus"),
    )  # fmt: skip


def engine_on(world: World, host: Host, name: str = "", patience: float | None = None) -> OnHost:
    """The host as an engine; ``name``: what runs there, if it is known; ``patience``: seconds for a login."""
    from trainload.run.engines.table import Site
    from trainload.run.hosts.engine import OnHost

    return OnHost(Site(world.store, world.environ, world.reporter), host, name, patience=patience)


def engine_of_record(world: World, run: Run, patience: float | None = None) -> OnHost:
    """The host a recorded run is on; ``patience`` as for :func:`engine_on`."""
    from trainload.run.hosts.place import host_from

    return engine_on(world, host_from(_host_document(run)), run.engine, patience)


def _host_document(run: Run) -> Mapping[str, Any]:
    found = run.request.get("host")
    assert isinstance(found, Mapping)
    return found


def perform_there(world: World, target: Target, request: Request, way: Way) -> int:
    """Ship it, run it there, and stay with it unless it is to run detached; the program's exit code."""
    host = _chosen(host_of(world, way.on or ""), way)
    engine = engine_on(world, host)
    with engine.held():
        return _perform(world, target, request, way, engine)


def _perform(world: World, target: Target, request: Request, way: Way, engine: OnHost) -> int:
    import secrets

    from trainload.cli.engines import records
    from trainload.run.hosts.place import placed
    from trainload.run.request import spec_of

    host = engine.host
    there, outputs = placed(replace(request, gpus=request.gpus or host.gpus), world.cwd)
    spec = spec_of(there, target.image.digest, target.image.config.runtime, secrets.token_hex(6))
    talks = (way.tty or way.interactive) and not way.detach
    tty = way.tty and (way.detach or (os.isatty(0) and os.isatty(1)))
    spec = replace(spec, tty=tty, open=way.interactive, interactive=False)
    with world.store.writing():
        world.store.hold(target.image.digest)
        engine.deliver(target.image, target.name)
        _say_what_it_lacks(world, engine, spec)
        engine.joins = talks
        written = records(world)
        settled = replace(host, choice=type(host.choice)("store" if engine.name == "embedded" else engine.name))
        run = _record(world, target, request, spec, engine.name, settled.document(outputs))
        written.begin(run)
        engine.note = {
            "record": {
                "image": str(run.image), "name": run.name, "command": list(run.command), "called": run.called,
                "request": run.request, "folder": run.folder, "started": run.started.isoformat(),
            }
        }  # fmt: skip
        try:
            engine.start(spec)
        except TrainloadError as error:
            if error.retryable:  # it may run all the same
                error.hints = (Text("whether it started there: trainload attach {id}", id=spec.id),)
            else:
                written.end(spec.id, world.now, error.exit_code, error.text)
            raise
    if way.detach:
        world.result({"id": spec.id, "name": spec.called, "engine": engine.name, "host": host.name}, spec.id)
        return 0
    if talks:
        return _talk(world, engine, run, spec, written)
    with _stopping(world, engine, run.id):
        world.say(Text("the run {id} is on {host} now; Ctrl-C stops it, a lost connection does not", id=spec.id,
                       host=host.name))  # fmt: skip
        code = stay(world, engine, run, written)
        _leave_nothing(world, engine, run)
        return code


def _talk(world: World, engine: OnHost, run: Run, spec: RunSpec, written: RunRecords) -> int:
    """Our terminal is its; its exit code, or 0 when the user left it."""
    try:
        state = engine.talk(run.id, tty=spec.tty, reads=spec.open)
    except TrainloadError as error:
        if error.retryable:
            raise _lost(error, run) from None
        written.end(run.id, world.now, error.exit_code, error.text)
        _leave_nothing(world, engine, run)
        raise
    if state is None:
        return left_alone(world, run)
    code = _settle(world, engine, run, state, written)
    _leave_nothing(world, engine, run)
    return code


def left_alone(world: World, run: Run) -> int:
    """The user left what goes on."""
    name = run.called or run.id
    world.say(Text("the run goes on; trainload attach {name} joins it again", name=name))
    return 0


def join_there(world: World, found: Known, written: RunRecords) -> int:
    """Our terminal joined with a run on a server that can be talked to; its exit code, 0 when the user left it."""
    try:
        state = found.engine.attach(found.id)
    except HostError as error:
        raise (_lost(error, found.run) if error.retryable else error) from None
    if state is None:
        return left_alone(world, found.run)
    return _settle(world, engine_of_record(world, found.run), found.run, state, written)


def _leave_nothing(world: World, engine: OnHost, run: Run) -> None:
    """As any run in the foreground, unless something of its outputs could not come."""
    try:
        if not engine.left_behind:
            engine.remove(run.id)
    except TrainloadError as error:
        world.warn(Text("the run {id} could not be removed on {host}: {reason}", id=run.id, host=engine.host.name,
                        reason=error.text))  # fmt: skip


def _chosen(host: Host, way: Way) -> Host:
    """``--engine`` says more than the configuration."""
    from trainload.destinations.ship.engines import Choice

    if way.keep or way.remove:
        option = "--keep" if way.keep else "--rm"
        raise UsageError(
            Text("{option} and --on exclude each other", option=option),
            hints=[Text("`trainload rm` removes a run on a host, too")],
        )
    if way.engine in (None, "auto"):
        return host
    names = {"docker": Choice.DOCKER, "podman": Choice.PODMAN, "embedded": Choice.STORE}
    if way.engine not in names:
        raise UsageError(Text("there is no engine {name}", name=way.engine), want=", ".join(names))
    return replace(host, choice=names[way.engine])


def _say_what_it_lacks(world: World, engine: OnHost, spec: RunSpec) -> None:
    from trainload.errors import RunError
    from trainload.run.engines.interface import needs, shortcomings

    needed = needs(spec, detached=True)
    for lack in shortcomings(needed, engine.lacks(needed)):
        if lack.refused:
            raise RunError(lack.why)
        world.warn(lack.why)


def _record(
    world: World, target: Target, request: Request, spec: RunSpec, engine: str, host: dict[str, object]
) -> Run:
    from trainload.cli.running import record_of

    run = record_of(world, target, request, spec, engine)
    return replace(run, command=spec.command, request={**run.request, "host": host})


def stay(world: World, engine: OnHost, run: Run, written: RunRecords) -> int:
    """Print what it says until it ended, bring its outputs, write its end down; its exit code.

    Raises :class:`HostError` when the host cannot be reached any more; the run goes on then.
    """
    from trainload.cli.logs import follow

    try:
        follow(engine, run.id)
        state = engine.wait(run.id)
        return _settle(world, engine, run, state, written)
    except HostError as error:
        raise (_lost(error, run) if error.retryable else error) from None


def _lost(error: TrainloadError, run: Run) -> TrainloadError:
    """The error of a connection, and what to do: the run does not need it."""
    error.hints = (Text("the run goes on there; when it can be reached: trainload attach {id}", id=run.id),)
    error.exit_code = STILL_RUNS
    return error


@contextmanager
def _stopping(world: World, engine: OnHost, run: str) -> Iterator[None]:
    """While inside, the first Ctrl-C or SIGTERM stops the run, on a connection of its own; the next one ends us."""
    before: dict[int, Any] = {}

    def stop(number: int, frame: FrameType | None) -> None:
        for one, usual in before.items():
            signal.signal(one, usual)
        threading.Thread(target=asked, name="stop", daemon=True).start()

    def asked() -> None:
        # not in the handler: what it interrupted may be writing to the same stream
        world.say(Text("stopping the run {id}; once more leaves it alone", id=run))
        try:
            with engine.new_line() as line:
                line.ask("stop", run=run, grace=None)
        except TrainloadError as error:
            world.warn(Text("the run could not be stopped: {reason}", reason=error.text))

    for watched in (signal.SIGINT, signal.SIGTERM):
        before[watched] = signal.signal(watched, stop)
    try:
        yield
    finally:
        for one, usual in before.items():
            signal.signal(one, usual)


def _settle(world: World, engine: OnHost, run: Run, state: State, written: RunRecords) -> int:
    """What is left to do once it ended: its outputs come here, its end is written down."""
    fetch(world, engine, run)
    ended = state.ended or _now()
    written.end(run.id, ended, state.exit_code, state.reason or LOST)
    if state.exit_code is None:
        raise HostError(
            Text("the run {id} is lost: it was killed on {host}", id=run.id, host=engine.host.name),
            hints=[Text("what it wrote until then is here: {folder}", folder="outputs")] if _outputs(run) else [],
        )
    if state.exit_code and state.reason is not None:
        world.warn(Text("{name} did not succeed: {reason}", name=run.name, reason=world.translate(state.reason)))
    return state.exit_code


def ended_there(world: World, found: Known) -> None:
    """What is left to do with a run that ended on a server while nobody stayed with it."""
    from trainload.cli.engines import records

    engine = engine_of_record(world, found.run)
    state = engine.state(found.id)
    if state is None or state.lives:
        return
    fetch(world, engine, found.run)
    records(world).end(found.id, state.ended or _now(), state.exit_code, state.reason or LOST)


def has_outputs(run: Run) -> bool:
    """Whether something of a run on a server is brought back."""
    return bool(_outputs(run))


def _outputs(run: Run) -> tuple[Output, ...]:
    from trainload.run.hosts.place import outputs_from

    return outputs_from(_host_document(run))


def fetch(world: World, engine: OnHost, run: Run) -> Brought | None:
    """Bring what the run wrote so far, and say what came and what did not; None: it has no outputs."""
    from trainload.cli.units import size

    outputs = _outputs(run)
    if not outputs:
        return None
    base = Path(run.folder) if Path(run.folder).is_dir() else world.cwd
    brought = engine.bring(run.id, [base / output.path for output in outputs])
    if brought.files or brought.unchanged:
        text = "outputs: {files} files came ({size}), {unchanged} were here already"
        world.say(Text(text, files=brought.files, size=size(brought.size), unchanged=brought.unchanged))
    for path, why in brought.skipped[:_TOLD]:
        reason = _REASONS.get(why, Text("{reason}", reason=printable(why)))
        stays = Text("{path} stays on {host}: {why}", path=printable(path), host=engine.host.name, why=reason)
        world.warn(stays)
    engine.left_behind = bool(brought.skipped or brought.late)
    if brought.late:
        names = ", ".join(printable(path) for path in brought.late[:_TOLD])
        world.warn(Text("still being written, and not brought: {names}", names=names))
    return brought


def found_on(world: World, word: str, on: str) -> Run:
    """The run ``word`` on a host, which may have been started from elsewhere; it is recorded here then.

    Raises :class:`StoreError` for none or several.
    """
    from trainload.cli.engines import records

    written = records(world)
    try:
        run = written.find(word)
    except StoreError:
        run = None
    host = host_of(world, on)
    if run is not None and run.host is not None:
        return run
    engine = engine_on(world, host)
    told = [one for one in engine.told() if one["id"].startswith(word) or _called(one) == word]
    if len(told) != 1:
        many, none = (
            Text("{id} means several runs", id=word),
            Text("there is no run {id} on {host}", id=word, host=on),
        )
        raise StoreError(
            many if told else none, hints=[Text("`trainload ps --all --on {host}` lists them", host=on)]
        )
    found = run_from(told[0], host)
    written.begin(found)
    return found


def _called(told: Mapping[str, Any]) -> object:
    return (told["note"].get("record") or {}).get("called")


def run_from(told: Mapping[str, Any], host: Host) -> Run:
    """A record of a run that a host tells of."""
    from trainload.digest import Digest
    from trainload.store.runs import Run

    record = told["note"]["record"]
    document = {**record["request"], "host": {**record["request"]["host"], **_as_we_reach_it(host)}}
    return Run(
        id=str(told["id"]), image=Digest.parse(str(record["image"])), name=str(record["name"]),
        engine=str(told["note"]["engine"]), command=tuple(map(str, record["command"])), request=document,
        folder=str(record["folder"]), started=datetime.fromisoformat(str(record["started"])),
    )  # fmt: skip


def _as_we_reach_it(host: Host) -> dict[str, object]:
    return {"name": host.name, "address": str(host.address), "folder": host.folder}


def _now() -> datetime:
    from trainload.system.host import now

    return now()

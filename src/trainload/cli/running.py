"""What the verbs that run something share: the target, the engine, the record."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from trainload.cli.runoptions import Given, Way
from trainload.cli.world import World
from trainload.errors import Text, UsageError
from trainload.limits import DEFAULT
from trainload.limits import Limits as ArchiveLimits
from trainload.values import dataclass, replace

if TYPE_CHECKING:
    from trainload.image.model import Image
    from trainload.project.model import Resources
    from trainload.run.engines.interface import Engine
    from trainload.run.model import Mount, Outcome, RunSpec
    from trainload.run.request import Request
    from trainload.store.runs import Run, RunRecords

_PROGRAMS = ("python", "python3", "sh", "bash", "torchrun", "accelerate")
OUTPUTS = "outputs"
"""Of a project: kept on this machine, whatever becomes of the container."""

_TOLD_TO_END = (130, 143)
"""128 and SIGINT or SIGTERM."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be run."""

    image: Image
    name: str
    """As the user knows it."""
    limits: ArchiveLimits = DEFAULT
    """Of what its layers may unpack to."""
    engine: str | None = None
    """That the project asks for."""


def stored_image(world: World, name: str, flags: Mapping[str, object]) -> Target:
    """The image of the store that ``name`` means. Raises :class:`StoreError`.

    ``flags``: settings on the command line, by key.
    """
    from trainload.project.detect import engine_given, limits_given
    from trainload.store.trouble import MissingError

    try:
        image = world.store.image(world.store.resolve(name))
        return Target(image, name, limits_given(flags, world.environ).limits(), engine_given(world.environ))
    except MissingError as error:
        if name in _PROGRAMS or (world.cwd / name).is_file():
            # "run train.py" and "run python train.py": what comes first is an image, as in Docker
            error.hints = (
                Text("the project in this folder runs without naming it: trainload run"),
                Text("arguments of its program go behind --: trainload run -- {word}", word="--epochs 3"),
            )
        raise


def with_code(world: World, request: Request, target: Target) -> Request:
    """The project's folder where the image keeps its code."""
    from trainload.run.model import Mount

    place = request.workdir or target.image.config.runtime.workdir or "/workspace"
    return replace(request, mounts=(Mount(str(world.cwd), place), *request.mounts))


def for_project(world: World, given: Given, target: Target, defaults: Resources) -> Request:
    """The project's own defaults below what the command line says, and ``./outputs`` kept here."""
    from trainload.run import flags
    from trainload.run.model import Limits, Mount

    request = given.request
    workdir = target.image.config.runtime.workdir or "/workspace"
    outputs = world.cwd / OUTPUTS
    if given.way.on is None:
        outputs.mkdir(exist_ok=True)
    own = (Mount(str(outputs), f"{workdir}/{OUTPUTS}"),)
    volumes = tuple(flags.volume(word, world.cwd) for word in defaults.volumes)
    asked = request.limits
    limits = Limits(
        memory=asked.memory or defaults.memory,
        memory_swap=asked.memory_swap or defaults.memory_swap,
        cpus=asked.cpus or defaults.cpus,
        pids=asked.pids or defaults.pids,
        shm=asked.shm or defaults.shm,
    )
    request = replace(
        request,
        mounts=(*own, *volumes, *request.mounts),
        limits=limits,
        gpus=request.gpus or defaults.gpus,
        ports=request.ports or tuple(flags.port(word) for word in defaults.ports),
        # what the project writes to ./outputs is to be the caller's, on every engine
        caller=(os.geteuid(), os.getegid()) if request.user is None else None,
    )
    return with_code(world, request, target) if given.code else request


def perform(world: World, target: Target, request: Request, way: Way) -> int:
    """Run it and write it down; the program's exit code, or 0 when it was started detached."""
    if way.on is not None:
        from trainload.cli.onhost import perform_there

        return perform_there(world, target, request, way)
    import secrets

    from trainload.cli.engines import chosen, noting, records, site
    from trainload.run.model import Again
    from trainload.run.request import spec_of
    from trainload.run.words import signal_number

    _warn_of_platform(world, target.image)
    spec = spec_of(request, target.image.digest, target.image.config.runtime, secrets.token_hex(6))
    tty = way.tty if way.detach else os.isatty(0) and os.isatty(1)
    spec = replace(
        spec, tty=tty, open=way.detach and way.interactive, remove=way.remove, keep=way.keep and not way.detach
    )
    if way.detach and way.remove and spec.restart.again is not Again.NO:
        raise UsageError(Text("--rm and --restart exclude each other: what is removed cannot start again"))
    if signal_number(spec.stop_signal) is None:
        text = "the image's stop signal {signal} is unknown: SIGTERM stops it"
        world.warn(Text(text, signal=spec.stop_signal))
        spec = replace(spec, stop_signal="SIGTERM")
    with world.store.writing():
        spec = _with_weights(world, target, spec)
        world.store.hold(target.image.digest)  # gc leaves the image and its unpacked layers alone meanwhile
        here, notes = noting(site(world, target.limits))
        engine = chosen(world, way.engine or target.engine, spec, here, detached=way.detach)
        _make_missing(spec.mounts)
        written = records(world)
        written.settle(world.now)
        _check_name(world, written, spec)
        engine.deliver(target.image, target.name)
        written.begin(record_of(world, target, request, spec, engine.name))
        notes.append(lambda note: written.note(spec.id, note))
        if way.detach:
            return _start(world, engine, spec, written)
        outcome = _run(engine, spec, written)
        if spec.keep:
            from trainload.cli.capturing import tell_kept

            tell_kept(world, spec.id)
    ended = way.watched and outcome.exit_code in _TOLD_TO_END
    if outcome.exit_code and not way.asks and not ended:
        world.warn(
            Text("{name} did not succeed: {reason}", name=target.name, reason=world.translate(outcome.reason))
        )
        _tell_crash(world, outcome, spec)
    return outcome.exit_code


def _with_weights(world: World, target: Target, spec: RunSpec) -> RunSpec:
    """Weights that are mounted, below what the user mounts."""
    from trainload.image.model import MOUNTS

    if MOUNTS not in target.image.manifest.annotations:
        return spec
    from trainload.run.weights import mounted

    weights = mounted(world.store, target.image, world.reporter, target.limits)
    return replace(spec, mounts=(*weights, *spec.mounts))


def _tell_crash(world: World, outcome: Outcome, spec: RunSpec) -> None:
    """Native code that crashes leaves no traceback, unless Python was asked for one (faulthandler)."""
    import signal

    crashes = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)
    if outcome.exit_code - 128 in crashes and "PYTHONFAULTHANDLER" not in spec.env:
        world.say(Text("to see where in Python it happened: {option}", option="-e PYTHONFAULTHANDLER=1"))


def _run(engine: Engine, spec: RunSpec, records: RunRecords) -> Outcome:
    from trainload.errors import TrainloadError

    try:
        outcome = engine.run(spec)
    except BaseException as error:
        told = error if isinstance(error, TrainloadError) else TrainloadError("interrupted")
        records.end(spec.id, _now(), told.exit_code, told.text)
        raise
    records.end(spec.id, _now(), outcome.exit_code, outcome.reason)
    return outcome


def _start(world: World, engine: Engine, spec: RunSpec, records: RunRecords) -> int:
    from trainload.errors import TrainloadError

    try:
        engine.start(spec)
    except TrainloadError as error:
        records.end(spec.id, _now(), error.exit_code, error.text)
        raise
    world.result({"id": spec.id, "name": spec.called, "engine": engine.name}, spec.id)
    return 0


def _check_name(world: World, records: RunRecords, spec: RunSpec) -> None:
    """Two runs that are there may not have one name."""
    from trainload.cli.engines import is_there

    if spec.called is None:
        return
    for run in records.named(spec.called):
        if is_there(world, run):
            raise UsageError(
                Text("the run {id} has the name {name}", id=run.id, name=spec.called),
                hints=(Text("remove it: trainload rm {name}", name=spec.called),),
            )


def _warn_of_platform(world: World, image: Image) -> None:
    from trainload.platform import Platform

    made, here = image.config.platform, Platform.host()
    if made != here:
        text = "the image is for {image}, this machine is {machine}: it runs only with an emulator (binfmt)"
        world.warn(Text(text, image=made, machine=here))


def _now() -> datetime:
    from trainload.system.host import now

    return now()


def _make_missing(mounts: Sequence[Mount]) -> None:
    """A folder to write to that is not there yet is made, as Docker does; one to read from is a mistake."""
    for mount in mounts:
        source = Path(mount.source)
        if mount.volume or source.exists():
            continue
        if mount.read_only:
            raise UsageError(
                Text("{path}, to be mounted at {target}, does not exist", path=source, target=mount.target)
            )
        source.mkdir(parents=True)


def record_of(world: World, target: Target, request: Request, spec: RunSpec, engine: str) -> Run:
    """What is written down of a run that begins."""
    from trainload.run.request import request_document
    from trainload.store.runs import Run
    from trainload.system.git import commit_of

    commit = commit_of(world.cwd)
    return Run(
        id=spec.id,
        image=target.image.digest,
        name=target.name,
        engine=engine,
        command=spec.command,
        request=request_document(request),
        folder=str(world.cwd),
        started=world.now,
        git_commit=commit.name if commit else None,
        git_dirty=commit.dirty if commit else None,
    )

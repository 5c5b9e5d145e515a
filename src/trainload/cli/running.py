"""What the verbs that run something share: Docker's options, the engine, the record."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, TypeVar

import click

from trainload.cli.world import World
from trainload.errors import Text, UsageError
from trainload.limits import DEFAULT
from trainload.limits import Limits as ArchiveLimits

if TYPE_CHECKING:
    from trainload.image.history import Step
    from trainload.image.model import Image
    from trainload.project.model import Resources
    from trainload.run.embedded import EmbeddedEngine
    from trainload.run.model import Limits, Mount, RunSpec
    from trainload.run.request import Request
    from trainload.store.runs import Run

R = TypeVar("R")
_PROGRAMS = ("python", "python3", "sh", "bash", "torchrun", "accelerate")
OUTPUTS = "outputs"
"""Of a project: kept on this machine, whatever becomes of the container."""

_OPTIONS = (
    click.option("-v", "--volume", "volumes", multiple=True, metavar="FOLDER:/TARGET[:ro]",
                 help="Mount a folder or file."),
    click.option("-e", "--env", "env", multiple=True, metavar="NAME[=VALUE]",
                 help="Set a variable, or pass ours on."),
    click.option("--env-file", "env_files", multiple=True, metavar="FILE", help="Read variables from a file."),
    click.option("-w", "--workdir", metavar="FOLDER", help="Working directory inside."),
    click.option("-u", "--user", metavar="USER[:GROUP]", help="Who runs inside: a name or a number."),
    click.option("--entrypoint", metavar="PROGRAM", help="Instead of the image's."),
    click.option("-m", "--memory", metavar="SIZE", help="Most memory, e.g. 2g."),
    click.option("--memory-swap", metavar="SIZE", help="Most memory and swap together."),
    click.option("--cpus", type=click.FloatRange(min=0.01), metavar="NUMBER",
                 help="Most processor time, e.g. 1.5."),
    click.option("--pids-limit", type=int, metavar="NUMBER", help="Most processes."),
    click.option("--shm-size", metavar="SIZE", help="Size of /dev/shm; default: half of the memory."),
    click.option("--gpus", metavar="all|NUMBER|device=…", help="NVIDIA GPUs to use."),
    click.option("--network", metavar="none|host", help="Cut the network off, or use this machine's (default)."),
    click.option("-h", "--hostname", metavar="NAME", help="Name of the host inside."),
    click.option("--read-only", is_flag=True, help="Nothing in the image can be written."),
    click.option("--stop-signal", metavar="SIGNAL", help="What ends it when we get SIGTERM; default: the image's."),
    click.option("--stop-timeout", type=click.FloatRange(min=0), default=10.0, metavar="SECONDS",
                 help="Between the stop signal and the end by force."),
    click.option("--code", is_flag=True, help="Mount this folder over the image's working directory, live."),
    click.option("--rm", "-i", "--interactive", "-t", "--tty", is_flag=True, expose_value=False, hidden=True,
                 help="As always here."),
)  # fmt: skip

_NAMES = (
    "volumes", "env", "env_files", "workdir", "user", "entrypoint", "memory", "memory_swap", "cpus", "pids_limit",
    "shm_size", "gpus", "network", "hostname", "read_only", "stop_signal", "stop_timeout",
    "code",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Given:
    """The options of a command line."""

    request: Request
    code: bool
    """Mount the project's folder live."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be run."""

    image: Image
    name: str
    """As the user knows it."""
    limits: ArchiveLimits = DEFAULT
    """Of what its layers may unpack to."""


def run_options(verb: Callable[Concatenate[World, Given, ...], R]) -> Callable[Concatenate[World, ...], R]:
    """Gives a verb what its command line says as second argument; put it below ``pass_world``."""

    @functools.wraps(verb)
    def called(world: World, *args: object, **kwargs: object) -> R:
        ours = {name: kwargs.pop(name) for name in _NAMES}
        return verb(world, _given(world, ours), *args, **kwargs)

    for option in reversed(_OPTIONS):
        option(called)
    return called


def _given(world: World, values: dict[str, object]) -> Given:
    from trainload.run import flags
    from trainload.run.request import Request

    env: dict[str, str] = {}
    for file in _texts(values["env_files"]):
        env.update(flags.env_file(_read(world.cwd / file, file), file, world.environ))
    env.update(flags.environment(_texts(values["env"]), world.environ))
    request = Request(
        entrypoint=_text(values["entrypoint"]),
        user=_text(values["user"]),
        workdir=_text(values["workdir"]),
        env=env,
        mounts=tuple(flags.volume(word, world.cwd) for word in _texts(values["volumes"])),
        limits=_limits(values),
        gpus=_text(values["gpus"]),
        network=flags.network(_text(values["network"])),
        hostname=_text(values["hostname"]),
        read_only=bool(values["read_only"]),
        stop_signal=_text(values["stop_signal"]),
        grace=float(str(values["stop_timeout"])),
    )
    return Given(request, bool(values["code"]))


def _limits(values: dict[str, object]) -> Limits:
    from trainload.run.model import Limits
    from trainload.run.words import size_in_bytes

    def size(option: str) -> int | None:
        text = _text(values[option])
        return None if text is None else size_in_bytes(text, f"--{option.replace('_', '-')}")

    cpus, pids = values["cpus"], values["pids_limit"]
    return Limits(
        memory=size("memory"),
        memory_swap=size("memory_swap"),
        cpus=cpus if isinstance(cpus, float) else None,
        pids=pids if isinstance(pids, int) and pids > 0 else None,
        shm=size("shm_size"),
    )


def _read(path: Path, name: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UsageError(Text("the env file {file} cannot be read: {reason}", file=name, reason=reason)) from error


def _texts(value: object) -> tuple[str, ...]:
    assert isinstance(value, tuple)
    return value


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def stored_image(world: World, name: str, flags: Mapping[str, object]) -> Target:
    """The image of the store that ``name`` means. Raises :class:`StoreError`.

    ``flags``: settings on the command line, by key.
    """
    from trainload.project.detect import limits_given
    from trainload.store.trouble import MissingError

    try:
        image = world.store.image(world.store.resolve(name))
        return Target(image, name, limits_given(flags, world.environ).limits())
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
        ports=defaults.ports,
    )
    return with_code(world, request, target) if given.code else request


def engine_of(world: World, limits: ArchiveLimits) -> EmbeddedEngine:
    """The engine that runs here. Raises :class:`RunError` when none can."""
    from trainload.digest import Digest
    from trainload.errors import RunError
    from trainload.image.history import steps
    from trainload.run.embedded import EmbeddedEngine
    from trainload.run.unpack import LayerBlob

    def layers(digest: Digest) -> Sequence[LayerBlob]:
        return [
            LayerBlob(world.store.path(step.layer.digest), step.diff_id, step.layer.size, _title(step))
            for step in steps(world.store.image(digest))
            if step.layer is not None and step.diff_id is not None
        ]

    engine = EmbeddedEngine(world.store.rootfs, layers, world.reporter, limits)
    reason = engine.unavailable()
    if reason is not None:
        raise RunError(reason)
    return engine


def _title(step: Step) -> str:
    """For progress; a foreign layer's history is a whole shell script."""
    words = " ".join(step.title.split()) or (step.diff_id.short if step.diff_id else "")
    return f"{words if len(words) <= 60 else words[:59] + '…'} (unpacked)"


def perform(world: World, target: Target, request: Request) -> int:
    """Run it in the foreground and write it down; the program's exit code."""
    import secrets
    from functools import partial

    from trainload.errors import TrainloadError
    from trainload.run.request import spec_of
    from trainload.run.rundir import alive
    from trainload.store.runs import RunRecords

    _warn_of_platform(world, target.image)
    spec = spec_of(request, target.image.digest, target.image.config.runtime, secrets.token_hex(6))
    with world.store.writing():
        world.store.hold(target.image.digest)  # gc leaves the image and its unpacked layers alone meanwhile
        engine = engine_of(world, target.limits)
        for text in engine.not_in_force(spec):
            world.warn(text)
        _make_missing(spec.mounts)
        records = RunRecords(world.home)
        records.mark_lost(partial(alive, world.store.rootfs), world.now)
        records.begin(_record(world, target, request, spec, engine.name))
        try:
            outcome = engine.run(spec)
        except BaseException as error:
            told = error if isinstance(error, TrainloadError) else TrainloadError("interrupted")
            records.end(spec.id, _now(), told.exit_code, told.text)
            raise
        records.end(spec.id, _now(), outcome.exit_code, outcome.reason)
    if outcome.exit_code:
        world.warn(
            Text("{name} did not succeed: {reason}", name=target.name, reason=world.translate(outcome.reason))
        )
    return outcome.exit_code


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
        if source.exists():
            continue
        if mount.read_only:
            raise UsageError(
                Text("{path}, to be mounted at {target}, does not exist", path=source, target=mount.target)
            )
        source.mkdir(parents=True)


def _record(world: World, target: Target, request: Request, spec: RunSpec, engine: str) -> Run:
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

"""Docker's options for verbs that run something, and what they say as values."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, TypeVar

import click

from trainload.cli.world import World
from trainload.errors import Text, UsageError
from trainload.values import dataclass

if TYPE_CHECKING:
    from trainload.run.model import HealthCheck, Limits
    from trainload.run.request import Request

R = TypeVar("R")

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
    click.option("--gpus", metavar="all|NUMBER|device=…", help="GPUs to use."),
    click.option("--network", metavar="none|host|NAME", help="No network, this machine's, or one of the engine."),
    click.option("-p", "--publish", "ports", multiple=True, metavar="[HOST:]PORT", help="Make a port reachable."),
    click.option("-h", "--hostname", metavar="NAME", help="Name of the host inside."),
    click.option("--read-only", is_flag=True, help="Nothing in the image can be written."),
    click.option("--stop-signal", metavar="SIGNAL", help="What ends it when we get SIGTERM; default: the image's."),
    click.option("--stop-timeout", type=click.FloatRange(min=0), default=10.0, metavar="SECONDS",
                 help="Between the stop signal and the end by force."),
    click.option("--code", is_flag=True, help="Mount this folder over the image's working directory, live."),
    click.option("--engine", metavar="NAME", help="auto (default), embedded, docker or podman."),
    click.option("-d", "--detach", is_flag=True, help="Start it, print its id, and come back."),
    click.option("--name", "called", metavar="NAME", help="What to call the run."),
    click.option("--rm", "remove", is_flag=True, help="Keep nothing of a detached run, or of a shell."),
    click.option("--keep", is_flag=True, help="Keep what it changes for `trainload capture`, as shells do."),
    click.option("--restart", metavar="POLICY", help="Start again: no, on-failure[:MOST], unless-stopped, always."),
    click.option("--init", is_flag=True, help="A small init is the first process."),
    click.option("-l", "--label", "labels", multiple=True, metavar="NAME=VALUE", help="Metadata for the engine."),
    click.option("--health-cmd", metavar="COMMAND", help="Says by exit code 0, in a shell, that it is well."),
    click.option("--health-interval", metavar="TIME", default="30s", help="Between two checks; default: 30s."),
    click.option("--health-timeout", metavar="TIME", default="30s", help="Of one check; default: 30s."),
    click.option("--health-retries", type=click.IntRange(min=1), default=3, metavar="NUMBER",
                 help="Failures in a row that make it unhealthy; default: 3."),
    click.option("--health-start-period", metavar="TIME", default="0s", help="Failures do not count so long."),
    click.option("-t", "--tty", is_flag=True, help="A terminal for a detached run; others have ours."),
    click.option("-i", "--interactive", is_flag=True,
                 help="A detached run can be talked to (trainload attach); others always can."),
)  # fmt: skip

_NAMES = (
    "volumes", "env", "env_files", "workdir", "user", "entrypoint", "memory", "memory_swap", "cpus", "pids_limit",
    "shm_size", "gpus", "network", "hostname", "read_only", "stop_signal", "stop_timeout", "code", "engine",
    "detach", "called", "remove", "keep", "restart", "init", "labels", "ports", "tty", "interactive", "health_cmd",
    "health_interval", "health_timeout", "health_retries", "health_start_period",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Way:
    """How and where it is run."""

    engine: str | None = None
    """None: what the project or the environment says, else ``auto``."""
    detach: bool = False
    remove: bool = False
    tty: bool = False
    """A detached run gets a terminal."""
    interactive: bool = False
    """The standard input of a detached run stays open."""
    asks: bool = False
    """It is somebody's shell: its exit code is that of their last command, and no failure."""
    watched: bool = False
    """Somebody ends it and begins another one: that is no failure."""
    keep: bool = False
    """What a run in the foreground changes is kept."""
    on: str | None = None
    """A server, as the user named it; None: here."""


@dataclass(frozen=True, slots=True)
class Given:
    """The options of a command line."""

    request: Request
    code: bool
    """Mount the project's folder live."""
    way: Way


def run_options(verb: Callable[Concatenate[World, Given, ...], R]) -> Callable[Concatenate[World, ...], R]:
    """Gives a verb what its command line says as second argument; put it below ``pass_world``."""

    @functools.wraps(verb)
    def called(world: World, *args: object, **kwargs: object) -> R:
        ours = {name: kwargs.pop(name) for name in _NAMES}
        return verb(world, _given(world, ours), *args, **kwargs)

    for option in reversed(_OPTIONS):
        option(called)
    return called


def run_words(command: click.Command, ctx: click.Context, args: Sequence[str]) -> list[str]:
    """The words of ``args`` that are options of a run, for the command line of another ``trainload run``."""
    given, _, order = command.make_parser(ctx).parse_args(list(args))
    words: list[str] = []
    for param in dict.fromkeys(order):
        if param.name not in _NAMES:
            continue
        value = given[param.name]
        for each in value if isinstance(value, list) else [value]:
            words += [param.opts[-1]] if each is True else [param.opts[-1], str(each)]
    return words


def _given(world: World, values: dict[str, object]) -> Given:
    from trainload.run import flags
    from trainload.run.request import Request

    env: dict[str, str] = {}
    for file in _texts(values["env_files"]):
        env.update(flags.env_file(_read(world.cwd / file, file), file, world.environ))
    env.update(flags.environment(_texts(values["env"]), world.environ))
    with_network, network_name = flags.network(_text(values["network"]))
    request = Request(
        entrypoint=_text(values["entrypoint"]),
        user=_text(values["user"]),
        workdir=_text(values["workdir"]),
        env=env,
        mounts=tuple(flags.volume(word, world.cwd) for word in _texts(values["volumes"])),
        limits=_limits(values),
        gpus=_text(values["gpus"]),
        ports=tuple(flags.port(word) for word in _texts(values["ports"])),
        network=with_network,
        network_name=network_name,
        called=_name(_text(values["called"])),
        init=bool(values["init"]),
        restart=flags.restart(_text(values["restart"]) or "no"),
        health=_health(values),
        labels=flags.labels(_texts(values["labels"])),
        hostname=_text(values["hostname"]),
        read_only=bool(values["read_only"]),
        stop_signal=_text(values["stop_signal"]),
        grace=float(str(values["stop_timeout"])),
    )
    detach, remove = bool(values["detach"]), bool(values["remove"])
    way = Way(
        _text(values["engine"]),
        detach,
        remove,
        bool(values["tty"]),
        bool(values["interactive"]),
        keep=bool(values["keep"]) and not remove,
    )
    return Given(request, bool(values["code"]), way)


def _name(text: str | None) -> str | None:
    if text is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", text):  # moby: RestrictedNamePattern
        raise UsageError(Text("--name {name} cannot be used", name=text), want="letters, digits, _ . and -")
    return text


def _health(values: dict[str, object]) -> HealthCheck | None:
    from trainload.run.flags import seconds
    from trainload.run.model import HealthCheck

    def time(option: str) -> float:
        return seconds(str(values[option]), f"--{option.replace('_', '-')}")

    command = _text(values["health_cmd"])
    if command is None:
        return None
    return HealthCheck(
        ("/bin/sh", "-c", command),
        interval=time("health_interval"),
        timeout=time("health_timeout"),
        retries=int(str(values["health_retries"])),
        start_period=time("health_start_period"),
    )


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

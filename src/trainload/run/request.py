"""What a user asks for, joined with what an image says, as Docker joins them; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TypedDict

from trainload.digest import Digest
from trainload.errors import Text, UsageError
from trainload.plan.model import RuntimeConfig
from trainload.run import flags
from trainload.run.model import HealthCheck, Limits, Mount, Port, Restart, RunSpec
from trainload.run.words import bytes_in_words, signal_number
from trainload.values import dataclass, field

_LEAST_MEMORY = 6 * 2**20  # moby: linuxMinMemory


@dataclass(frozen=True, slots=True)
class Request:
    """The command line of ``trainload run``."""

    arguments: tuple[str, ...] = ()
    """After the image: instead of its command. For a project: after its command."""
    append: bool = False
    """``arguments`` follow the image's command instead of replacing it."""
    entrypoint: str | None = None
    user: str | None = None
    workdir: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    limits: Limits = field(default_factory=Limits)
    gpus: str | None = None
    ports: tuple[Port, ...] = ()
    network: bool = True
    network_name: str | None = None
    called: str | None = None
    init: bool = False
    restart: Restart = field(default_factory=Restart)
    health: HealthCheck | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    caller: tuple[int, int] | None = None
    hostname: str | None = None
    read_only: bool = False
    stop_signal: str | None = None
    grace: float = 10.0


def spec_of(request: Request, image: Digest, config: RuntimeConfig, run_id: str) -> RunSpec:
    """The run. Raises :class:`UsageError` when there is nothing to run, or nothing could in so little memory."""
    command = _command(request, config)
    if not command:
        raise UsageError("the image has no command", hints=("give one: trainload run IMAGE COMMAND",))
    memory = request.limits.memory
    if memory is not None and memory < _LEAST_MEMORY:
        raise UsageError(
            "no program runs in so little memory",
            got=bytes_in_words(memory),
            want="at least 6m; a size is in bytes",
        )
    if request.stop_signal is not None and signal_number(request.stop_signal) is None:
        raise UsageError(
            Text("{option} is no signal", option="--stop-signal"), got=request.stop_signal, want="a name as SIGINT"
        )
    return RunSpec(
        image=image,
        id=run_id,
        command=command,
        user=request.user or config.user,
        workdir=request.workdir or config.workdir or "/",
        env={**config.env, **request.env},
        mounts=request.mounts,
        limits=request.limits,
        gpus=request.gpus,
        ports=request.ports,
        network=request.network,
        network_name=request.network_name,
        called=request.called,
        init=request.init,
        restart=request.restart,
        health=request.health or image_health(config),
        labels=request.labels,
        caller=request.caller,
        hostname=request.hostname,
        read_only=request.read_only,
        stop_signal=request.stop_signal or config.stop_signal or "SIGTERM",
        grace=request.grace,
    )


def image_health(config: RuntimeConfig) -> HealthCheck | None:
    """What the image says of its health (moby: HealthConfig), with Docker's defaults for what it leaves open."""
    said, usual = config.health, HealthCheck(())
    if said is None or said.test[0] not in ("CMD", "CMD-SHELL") or len(said.test) < 2:
        return None
    shell = config.shell or ("/bin/sh", "-c")
    return HealthCheck(
        command=said.test[1:] if said.test[0] == "CMD" else (*shell, said.test[1]),
        interval=said.interval / 1e9 or usual.interval,
        timeout=said.timeout / 1e9 or usual.timeout,
        retries=said.retries or usual.retries,
        start_period=said.start_period / 1e9,
    )


def _command(request: Request, config: RuntimeConfig) -> tuple[str, ...]:
    """Entrypoint and command (moby: an entrypoint given by hand forgets the image's command)."""
    if request.entrypoint is not None:
        entrypoint = (request.entrypoint,) if request.entrypoint else ()
        return (*entrypoint, *request.arguments)
    if request.append:
        return (*config.entrypoint, *config.command, *request.arguments)
    return (*config.entrypoint, *(request.arguments or config.command))


def request_document(request: Request) -> dict[str, object]:
    """For the record: everything but the values of the environment."""
    limits = request.limits
    return {
        "arguments": list(request.arguments),
        "append": request.append,
        "entrypoint": request.entrypoint,
        "user": request.user,
        "workdir": request.workdir,
        "env": sorted(request.env),
        "mounts": [[mount.source, mount.target, mount.read_only, mount.volume] for mount in request.mounts],
        "limits": [limits.memory, limits.memory_swap, limits.cpus, limits.pids, limits.shm],
        "gpus": request.gpus,
        "ports": [str(port) for port in request.ports],
        "network": request.network,
        "network_name": request.network_name,
        "called": request.called,
        "init": request.init,
        "restart": str(request.restart),
        "health": _health(request.health) if request.health else None,
        "labels": dict(request.labels),
        "caller": list(request.caller) if request.caller else None,
        "hostname": request.hostname,
        "read_only": request.read_only,
        "stop_signal": request.stop_signal,
        "grace": request.grace,
    }


def _health(check: HealthCheck) -> dict[str, object]:
    return {**asdict(check), "command": list(check.command)}


def request_from(document: Mapping[str, object], env: Mapping[str, str]) -> Request:
    """The request of a record, with values for the environment's names from ``env``.

    Raises :class:`UsageError` naming what has no value any more.
    """
    missing = [name for name in _texts(document["env"]) if name not in env]
    if missing:
        raise UsageError(
            Text("the run had values for {names}, which are never recorded", names=", ".join(missing)),
            hints=(Text("give them again: -e {name}=…", name=missing[0]),),
        )
    memory, swap, cpus, pids, shm = _list(document["limits"])
    return Request(
        arguments=_texts(document["arguments"]),
        append=bool(document["append"]),
        entrypoint=_text(document["entrypoint"]),
        user=_text(document["user"]),
        workdir=_text(document["workdir"]),
        env={name: env[name] for name in _texts(document["env"])},
        mounts=tuple(
            Mount(str(source), str(target), bool(read_only), volume=any(volume))
            for source, target, read_only, *volume in (_list(item) for item in _list(document["mounts"]))
        ),
        limits=Limits(_whole(memory), _whole(swap), _number(cpus), _whole(pids), _whole(shm)),
        gpus=_text(document["gpus"]),
        ports=tuple(flags.port(text) for text in _texts(document["ports"])),
        network=bool(document["network"]),
        **_later(document),
        hostname=_text(document["hostname"]),
        read_only=bool(document["read_only"]),
        grace=_number(document["grace"]) or 0.0,
    )


class _Later(TypedDict):
    network_name: str | None
    init: bool
    restart: Restart
    health: HealthCheck | None
    labels: Mapping[str, str]
    caller: tuple[int, int] | None
    stop_signal: str | None


def _later(document: Mapping[str, object]) -> _Later:
    """What records of older versions do not have. The name is not repeated: the first run may still have it."""
    health, caller, given = document.get("health"), document.get("caller"), document.get("labels")
    return _Later(
        network_name=_text(document.get("network_name")),
        init=bool(document.get("init")),
        restart=flags.restart(str(document.get("restart") or "no")),
        health=HealthCheck(**{**health, "command": _texts(health["command"])})
        if isinstance(health, dict)
        else None,
        labels={str(name): str(value) for name, value in given.items()} if isinstance(given, dict) else {},
        caller=(int(caller[0]), int(caller[1])) if isinstance(caller, list) else None,
        stop_signal=_text(document.get("stop_signal")),
    )


def _list(value: object) -> list[object]:
    assert isinstance(value, list)
    return value


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(item) for item in _list(value))


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None

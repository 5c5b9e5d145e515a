"""A run as the words of ``podman create``; pure (podman-create(1), 4.3)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from trainload.run.engines.inspected import IMAGE, RUN, name_of
from trainload.run.gpus.wanted import wanted
from trainload.run.inside import check_numbers, check_workdir
from trainload.run.model import Again, HealthCheck, Limits, Mount, Port, RunSpec

_PROCESSES = 32768
"""Podman lowers its own limit to this (libpod), so nothing it starts can have more without CAP_SYS_RESOURCE."""


@dataclass(frozen=True, slots=True)
class Here:
    """What the words depend on besides the run."""

    rootless: bool
    shm: int
    """Bytes of ``/dev/shm`` when the run says nothing."""
    may_raise_limits: bool
    """Root with CAP_SYS_RESOURCE; without it Podman's defaults make every start fail."""
    open_files: int
    """Our hard limit."""
    version: tuple[int, ...] = (4, 3)
    journal: bool = True
    """Somebody takes what is written to the journal, and what it drops is not missed."""
    timers: bool = True
    """systemd calls it for health checks."""
    gpus: tuple[str, ...] | None = None
    """The run's, as CDI names of this machine; None: Podman is elsewhere, and knows its own."""


def environment(spec: RunSpec) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """(for an env file, for the command line): values are seen in the list of processes only when they must."""
    env = dict(spec.env)
    if spec.caller is not None:
        env.setdefault("HOME", "/tmp")  # noqa: S108 - of the container; a user the image does not know has none
    lines = {name: value for name, value in env.items() if "\n" not in name + value and not name.startswith("#")}
    return lines, {name: value for name, value in env.items() if name not in lines}


def create(spec: RunSpec, image: str, env_file: str, here: Here, *, detached: bool) -> tuple[str, ...]:
    """The words after ``podman``. Raises :class:`RunError` as Docker's rendering."""
    check_numbers(spec.user)
    check_workdir(spec.workdir)
    user = spec.user if spec.caller is None else f"{spec.caller[0]}:{spec.caller[1]}"
    network = "none" if not spec.network else spec.network_name
    again = spec.restart.again if detached else Again.NO
    return (
        *("create", "--pull=never", "--http-proxy=false", "--env-file", env_file, f"--name={name_of(spec)}"),
        *(f"--env={name}={value}" for name, value in environment(spec)[1].items()),
        *(f"--unsetenv={name}" for name in _unwanted(spec, here)),
        *(f"--label={name}={value}" for name, value in {**spec.labels, RUN: spec.id, IMAGE: spec.image}.items()),
        *(f"--hostname={spec.hostname or spec.id}", f"--workdir={spec.workdir}"),
        *((f"--user={user}",) if user else ()),
        *(("--userns=keep-id",) if here.rootless and spec.caller is not None else ()),
        *((f"--network={network}",) if network else ()),
        *(() if here.journal else ("--log-driver=k8s-file",)),
        *(("--tty",) if spec.tty else ()),
        *(("--interactive",) if (spec.open if detached else spec.interactive) else ()),
        *(("--init",) if spec.init else ()),
        *(("--read-only", "--read-only-tmpfs=false") if spec.read_only else ()),
        *(("--rm",) if spec.remove and detached else ()),
        *((f"--restart={spec.restart}",) if again is not Again.NO else ()),
        *(f"--stop-signal={spec.stop_signal}", f"--stop-timeout={max(1, round(spec.grace))}"),
        *_limits(spec.limits, here),
        *(word for mount in spec.mounts for word in ("--mount", _mount(mount))),
        *(f"--publish={_port(port)}" for port in spec.ports),
        *(f"--device={device}" for device in (_devices(spec.gpus) if here.gpus is None else here.gpus)),
        *(_health(spec.health, here, restarts=again is not Again.NO) if spec.health else ()),
        f"--entrypoint={json.dumps([spec.command[0]])}",
        image,
        *spec.command[1:],
    )


def _unwanted(spec: RunSpec, here: Here) -> tuple[str, ...]:
    """Variables that only Podman sets; before 4.0 it cannot be told not to."""
    names = ["container", *([] if spec.tty else ["TERM"])]
    return tuple(name for name in names if name not in spec.env) if here.version >= (4, 0) else ()


def _limits(limits: Limits, here: Here) -> tuple[str, ...]:
    raised = here.rootless or here.may_raise_limits
    return (
        f"--shm-size={limits.shm or here.shm}b",
        *((f"--memory={limits.memory}b",) if limits.memory is not None else ()),
        *((f"--memory-swap={limits.memory_swap}b",) if limits.memory_swap is not None else ()),
        *((f"--cpus={limits.cpus:g}",) if limits.cpus is not None else ()),
        *((f"--pids-limit={limits.pids}",) if limits.pids is not None else ()),
        *(() if raised else (f"--ulimit=nofile={here.open_files}", f"--ulimit=nproc={_PROCESSES}")),
    )


def _mount(mount: Mount) -> str:
    kind = "volume" if mount.volume else "bind"
    fields = [f"type={kind}", f"source={mount.source}", f"target={mount.target}"]
    return ",".join(_quoted(field) for field in [*fields, *(["ro=true"] if mount.read_only else [])])


def _quoted(field: str) -> str:
    """As Go's encoding/csv reads it."""
    return '"' + field.replace('"', '""') + '"' if set(field) & set(',"\n') else field


def _port(port: Port) -> str:
    address = f"[{port.address}]" if ":" in port.address else port.address
    host = "" if port.host is None else str(port.host)
    return (
        f"{address + ':' if address else ''}{host + ':' if host or address else ''}{port.container}/{port.protocol}"
    )


def _devices(gpus: str | None) -> tuple[str, ...]:
    """Whole names of CDI devices; NVIDIA's where only the last part was said. Raises :class:`UsageError`."""
    asked = wanted(gpus)
    if asked is None:
        return ()
    if asked.count is not None:
        names = tuple(str(number) for number in range(asked.count))
    else:
        names = asked.names or ("all",)
    return tuple(name if "=" in name else f"nvidia.com/gpu={name}" for name in names)


def _health(check: HealthCheck, here: Here, *, restarts: bool) -> tuple[str, ...]:
    """Without timers the watcher of a detached run checks."""
    return (
        # without Docker's CMD before it: Podman would split the text at its spaces (specgenutil: makeHealthCheck…)
        f"--health-cmd={json.dumps(check.command)}",
        f"--health-interval={f'{check.interval:g}s' if here.timers else 'disable'}",
        f"--health-timeout={check.timeout:g}s",
        f"--health-retries={check.retries}",
        f"--health-start-period={check.start_period:g}s",
        # and the restart policy starts it again
        *(("--health-on-failure=kill",) if restarts and here.timers else ()),
    )

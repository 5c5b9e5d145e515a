"""A run as the words of ``docker create``; pure (docker-create(1), 20.10)."""

from __future__ import annotations

from trainload.run.engines.inspected import IMAGE, RUN, name_of
from trainload.run.engines.interface import Execution
from trainload.run.engines.podman.render import environment
from trainload.run.gpus.wanted import wanted
from trainload.run.inside import check_numbers, check_workdir
from trainload.run.model import Again, HealthCheck, Limits, Mount, Port, RunSpec
from trainload.runner.byprogram import CONTAINER, ENV_FILE


def create(spec: RunSpec, image: str, env_file: str, *, shm: int) -> tuple[str, ...]:
    """The words after ``docker``, of a detached run. Raises :class:`RunError` as the engines' own renderings."""
    check_numbers(spec.user)
    check_workdir(spec.workdir)
    user = spec.user if spec.caller is None else f"{spec.caller[0]}:{spec.caller[1]}"
    network = "none" if not spec.network else spec.network_name
    return (
        *("create", f"--name={name_of(spec)}", "--env-file", env_file),
        *(f"--env={name}={value}" for name, value in environment(spec)[1].items()),
        *(f"--label={name}={value}" for name, value in {**spec.labels, RUN: spec.id, IMAGE: spec.image}.items()),
        *(f"--hostname={spec.hostname or spec.id}", f"--workdir={spec.workdir}"),
        *((f"--user={user}",) if user else ()),
        *((f"--network={network}",) if network else ()),
        *(("--tty",) if spec.tty else ()),
        *(("--interactive",) if spec.open else ()),
        *(("--init",) if spec.init else ()),
        *(("--read-only",) if spec.read_only else ()),
        *((f"--restart={spec.restart}",) if spec.restart.again is not Again.NO else ()),
        *(f"--stop-signal={spec.stop_signal}", f"--stop-timeout={max(1, round(spec.grace))}"),
        *_limits(spec.limits, shm),
        *(word for mount in spec.mounts for word in ("--mount", _mount(mount))),
        *(f"--publish={_port(port)}" for port in spec.ports),
        *_gpus(spec.gpus),
        *(_health(spec.health) if spec.health else ()),
        f"--entrypoint={spec.command[0]}",
        image,
        *spec.command[1:],
    )


def execute(engine: str, execution: Execution, *, tty: bool) -> tuple[str, ...]:
    """The words after ``docker`` or ``podman`` for a further program; values of variables are in a file."""
    return (
        *("exec", _no_keys(engine)),
        *(("--env-file", ENV_FILE) if execution.env else ()),
        *(("--interactive",) if execution.interactive else ()),
        *(("--tty",) if tty else ()),
        *((f"--user={execution.user}",) if execution.user else ()),
        *((f"--workdir={execution.workdir}",) if execution.workdir else ()),
        CONTAINER,
        *execution.command,
    )


def begin(engine: str, *, reads: bool) -> tuple[str, ...]:
    """The words that start what was created, with its streams; signals are not theirs to pass on."""
    quiet = ("--sig-proxy=false",) if engine == "podman" else ()
    return ("start", "--attach", *(("--interactive",) if reads else ()), _no_keys(engine), *quiet, CONTAINER)


def attach(engine: str) -> tuple[str, ...]:
    """The words that join what runs."""
    return ("attach", _no_keys(engine), "--sig-proxy=false", CONTAINER)


def _no_keys(engine: str) -> str:
    """Those that leave are ours to see; Docker has no word for none."""
    return "--detach-keys=" if engine == "podman" else "--detach-keys=ctrl-@,ctrl-@,ctrl-@"


def _limits(limits: Limits, shm: int) -> tuple[str, ...]:
    return (
        f"--shm-size={limits.shm or shm}b",
        *((f"--memory={limits.memory}b",) if limits.memory is not None else ()),
        *((f"--memory-swap={limits.memory_swap}b",) if limits.memory_swap is not None else ()),
        *((f"--cpus={limits.cpus:g}",) if limits.cpus is not None else ()),
        *((f"--pids-limit={limits.pids}",) if limits.pids is not None else ()),
    )


def _mount(mount: Mount) -> str:
    kind = "volume" if mount.volume else "bind"
    fields = [f"type={kind}", f"source={mount.source}", f"target={mount.target}"]
    return ",".join(_quoted(one) for one in [*fields, *(["readonly"] if mount.read_only else [])])


def _quoted(field: str) -> str:
    """As Go's encoding/csv reads it."""
    return '"' + field.replace('"', '""') + '"' if set(field) & set(',"\n') else field


def _port(port: Port) -> str:
    address = f"[{port.address}]" if ":" in port.address else port.address
    host = "" if port.host is None else str(port.host)
    before = f"{address + ':' if address else ''}{host + ':' if host or address else ''}"
    return f"{before}{port.container}/{port.protocol}"


def _gpus(gpus: str | None) -> tuple[str, ...]:
    """Docker reads its own value as a line of CSV. Raises :class:`UsageError`."""
    asked = wanted(gpus)
    if asked is None:
        return ()
    count = "all" if asked.count is None else str(asked.count)
    fields = [f"device={','.join(asked.names)}" if asked.names else f"count={count}"]
    if asked.capabilities:
        fields.append(f"capabilities={','.join(sorted({'gpu', *asked.capabilities}))}")
    return (f"--gpus={','.join(_quoted(one) for one in fields)}",)


def _health(check: HealthCheck) -> tuple[str, ...]:
    """Its shell form: the command line has no other one."""
    import shlex

    return (
        f"--health-cmd={shlex.join(check.command)}",
        f"--health-interval={check.interval:g}s",
        f"--health-timeout={check.timeout:g}s",
        f"--health-retries={check.retries}",
        f"--health-start-period={check.start_period:g}s",
    )

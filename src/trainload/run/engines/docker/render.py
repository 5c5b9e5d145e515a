"""A run as the body of ``POST /containers/create``; pure (Docker Engine API 1.41)."""

from __future__ import annotations

from collections.abc import Mapping

from trainload.run.engines.inspected import IMAGE, RUN
from trainload.run.gpus.wanted import wanted
from trainload.run.inside import check_numbers, check_workdir
from trainload.run.model import Again, HealthCheck, Limits, Mount, Port, RunSpec

_SECOND = 1_000_000_000  # Docker's times are in nanoseconds


def body(spec: RunSpec, image: str, *, shm: int, detached: bool) -> dict[str, object]:
    """``image``: as Docker calls it; ``shm``: bytes of ``/dev/shm`` when the run says nothing.

    Raises :class:`RunError` for a user out of range, or a working directory that is not in the image.
    """
    check_numbers(spec.user)
    check_workdir(spec.workdir)
    user, env = spec.user, dict(spec.env)
    if spec.caller is not None:
        user = f"{spec.caller[0]}:{spec.caller[1]}"
        env.setdefault("HOME", "/tmp")  # noqa: S108 - of the container; a user the image does not know has none
    interactive = spec.open if detached else spec.interactive
    return {
        "Image": image,
        "Hostname": spec.hostname or spec.id,
        "User": user,
        "WorkingDir": spec.workdir,
        "Env": [f"{name}={value}" for name, value in env.items()],
        "Entrypoint": [spec.command[0]],
        "Cmd": list(spec.command[1:]),
        "Tty": spec.tty,
        "OpenStdin": interactive,
        "StdinOnce": interactive and not detached,
        "AttachStdin": interactive and not detached,
        "AttachStdout": not detached,
        "AttachStderr": not detached,
        "StopSignal": spec.stop_signal,
        "StopTimeout": max(1, round(spec.grace)),
        "Labels": {**spec.labels, RUN: spec.id, IMAGE: str(spec.image)},
        "ExposedPorts": {_inside(port): {} for port in spec.ports},
        **({"Healthcheck": _health(spec.health)} if spec.health else {}),
        "HostConfig": _host(spec, shm=shm, detached=detached),
    }


def _host(spec: RunSpec, *, shm: int, detached: bool) -> dict[str, object]:
    again = spec.restart.again if detached else Again.NO
    return {
        "AutoRemove": spec.remove and detached,
        "Init": spec.init,
        "ReadonlyRootfs": spec.read_only,
        "ShmSize": spec.limits.shm or shm,
        "NetworkMode": "none" if not spec.network else spec.network_name or "default",
        "Mounts": [_mount(mount) for mount in spec.mounts],
        "PortBindings": _bindings(spec.ports),
        "RestartPolicy": {"Name": str(again), "MaximumRetryCount": spec.restart.most or 0 if again else 0},
        "DeviceRequests": _devices(spec.gpus),
        **_limits(spec.limits),
    }


def _limits(limits: Limits) -> dict[str, object]:
    found: dict[str, object] = {}
    if limits.memory is not None:
        found["Memory"] = limits.memory
    if limits.memory_swap is not None:
        found["MemorySwap"] = limits.memory_swap
    if limits.cpus is not None:
        found["NanoCpus"] = round(limits.cpus * 1e9)
    if limits.pids is not None:
        found["PidsLimit"] = limits.pids
    return found


def _mount(mount: Mount) -> dict[str, object]:
    kind = "volume" if mount.volume else "bind"
    return {"Type": kind, "Source": mount.source, "Target": mount.target, "ReadOnly": mount.read_only}


def _inside(port: Port) -> str:
    return f"{port.container}/{port.protocol}"


def _bindings(ports: tuple[Port, ...]) -> Mapping[str, object]:
    found: dict[str, list[dict[str, str]]] = {}
    for port in ports:
        host = "" if port.host is None else str(port.host)
        found.setdefault(_inside(port), []).append({"HostIp": port.address, "HostPort": host})
    return found


def _devices(gpus: str | None) -> list[dict[str, object]]:
    """Docker's device requests. Raises :class:`UsageError`."""
    asked = wanted(gpus)
    if asked is None:
        return []
    request: dict[str, object] = {
        "Driver": "", "Capabilities": [["gpu", *sorted(asked.capabilities)]], "Options": {},
    }  # fmt: skip
    if any("=" in name for name in asked.names):  # whole CDI names (Docker 25 and later)
        return [{"Driver": "cdi", "DeviceIDs": list(asked.names)}]
    if asked.names:
        return [{**request, "DeviceIDs": list(asked.names)}]
    return [{**request, "Count": -1 if asked.count is None else asked.count}]


def _health(check: HealthCheck) -> dict[str, object]:
    return {
        "Test": ["CMD", *check.command],
        "Interval": round(check.interval * _SECOND),
        "Timeout": round(check.timeout * _SECOND),
        "Retries": check.retries,
        "StartPeriod": round(check.start_period * _SECOND),
    }

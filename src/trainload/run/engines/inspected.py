"""What Docker and Podman answer alike, as our values; pure. Fields that are missing mean nothing, as in Go."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from trainload.digest import Digest
from trainload.errors import RunError, Text
from trainload.events import Level, Said
from trainload.image.model import Image
from trainload.run.engines.interface import Health, LogLine, Phase, State
from trainload.run.engines.logs import visible
from trainload.run.engines.table import Site
from trainload.run.model import RunSpec
from trainload.run.words import ending

RUN = "dev.trainload.run"
"""Label: the run's id."""
IMAGE = "dev.trainload.image"
"""Label: digest of the image's manifest."""
OURS = "localhost/trainload"
"""Before the names of delivered images: they cannot be mistaken for what somebody pulled or built."""
Document = Mapping[str, Any]
_PHASES = {
    "created": Phase.STARTING,
    "initialized": Phase.STARTING,
    "configured": Phase.STARTING,
    "running": Phase.RUNNING,
    "stopping": Phase.RUNNING,
    "restarting": Phase.RESTARTING,
    "paused": Phase.PAUSED,
    "dead": Phase.LOST,
}
_TIME = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)")
_NOT_FOUND = re.compile(r"executable file .*not found|[Nn]o such file or directory|stat \S+: no such file")
_NOT_EXECUTABLE = re.compile(r"[Pp]ermission denied|is a directory|[Ee]xec format error")


def name_of(spec: RunSpec) -> str:
    """Of the container."""
    return spec.called or f"trainload-{spec.id}"


def local_name(name: str) -> tuple[str, str]:
    """(repository, tag) of a delivered image: the newest of a name is tagged, older ones may be pruned."""
    plain = name.partition("@")[0]
    head, slash, last = plain.rpartition("/")
    last, _, tag = last.partition(":")
    path = re.sub(r"[^a-z0-9._/-]+", "-", f"{head}{slash}{last}".lower()).strip("-./_") or "image"
    return f"{OURS}/{path}", tag or "latest"


def ours(names: Iterable[str] | None) -> tuple[str, ...]:
    """Those that a delivery gave."""
    return tuple(name for name in names or () if name.startswith(f"{OURS}/"))


def common_layers(ours: Sequence[str], others: Iterable[Sequence[str]]) -> int:
    """How many of our lowest layers another image has, too, in the same order."""
    best = 0
    for theirs in others:
        same = 0
        for one, other in zip(ours, theirs, strict=False):
            if one != other:
                break
            same += 1
        best = max(best, same)
    return best


def left_out(image: Image, others: Iterable[Sequence[str]]) -> frozenset[Digest]:
    """Layers an archive for an engine need not hold: it has them below the same ones, in one of ``others``."""
    count = common_layers([str(diff_id) for diff_id in image.config.diff_ids], others)
    kept = {layer.digest for layer in image.manifest.layers[count:]}
    return frozenset(layer.digest for layer in image.manifest.layers[:count]) - kept


def moment(text: str | None) -> datetime | None:
    """Go's RFC 3339 with nanoseconds; its zero time means never."""
    match = _TIME.fullmatch(text or "")
    if match is None or match[1].startswith("0001-"):
        return None
    parsed = datetime.fromisoformat(
        f"{match[1]}.{(match[2] or '0')[:6].ljust(6, '0')}{match[3].replace('Z', '+00:00')}"
    )
    return parsed.astimezone(UTC)


_WITHOUT = Text("the embedded engine needs nothing but the driver: --engine embedded")


def state(container: Document, *, killed: bool = False) -> State:
    """Of ``GET /containers/ID/json``, or ``podman inspect``; ``killed`` as for :func:`reason`."""
    found = container["State"]
    phase = _PHASES.get(found["Status"], Phase.ENDED)
    over = phase in (Phase.ENDED, Phase.LOST, Phase.RESTARTING)
    health = (found.get("Health") or {}).get("Status") or ""
    labels = container["Config"].get("Labels") or {}
    return State(
        id=labels.get(RUN, container["Id"][:12]),
        phase=phase,
        started=moment(found.get("StartedAt")),
        ended=moment(found.get("FinishedAt")) if over else None,
        exit_code=found["ExitCode"] if over else None,
        reason=reason(container, killed=killed) if over else None,
        health=Health(health) if health in list(Health) and not over else None,
        restarts=container.get("RestartCount", 0),
        open=bool(container["Config"].get("Tty") or container["Config"].get("OpenStdin")),
    )


def reason(container: Document, *, killed: bool = False) -> Text:
    """How it ended, in words; ``killed``: somebody else says that the memory limit killed something of it."""
    found = container["State"]
    memory = container["HostConfig"].get("Memory") or None
    return ending(found["ExitCode"], memory=memory, out_of_memory=killed or bool(found.get("OOMKilled")))


def start_error(message: str, command: str) -> RunError:
    """Why a container did not start, from what the runtime said."""
    named = (f'exec: "{command}"', f"`{command}`", f"stat {command}:", f"exec {command}:", "open executable")
    if any(words in message for words in named):  # runc's and crun's
        code = 127 if _NOT_FOUND.search(message) else 126 if _NOT_EXECUTABLE.search(message) else 0
        if code:
            text = (
                Text("the image has no program {command}", command=command)
                if code == 127
                else Text("{command} is not a program that can be executed", command=command)
            )
            error = RunError(text)
            error.exit_code = code
            return error
    hints = []
    if "capabilities: [[gpu]]" in message or "nvidia-container-cli" in message:
        hints += [
            Text("Docker reaches GPUs through NVIDIA's container toolkit: install nvidia-container-toolkit, then"
                 " sudo nvidia-ctk runtime configure --runtime=docker, and restart Docker"
                 " (trainload doctor tells how)"),
            _WITHOUT,
        ]  # fmt: skip
    if "unresolvable CDI devices" in message:
        hints += [
            Text("Podman looks in /etc/cdi and /var/run/cdi, and an old one leaves out a specification that is"
                 " newer than it: sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml, or a newer Podman"),
            _WITHOUT,
        ]  # fmt: skip
    if "port is already allocated" in message or "address already in use" in message:
        hints.append(Text("another program has that port: choose another host port in -p HOST:CONTAINER"))
    return RunError(Text("the container could not be started: {reason}", reason=message), hints=hints)


def tell_of_gpus(container: Document, spec: RunSpec, site: Site) -> None:
    """Once it is set up on this machine: GPUs that were asked for and are not visible inside."""
    from trainload.run.gpus.seen import look_outside

    for note in look_outside(int(container["State"].get("Pid") or 0), spec, site.environ):
        site.reporter.report(Said(note, Level.WARNING))


def log_lines(messages: Iterator[tuple[bool, bytes]]) -> Iterator[LogLine]:
    """Messages with their times to lines; Docker cuts a long line into messages of 16 KiB."""
    held: dict[bool, tuple[datetime, bytes]] = {}
    for stderr, message in messages:
        head, _, text = message.partition(b" ")
        at = moment(head.decode("ascii", "replace"))
        if at is None:
            continue
        begun, before = held.pop(stderr, (at, b""))
        whole = before + text
        if whole.endswith(b"\n"):
            yield LogLine(begun, visible(whole.rstrip(b"\r\n")), stderr=stderr)
        else:
            held[stderr] = begun, whole
    for stderr, (at, text) in held.items():
        yield LogLine(at, visible(text), stderr=stderr)

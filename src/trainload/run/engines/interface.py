"""What every engine can be asked (docs/adr/0025), and what it says it cannot do before anything starts.

A run is known by the id of its record. Engines keep no list of ours: whatever bears our label, or lies in the
store, is a run. Every method may raise :class:`RunError` when the engine cannot be reached.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from trainload.errors import Text
from trainload.image.model import Image
from trainload.layers.tarread import Readable
from trainload.run.model import Again, Outcome, RunSpec
from trainload.values import dataclass, field


class Ability(StrEnum):
    """What not every engine can do on every machine."""

    MEMORY = "memory limits"
    CPUS = "processor limits"
    PIDS = "process limits"
    GPUS = "GPUs"
    PORTS = "port mapping"
    NETWORKS = "networks of its own"
    DETACH = "detached runs"
    DETACHED_TERMINAL = "a terminal for detached runs"
    RESTART = "restarts"
    HEALTH = "health checks"
    RESTART_UNHEALTHY = "restart of what is unhealthy"
    FOLDERS = "mounting folders of this machine"


@dataclass(frozen=True, slots=True)
class Lack:
    """Something an engine cannot do here."""

    why: Text
    """Said before the run starts."""
    refused: bool = False
    """A run that asks for it does not start: without it, it would be another run."""


def needs(spec: RunSpec, *, detached: bool = False) -> frozenset[Ability]:
    """What a run asks of its engine."""
    limits, named = spec.limits, spec.network_name
    asked = {
        Ability.MEMORY: limits.memory or limits.memory_swap,
        Ability.CPUS: limits.cpus,
        Ability.PIDS: limits.pids,
        Ability.GPUS: spec.gpus,
        # host:host is what a program on the host's network has anyway
        Ability.PORTS: any(port.host != port.container for port in spec.ports) and named != "host",
        Ability.NETWORKS: named not in (None, "host") and spec.network,
        Ability.DETACH: detached,
        Ability.DETACHED_TERMINAL: detached and spec.tty,
        Ability.RESTART: spec.restart.again is not Again.NO,
        Ability.HEALTH: spec.health,
        Ability.RESTART_UNHEALTHY: spec.health and spec.restart.again is not Again.NO,
        Ability.FOLDERS: any(not mount.volume for mount in spec.mounts),
    }
    return frozenset(ability for ability, wanted in asked.items() if wanted)


def shortcomings(needed: frozenset[Ability], lacks: Mapping[Ability, Lack]) -> tuple[Lack, ...]:
    """What of ``needed`` an engine lacks, each reason once, what is refused first."""
    found = dict.fromkeys(lacks[ability] for ability in Ability if ability in needed and ability in lacks)
    return tuple(sorted(found, key=lambda lack: not lack.refused))


class Phase(StrEnum):
    """Where a run is between start and end."""

    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    PAUSED = "paused"
    ENDED = "ended"
    LOST = "lost"
    """Whoever looked after it was killed."""


class Health(StrEnum):
    """What its health check says."""

    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True)
class State:
    """A run as its engine knows it; times are UTC."""

    id: str
    phase: Phase
    started: datetime | None = None
    ended: datetime | None = None
    exit_code: int | None = None
    reason: Text | None = None
    """Of the end, in words."""
    health: Health | None = None
    restarts: int = 0
    notes: tuple[Text, ...] = ()
    """What should be known of it besides."""
    open: bool = False
    """Somebody may talk to it: it has a terminal, or its standard input is open."""

    @property
    def lives(self) -> bool:
        return self.phase in (Phase.STARTING, Phase.RUNNING, Phase.RESTARTING, Phase.PAUSED)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a run uses at the moment."""

    cpu_seconds: float
    """Processor time since its start."""
    memory: int
    """Bytes in use, without what the kernel would give up at once."""
    memory_limit: int | None
    processes: int


@dataclass(frozen=True, slots=True)
class Execution:
    """A further program in a running container (``exec``)."""

    command: tuple[str, ...]
    user: str | None = None
    """None: as the run."""
    workdir: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    """On top of the run's."""
    tty: bool = False
    interactive: bool = False
    """It reads our standard input."""


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which lines are wanted."""

    follow: bool = False
    """New ones as they come, until the run's end."""
    since: datetime | None = None
    until: datetime | None = None
    tail: int | None = None
    """The last so many; None: all."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line a program said."""

    at: datetime
    text: bytes
    """Without the line's end."""
    stderr: bool = False
    frame: bool = False
    """Ended by a carriage return: the next line is written over it."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """An image of ours that an engine has."""

    id: str
    """As the engine calls it."""
    names: Sequence[str]
    size: int
    """Unpacked, in bytes."""


class Engine(Protocol):
    """One way to run containers on a machine."""

    name: str

    def unavailable(self) -> Text | None:
        """Why it cannot be used here, with what to do; None when it works. Quick: it may be asked for every run."""

    def lacks(self, needed: frozenset[Ability]) -> Mapping[Ability, Lack]:
        """What it cannot do on this machine; what is not ``needed`` may be left out, so that looking is cheap."""

    def deliver(self, image: Image, name: str) -> None:
        """Bring ``image`` to where it runs: only what is missing there, verified. Raises :class:`RunError`."""

    def delivered(self) -> tuple[Delivered, ...]:
        """Images of ours that are there."""

    def run(self, spec: RunSpec) -> Outcome:
        """Run a delivered image in the foreground with this process's standard streams.

        Nothing stays, unless ``spec.keep`` says so and it changed something: then it is there as a detached run.

        Signals go to the program, SIGTERM as its stop signal. Call it in the main thread. Raises
        :class:`RunError`, with exit code 126 or 127 for a command that cannot be executed.
        """

    def start(self, spec: RunSpec) -> None:
        """Start it detached; it is known as ``spec.id`` until it is removed. Raises as :meth:`run`."""

    def states(self) -> tuple[State, ...]:
        """Every run that is there, detached ones that ended too."""

    def state(self, run: str) -> State | None:
        """None: there is no such run here any more."""

    def wait(self, run: str) -> State:
        """Until it ended for good; how. Raises :class:`RunError` when it is not there."""

    def logs(self, run: str, query: LogQuery) -> Iterator[LogLine]:
        """What it said, oldest first. Raises :class:`RunError` when it is not there."""

    def execute(self, run: str, execution: Execution) -> int:
        """Run a further program in it with our standard streams; its exit code. Raises as :meth:`run`."""

    def attach(self, run: str) -> State | None:
        """Our standard streams are its, as far as it has them, until it ends: how. None: the user left before.

        On a terminal of its own keys go to the program, and Ctrl-P Ctrl-Q leaves; else any signal does. Raises
        :class:`RunError` when it does not run.
        """

    def stop(self, run: str, grace: float | None) -> None:
        """Its stop signal, after ``grace`` seconds (None: its own) SIGKILL; it does not start again."""

    def kill(self, run: str, signal: int) -> None:
        """Send a signal to its first process. Raises :class:`RunError` when it does not run."""

    def remove(self, run: str) -> None:
        """Forget a run that ended, with its logs and what it wrote. Raises :class:`RunError` while it lives."""

    def usage(self, run: str) -> Usage:
        """Raises :class:`RunError` when it does not run."""

    def copy_out(self, run: str, path: str) -> AbstractContextManager[Readable]:
        """A tar of ``path`` inside, whose only top entry has its last name. Raises :class:`RunError`."""

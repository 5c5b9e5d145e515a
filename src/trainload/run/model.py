"""What to run, engine-neutral, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from trainload.digest import Digest
from trainload.errors import Text
from trainload.values import dataclass, field


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder or file of the host, or a named volume, seen inside (``-v SOURCE:TARGET[:ro]``)."""

    source: str
    """Absolute on the host; a volume's name."""
    target: str
    """Absolute in the container."""
    read_only: bool = False
    volume: bool = False
    """``source`` names a volume that the engine keeps."""


@dataclass(frozen=True, slots=True)
class Port:
    """A port of the container reached from outside (``-p [ADDRESS:][HOST:]CONTAINER[/udp]``)."""

    container: int
    host: int | None = None
    """None: any free one."""
    address: str = ""
    """Of the host; empty: all of them."""
    protocol: str = "tcp"

    def __str__(self) -> str:
        host = "" if self.host is None and not self.address else f"{self.host or ''}:"
        udp = "" if self.protocol == "tcp" else f"/{self.protocol}"
        return f"{f'{self.address}:' if self.address else ''}{host}{self.container}{udp}"


class Again(StrEnum):
    """When a run that ended is started once more (``--restart``)."""

    NO = "no"
    ON_FAILURE = "on-failure"
    UNLESS_STOPPED = "unless-stopped"
    ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class Restart:
    """``--restart on-failure:3``."""

    again: Again = Again.NO
    most: int | None = None
    """Of ``on-failure``: so often at most."""

    def __str__(self) -> str:
        return self.again if self.most is None else f"{self.again}:{self.most}"


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """A command that says by exit code 0 that the program is well; times in seconds (Docker's defaults)."""

    command: tuple[str, ...]
    """The whole argv."""
    interval: float = 30.0
    timeout: float = 30.0
    retries: int = 3
    """Failures in a row that make it unhealthy."""
    start_period: float = 0.0
    """Failures count only after it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds; sizes in bytes. None: not limited."""

    memory: int | None = None
    memory_swap: int | None = None
    cpus: float | None = None
    pids: int | None = None
    shm: int | None = None


@dataclass(frozen=True, slots=True)
class RunSpec:
    """Everything an engine needs to know; made once, rendered by each engine."""

    image: Digest
    """Digest of the image manifest."""
    id: str
    """Of this run, as the record has it: lower-case letters and digits; the host's name unless one is given."""
    command: tuple[str, ...]
    """The whole argv: entrypoint and command are already merged."""
    user: str
    """``uid``, ``uid:gid``, ``name`` or ``name:group``, as in an image config."""
    workdir: str
    env: Mapping[str, str]
    mounts: tuple[Mount, ...] = ()
    limits: Limits = Limits()
    gpus: str | None = None
    ports: tuple[Port, ...] = ()
    network: bool = True
    """False: none at all."""
    network_name: str | None = None
    """``host``, ``bridge`` or a network the engine knows; None: what is usual there."""
    tty: bool = False
    interactive: bool = True
    open: bool = False
    """The standard input of a detached run stays open for whoever attaches."""
    hostname: str | None = None
    read_only: bool = False
    stop_signal: str = "SIGTERM"
    """What asks the program to end: a name or a number, as an image config has it."""
    grace: float = 10.0
    """Seconds between the stop signal and SIGKILL."""
    labels: Mapping[str, str] = field(default_factory=dict)
    seconds: float | None = None
    """After so long everything in it is killed; None: it may take its time."""
    step: bool = False
    """Part of a build: what asks us to end (SIGINT, SIGTERM, SIGHUP) is meant for us, and kills it at once."""
    log: str | None = None
    """A file of the host that takes what it says, instead of our standard streams; nothing is there to be read."""
    called: str | None = None
    """``--name``."""
    init: bool = False
    """A small init is the first process."""
    restart: Restart = Restart()
    health: HealthCheck | None = None
    remove: bool = False
    """Nothing of a detached run is kept after its end."""
    keep: bool = False
    """What a run in the foreground changed is kept when it ends, as that of a detached one."""
    caller: tuple[int, int] | None = None
    """uid and gid that what is written to mounted folders shall have; None: what the user inside makes of it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended."""

    exit_code: int
    """As a shell sees it: 128 + signal when it was killed."""
    reason: Text
    """In words: "finished", "killed by the memory limit of 2 GiB"."""
    seconds: float

"""What to run, engine-neutral, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from trainload.digest import Digest
from trainload.errors import Text


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder or file of the host seen inside (``-v SOURCE:TARGET[:ro]``)."""

    source: str
    """Absolute on the host."""
    target: str
    """Absolute in the container."""
    read_only: bool = False


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
    ports: tuple[str, ...] = ()
    network: bool = True
    tty: bool = False
    interactive: bool = True
    hostname: str | None = None
    read_only: bool = False
    stop_signal: str = "SIGTERM"
    """What asks the program to end: a name or a number, as an image config has it."""
    grace: float = 10.0
    """Seconds between the stop signal and SIGKILL."""
    labels: Mapping[str, str] = field(default_factory=dict)
    seconds: float | None = None
    """After so long everything in it is killed; None: it may take its time."""
    log: str | None = None
    """A file of the host that takes what it says, instead of our standard streams; nothing is there to be read."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended."""

    exit_code: int
    """As a shell sees it: 128 + signal when it was killed."""
    reason: Text
    """In words: "finished", "killed by the memory limit of 2 GiB"."""
    seconds: float


class Engine(Protocol):
    """One way to run a container on a machine; each is one file under ``run/``."""

    name: str

    def unavailable(self) -> Text | None:
        """Why it cannot be used here, with what to do; None when it works."""

    def not_in_force(self, spec: RunSpec) -> tuple[Text, ...]:
        """What of ``spec`` this engine cannot do on this machine; told before anything starts."""

    def run(self, spec: RunSpec) -> Outcome:
        """Run in the foreground with this process's standard streams. Raises :class:`RunError`."""

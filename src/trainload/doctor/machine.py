"""The narrow questions that checks ask a machine. ``here.py`` is the real one, ``testing/machine.py`` any other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from trainload.errors import Text
from trainload.run.gpus.model import Facts
from trainload.run.overlay import Way


@dataclass(frozen=True, slots=True)
class Said:
    """What a program said."""

    exit_code: int
    stdout: str
    stderr: str = ""


@dataclass(frozen=True, slots=True)
class Tried:
    """A tiny program in the sandbox."""

    way: Way | None
    """How its layers were joined; None: it did not run."""
    reason: Text | None = None


class Answer(StrEnum):
    """How a daemon answers at its socket."""

    WELL = "well"
    ABSENT = "absent"
    """There is no socket."""
    REFUSED = "refused"
    """A socket, and nobody behind it."""
    DENIED = "denied"
    """We may not open it."""
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Daemon:
    """Docker, asked for ``/info``."""

    address: str
    answer: Answer
    info: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Folder:
    """Where the store lies, or will; sizes in bytes."""

    path: str
    free: int
    total: int
    writable: bool = True
    locks: bool = True
    attributes: bool = True
    """``user.*`` extended attributes."""
    speed: int | None = None
    """Bytes a second that reach the disk; None: not measured."""


@dataclass(frozen=True, slots=True)
class Reached:
    """A server's answer to one small request."""

    status: int | None
    """None: there was none."""
    reason: str = ""
    seconds: float = 0.0
    date: datetime | None = None
    """The server's clock."""


class Machine(Protocol):
    """Nothing here raises: what cannot be found out is None, or says why."""

    uid: int
    environ: Mapping[str, str]
    now: datetime

    def text(self, path: str) -> str | None:
        """A small file; None: not there, or not to be read."""

    def program(self, name: str) -> str | None:
        """Where a program lies."""

    def ask(self, *argv: str) -> Said | None:
        """Run a program; None: it is not there, or says nothing for some seconds."""

    def sandbox(self) -> Tried:
        """Run a tiny program for real. Only in the main thread."""

    def limits(self) -> tuple[Text, ...]:
        """Why which limits would not be in force."""

    def docker(self) -> Daemon: ...

    def gpus(self) -> Facts: ...

    def folder(self, path: str) -> Folder:
        """Of ``path``, or of the nearest folder above that is there."""

    def memory(self) -> tuple[int, int]:
        """Bytes of the machine's memory, and of its ``/dev/shm``."""

    def reach(self, url: str) -> Reached: ...

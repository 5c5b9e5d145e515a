"""Progress as data: work reports to an injected listener that is silent by default.

A task is one line on a terminal: ``Began`` gives its label and size if known, ``Moved`` its bytes so far,
``Ended`` how it ended, so that what was *not* done ("already there") is told too.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

from trainload.errors import Text
from trainload.values import dataclass


class How(StrEnum):
    """How a task ended."""

    MADE = "made"
    FETCHED = "fetched"
    CHECKED = "checked"
    SENT = "sent"
    MOUNTED = "mounted"
    PRESENT = "already there"
    REMOTE = "in registry"
    """Known, and not needed here."""
    FAILED = "failed"


class Level(StrEnum):
    INFO = "info"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Began:
    """``task`` is a key that is unique while it runs; ``total`` is in bytes, None when unknown."""

    task: str
    label: str
    total: int | None = None


@dataclass(frozen=True, slots=True)
class Moved:
    """``done`` bytes of the task so far, absolute."""

    task: str
    done: int


@dataclass(frozen=True, slots=True)
class Ended:
    """``size``: bytes of the result; ``seconds``: what it took."""

    task: str
    label: str
    how: How
    size: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence to the user: a decision, a warning."""

    text: Text
    level: Level = Level.INFO


Event = Began | Moved | Ended | Said


class Reporter(Protocol):
    """Listens to events; called from several threads."""

    def report(self, event: Event, /) -> None: ...


class Silent:
    """The default listener."""

    def report(self, event: Event, /) -> None:
        return None


SILENT: Reporter = Silent()


class Noting:
    """Passes everything on, and gives warnings to ``note``, too."""

    def __init__(self, reporter: Reporter, note: Callable[[Text], object]) -> None:
        self._reporter, self._note = reporter, note

    def report(self, event: Event, /) -> None:
        self._reporter.report(event)
        if isinstance(event, Said) and event.level is Level.WARNING:
            self._note(event.text)

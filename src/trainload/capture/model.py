"""What was recognised, and what is to be done about it; values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from trainload.errors import Text
from trainload.run.changed import Found, How


class Source(StrEnum):
    """Where a Python distribution came from (PyPA "Recording the Direct URL Origin")."""

    INDEX = "index"
    URL = "url"
    """An archive by its address."""
    FOLDER = "folder"
    """A path of the container."""
    EDITABLE = "editable"
    VCS = "version control"


@dataclass(frozen=True, slots=True, order=True)
class Distribution:
    """A Python distribution that was added, changed or removed."""

    name: str
    """Normalised."""
    version: str | None
    """None: it was removed."""
    before: str | None = None
    """Its version in the image; None: it was not there."""
    asked: bool = True
    """The user named it; otherwise another one needs it."""
    source: Source = Source.INDEX
    url: str = ""


@dataclass(frozen=True, slots=True, order=True)
class SystemPackage:
    """A distribution package that was installed, upgraded or removed."""

    name: str
    how: How
    asked: bool = True
    """Installed by name, not because another one needs it (apt: extended_states)."""


@dataclass(frozen=True, slots=True)
class Recognised:
    """What the changes of a container mean."""

    python: tuple[Distribution, ...] = ()
    system: tuple[SystemPackage, ...] = ()
    code: tuple[tuple[str, How], ...] = ()
    """Paths below the working directory."""
    elsewhere: tuple[tuple[str, How], ...] = ()
    """Whatever else has a meaning; no project can hold it as it lies."""
    noise: int = 0
    """Caches, logs, bytecode, and what installing leaves."""
    conda: tuple[tuple[str, How], ...] = ()
    """``name=version`` of conda's packages."""

    owned: frozenset[str] = field(default=frozenset(), repr=False)
    """Paths that belong to what was installed."""

    @property
    def empty(self) -> bool:
        return not (self.python or self.system or self.conda or self.code or self.elsewhere)


@dataclass(frozen=True, slots=True)
class Edit:
    """One file of the project; paths are relative to it."""

    path: str
    old: Found | None
    """None: it is not there yet."""
    new: Found | None
    """None: it is removed."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """Everything that is to be done: all of it, or nothing."""

    edits: tuple[Edit, ...] = ()
    commands: tuple[str, ...] = ()
    """What the user runs, where another tool keeps the file."""
    notes: tuple[Text, ...] = ()
    """What cannot be captured, and why."""
    conflicts: tuple[str, ...] = ()
    """Files that were changed in the project, too."""
    left_out: tuple[tuple[str, Text], ...] = ()
    """(path, why): secrets, ignored files."""

"""Rules, what they find, and the edits that mend it; all of it values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

from trainload.errors import Text

D_contra = TypeVar("D_contra", contravariant=True)


class Kind(StrEnum):
    """What a file is; its content decides."""

    DOCKERFILE = "dockerfile"
    COMPOSE = "compose"
    KUBERNETES = "kubernetes"


@dataclass(frozen=True, slots=True)
class Edit:
    """Lines ``first`` to ``last`` (from 1) become ``lines``; ``last == first - 1``: they come before ``first``."""

    first: int
    last: int
    lines: tuple[str, ...]
    """Without line ends."""
    file: str | None = None
    """Another file than the one that was read, in its folder: ``.dockerignore``. Lines are added at its end."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """What a rule finds, before it is known which rule and which file it was."""

    line: int
    last: int
    why: Text
    measure: Text | None = None
    """What it costs or risks, in numbers where they are known."""
    mend: tuple[Edit, ...] = ()
    """Empty: nobody but the author knows what is meant."""
    sure: bool = True
    """The mended file does the same as before. False: what the image holds, or who may read it, changes."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A flaw with its rule and file; ``lines`` are those it stands on."""

    rule: str
    file: str
    flaw: Flaw
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule(Generic[D_contra]):
    """One rule: a pure function over one document and what lies around it."""

    id: str
    kind: Kind
    meaning: Text
    """For the table of rules."""
    find: Callable[[D_contra, Surroundings], Iterable[Flaw]]


@dataclass(frozen=True, slots=True)
class Seen:
    """Something in the project's own files that a rule is about."""

    file: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What lies around a file. Everything may be unknown: then rules that need it find nothing."""

    files: Mapping[str, int] = field(default_factory=dict)
    """The build context after ``.dockerignore``: path → bytes."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """Requirement and environment files of the context: path → text."""
    workers: Seen | None = None
    """Where the project's code starts worker processes of a DataLoader."""
    health: str | None = None
    """The path of a health route in the project's code."""
    servers: Mapping[str, int] = field(default_factory=dict)
    """Scripts that start a server themselves: path → port."""
    inside: Mapping[str, Seen] = field(default_factory=dict)
    """Those of ``servers`` that listen to their own container alone, and where; ``text``: the call."""
    python: str | None = None
    """The project's Python: ``3.11``."""
    index: str | None = None
    """A package index that the configuration prefers to PyPI."""
    locked: Mapping[str, int] = field(default_factory=dict)
    """Python packages of the project's lock: name → bytes that are downloaded; empty: there is none."""
    driver: tuple[int, int] | None = None
    """The newest CUDA this machine's driver runs."""
    services: tuple[object, ...] = ()
    """Kubernetes documents of the other files in the folder."""

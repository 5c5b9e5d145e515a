"""Recipes of a Dockerfile's own lines: all inputs that decide what COPY places and what RUN leaves.

Both look at what lies below (a folder that is there already, a name in /etc/passwd), so its digests are inputs too.
"""

from __future__ import annotations

from trainload.errors import Text
from trainload.values import dataclass


@dataclass(frozen=True, slots=True)
class Folder:
    """WORKDIR: a folder that is made unless it is there."""

    path: str
    """Absolute."""
    user: str
    """Whose it becomes, as USER had it."""


@dataclass(frozen=True, slots=True)
class CopySource:
    """Something COPY or ADD takes."""

    name: str
    """What it is called in a folder."""
    content: str
    """Digest of all that is taken, and of how it looks."""


@dataclass(frozen=True, slots=True)
class CopyRecipe:
    """COPY and ADD."""

    below: tuple[str, ...]
    """diff_ids; none with ``--link``, which looks at nothing below."""
    folders: tuple[Folder, ...]
    sources: tuple[CopySource, ...]
    target: str
    """Absolute; with a slash at the end it is a folder."""
    owner: str
    """``--chown``; empty: root for what is the user's, as it is for what is a stage's."""
    mode: str
    """``--chmod``."""
    version: int = 1


@dataclass(frozen=True, slots=True)
class LineMount:
    """What a RUN sees and does not keep, as far as it decides the result."""

    kind: str
    target: str
    content: str = ""
    """Of what a bind mount shows; of caches and secrets nothing: they are not to change the result."""


@dataclass(frozen=True, slots=True)
class RunRecipe:
    """RUN, executed in the sandbox."""

    below: tuple[str, ...]
    """diff_ids."""
    folders: tuple[Folder, ...]
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    """Sorted; without the proxies, which are not to change the result."""
    user: str
    workdir: str
    mounts: tuple[LineMount, ...] = ()
    network: bool = False
    version: int = 1


@dataclass(frozen=True, slots=True)
class JobMount:
    """A folder or file of this machine that one RUN sees."""

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class LineJob:
    """A RUN as the sandbox executes it: its recipe, and what is of this machine and of no key."""

    recipe: RunRecipe
    label: str
    """For messages: ``Dockerfile:7``."""
    mounts: tuple[JobMount, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    """Proxies, and secrets that are variables."""
    seconds: float | None = None
    """It may take so long."""
    why: Text | None = None
    """Why it is run and not placed, where that may be news."""
    undecided: bool = False
    """It has no network, and nobody has said that it needs none."""

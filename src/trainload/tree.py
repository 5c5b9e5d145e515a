"""A folder as a listing and bytes: what the pure stages see of a disk.

``system.tree.DiskTree`` reads a real folder without following links; ``testing.tree.MemoryTree`` is a dict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import BinaryIO, Protocol

from trainload.errors import Text
from trainload.values import dataclass


class EntryKind(StrEnum):
    FILE = "file"
    FOLDER = "folder"
    LINK = "link"
    OTHER = "other"
    """A FIFO, socket or device (THREATS P03)."""


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """One name of a folder; ``path`` is relative to the root, ``/`` between parts, ``os.fsdecode`` form."""

    path: str
    kind: EntryKind
    size: int = 0
    mode: int = 0o644
    """Permission bits."""
    target: str | None = None
    """A symbolic link's target, as it stands."""
    modified: int = 0
    """Nanoseconds since the epoch; a cache hint, never part of a digest."""
    foreign: bool = False
    """Owned by someone else than this user and root (THREATS F14)."""
    private_group: bool = False
    """Its group has nobody in it but this user, or root: what the group may write, nobody else may (F14)."""


@dataclass(frozen=True, slots=True)
class IgnoreFile:
    """An ignore file outside a folder that git holds for it."""

    name: str
    """For messages: ``../.gitignore``."""
    text: bytes
    inside: tuple[str, ...] = ()
    """The folder, in parts, as seen from where the patterns are anchored."""
    everywhere: bool = False
    """The user's own, which holds in every repository."""


@dataclass(frozen=True, slots=True)
class Above:
    """What git says of a folder from outside it; nothing where there is no repository."""

    ignores: tuple[IgnoreFile, ...] = ()
    """The strongest first: of the folders above, the nearest first, then the repository's, then the user's."""
    tracked: frozenset[str] = frozenset()
    """Paths in the folder that some rule ignores and that are tracked all the same, so that git keeps them."""
    warnings: tuple[Text, ...] = ()


class Tree(Protocol):
    """Read access to one folder."""

    @property
    def name(self) -> str:
        """The folder's own name."""

    def find(self, path: str) -> Entry | None:
        """The entry at ``path`` (a link is not followed), or None."""

    def walk(self, enter: Callable[[Entry], bool]) -> Iterator[Entry]:
        """All entries below the root in sorted order; a folder is descended into only if ``enter`` says so."""

    def read(self, path: str, *, limit: int) -> bytes:
        """A regular file's bytes, at most ``limit``. Raises :class:`ConfigError` when larger or not regular."""

    def open(self, path: str) -> BinaryIO:
        """A regular file for streaming; no component of ``path`` may be a link (THREATS P05)."""

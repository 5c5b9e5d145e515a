"""A folder as a listing and bytes: what the pure stages see of a disk.

``system.tree.DiskTree`` reads a real folder without following links; ``testing.tree.MemoryTree`` is a dict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO, Protocol


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

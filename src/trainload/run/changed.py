"""What somebody changed in a container by hand, seen the same way whatever engine has it.

A container is told by which paths differ from its image, and by reading some of them, now and as the image has
them. What comes out is data of unknown making: paths, links and modes are judged by whoever uses them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from trainload.layers.tarread import MemberKind
from trainload.layers.writer import LayerWriter
from trainload.limits import KiB, MiB

LARGEST = 64 * MiB
"""Bytes of a file whose content is read."""


SMALL = 128 * KiB
"""Bytes of a file that is searched for secrets."""


class How(StrEnum):
    ADDED = "added"
    CHANGED = "changed"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True, order=True)
class Changed:
    """One path, without a first slash, in ``os.fsdecode`` form. Of a folder that is gone, the folder only."""

    path: str
    how: How


@dataclass(frozen=True, slots=True)
class Found:
    """What lies at a path."""

    kind: MemberKind
    mode: int
    """Permission bits."""
    size: int = 0
    data: bytes | None = None
    """A file's content; None when it is larger than :data:`LARGEST`."""
    target: str = ""
    """Of a link."""


class Container(Protocol):
    """One container that runs or ended. Every method may raise :class:`RunError`."""

    @property
    def name(self) -> str:
        """As the user knows it."""

    @property
    def image(self) -> str:
        """The digest or id of its image, as its engine has it."""

    @property
    def workdir(self) -> str:
        """Absolute."""

    @property
    def mounts(self) -> tuple[str, ...]:
        """Absolute paths inside where something else is mounted: nothing there is the container's own."""

    def changes(self) -> tuple[Changed, ...]:
        """Sorted; folders may be among them."""

    def read(self, paths: Collection[str]) -> Mapping[str, Found]:
        """What lies at ``paths`` now; what is not there is left out."""

    def write_layer(
        self, out: LayerWriter, left_out: Callable[[str], bool], is_secret: Callable[[str, bytes], bool]
    ) -> None:
        """The changes as a layer's entries. ``left_out`` judges a path, ``is_secret`` a small file's content."""

    def before(self, paths: Collection[str]) -> Mapping[str, Found]:
        """As :meth:`read`, in the image."""

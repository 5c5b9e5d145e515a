"""What a container gets to see of GPUs, and what a machine has of them; values only."""

from __future__ import annotations

from collections.abc import Mapping

from trainload.errors import Text
from trainload.run.gpus.cdi import Spec
from trainload.run.model import Mount
from trainload.values import dataclass, field

CUDA = "libcuda.so.1"
"""What a program that uses NVIDIA's GPUs loads first."""


@dataclass(frozen=True, slots=True)
class Node:
    """A device node of the host, seen inside."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link made inside; ``target`` is its text."""

    path: str
    target: str


@dataclass(frozen=True, slots=True)
class Grant:
    """All that makes GPUs usable in one container."""

    nodes: tuple[Node, ...] = ()
    mounts: tuple[Mount, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    """Over the image's own."""
    links: tuple[Link, ...] = ()
    folders: tuple[str, ...] = ()
    """Inside: their libraries go into the dynamic linker's cache, before the image's own."""
    modes: tuple[tuple[str, int], ...] = ()
    """Folders below ``/dev`` and their permissions."""
    groups: tuple[int, ...] = ()
    """Supplementary ones of the program's user."""
    driver: str | None = None
    """The host's version, when a newer user-space part in the image goes first (CUDA forward compatibility)."""
    cuda: bool = False
    """NVIDIA's: the program must be able to load :data:`CUDA`."""
    notes: tuple[Text, ...] = ()
    """What the user should know."""


NONE = Grant()


@dataclass(frozen=True, slots=True)
class HostNode:
    """A device node as this machine has it."""

    major: int
    minor: int
    mode: int
    """Permissions."""
    gid: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What this machine has."""

    specs: tuple[Spec, ...] = ()
    """CDI specifications, those that win first."""
    troubles: tuple[Text, ...] = ()
    """Specifications that cannot be used, or should not be trusted."""
    nodes: Mapping[str, HostNode] = field(default_factory=dict)
    """Device nodes by path."""
    files: frozenset[str] = frozenset()
    """Which of the other paths that a specification or the driver names are there."""
    libraries: Mapping[str, str] = field(default_factory=dict)
    """soname → file, as the dynamic linker of this machine finds them."""
    driver: str | None = None
    """Version of NVIDIA's kernel module."""

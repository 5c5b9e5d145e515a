"""What a base image was found to have; the lock keeps of it what a build needs (``lock.model.BaseImage``)."""

from __future__ import annotations

from trainload.values import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Installed:
    """A Python distribution that lies in the base."""

    name: str
    """Normalised project name (PEP 503)."""
    version: str
    """As its metadata says it, local label and all: ``2.3.0a0+6ddf5cf85e.nv24.4``."""
    requires: tuple[str, ...] = ()
    """``Requires-Dist`` lines, as they stand."""
    extras: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FoundPython:
    """An interpreter, and what it can import."""

    path: str
    """Of the program itself, links followed: ``/usr/bin/python3.10``."""
    version: str
    """Full where it is known (``3.10.12``), else the minor one."""
    installed: tuple[Installed, ...] = ()
    """Sorted by name; of two of one name the one that is imported."""
    folders: tuple[str, ...] = ()
    """Absolute folders it finds packages in and that a virtual environment made with it would not know."""
    is_ours: bool = False
    """It is the virtual environment at ``/opt/venv``, where we place packages."""

    @property
    def minor(self) -> str:
        return ".".join(self.version.split(".")[:2])


@dataclass(frozen=True, slots=True)
class Facts:
    """Of one image, for one platform."""

    distribution: str = ""
    """``ID`` of os-release: ``ubuntu``; empty when there is none."""
    suite: str = ""
    """``VERSION_CODENAME``: ``jammy``."""
    glibc: tuple[int, int] | None = None
    musl: bool = False
    pythons: tuple[FoundPython, ...] = ()
    """The one that ``python3`` means comes first."""
    init: str = ""
    """Path of tini or dumb-init."""
    passwd: str = ""
    group: str = ""
    status: str = ""
    """dpkg's, empty when there is none."""
    has_environment: bool = False
    """Something lies at ``/opt/venv``."""

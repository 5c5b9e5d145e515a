"""Images beside the project's own: another profile below it, tools on top of it (docs/adr/0026).

They stand on the project's lock and change nothing of it. What they take besides is locked too, in a file of the
store that is known by all that decides it, so that the next time needs no network and gives the same image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trainload import nesting
from trainload.digest import Digest, canonical_json
from trainload.errors import LockError, Problems, Text, UsageError
from trainload.lock.model import ImageBase, Lock, PythonFile, PythonPackage
from trainload.lock.select import choose, target_of
from trainload.lock.toml import dumps, loads
from trainload.platform import Platform
from trainload.project.model import Profile, Project

if TYPE_CHECKING:
    from trainload.resolve.cache import FolderCache
    from trainload.resolve.services import Services

_FORMAT = 1
"""Of what is locked here; another one is locked anew."""
_FOR_PEOPLE = ("git", "less", "procps", "vim-tiny")
"""What a shell in a base image of somebody else's gets with the profile ``dev``; apt is the image's, or is not."""


@dataclass(frozen=True, slots=True)
class Beside:
    """An image that is wanted beside the project's."""

    tag: str
    """Of its name in the store: ``digits:with-jupyterlab``."""
    requirements: tuple[str, ...] = ()
    """Tools to be placed on top of the packages, below the code (PEP 508); one that the project has will do."""
    more: tuple[str, ...] = ()
    """What the user wants besides, in the versions they say."""
    profile: Profile | None = None
    """Instead of the project's."""


@dataclass(frozen=True, slots=True)
class Aside:
    """What such an image is made of."""

    lock: Lock
    """The project's, with another base where another profile is wanted."""
    tools: tuple[PythonPackage, ...] = ()
    """What the requirements mean; also packages that the project's lock has, in its versions."""

    def files(self, platform: Platform, own: Sequence[PythonFile]) -> tuple[PythonFile, ...]:
        """The tools' files that ``own``, the project's, do not hold. Raises :class:`LockError`."""
        problems = Problems()
        chosen = choose(self.tools, target_of(self.lock, platform), problems, sdists=False)
        problems.check()
        there = {file.name for file in own} | _installed(self.lock, platform)
        return tuple(file for file in chosen if file.name not in there)


@dataclass(frozen=True, slots=True)
class Ground:
    """What an image beside the project's stands on."""

    project: Project
    """With the profile that is wanted."""
    root: Path
    """The project's folder."""
    lock: Lock
    """The project's own."""


def lock_beside(wanted: Beside, ground: Ground, memory: FolderCache, services: Callable[[], Services]) -> Aside:
    """The project's lock and what ``wanted`` adds: as locked before, or locked now.

    Raises :class:`LockError`.
    """
    lock = ground.lock
    if wanted.profile is not None:
        lock = _remembered(
            memory, lock, {"profile": str(wanted.profile)}, lambda: _with_base(wanted, ground, services())
        )
    needed = [
        *(text for text in wanted.requirements if not _has(lock, text, any_version=True)),
        *(text for text in wanted.more if not _has(lock, text)),
    ]
    if not needed:
        return Aside(lock)
    tools = _remembered(
        memory, lock, {"requirements": sorted(needed)}, lambda: _with_tools(needed, ground, lock, services())
    )
    return Aside(lock, tools.packages)


def _remembered(memory: FolderCache, lock: Lock, asked: dict[str, object], make: Callable[[], Lock]) -> Lock:
    of = Digest.sha256(dumps(lock)).hex
    key = Digest.sha256(canonical_json({"format": _FORMAT, "lock": of, **asked})).hex
    data = memory.get(key)
    if data is not None:
        try:
            return loads(data, key)
        except LockError:
            pass  # a file that a power cut left half: it can be made again
    made = make()
    memory.put(key, dumps(made))
    return made


def _with_base(wanted: Beside, ground: Ground, services: Services) -> Lock:
    from trainload.resolve.lock import with_base

    project = ground.project
    if isinstance(ground.lock.base, ImageBase) and wanted.profile is Profile.DEV:
        settings = project.settings
        more = replace(settings.system, value=tuple(dict.fromkeys((*settings.system.value, *_FOR_PEOPLE))))
        project = replace(project, settings=replace(settings, system=more))
    return with_base(project, ground.lock, services)


def _with_tools(needed: Sequence[str], ground: Ground, lock: Lock, services: Services) -> Lock:
    from trainload.resolve.lock import tools_on_top

    return replace(lock, packages=tools_on_top(ground.project, ground.root, lock, needed, services), builds=())


def _has(lock: Lock, text: str, *, any_version: bool = False) -> bool:
    """Whether the project brings it itself. Raises :class:`UsageError` for what is no requirement."""
    from packaging.requirements import InvalidRequirement
    from packaging.utils import canonicalize_name

    try:
        wanted = nesting.requirement(text)
    except InvalidRequirement as error:
        raise UsageError(
            Text("this is no requirement (PEP 508)"), got=text, want="a name and maybe versions, as ipywidgets>=8"
        ) from error
    name = canonicalize_name(wanted.name)
    return any(
        package.name == name
        and package.marker is None
        and not wanted.extras
        and (any_version or wanted.specifier.contains(package.version, prereleases=True))
        for package in lock.packages
    )


def _installed(lock: Lock, platform: Platform) -> set[str]:
    """What the base image's Python has that ours finds."""
    base = lock.base
    image = base.images.get(platform.architecture) if isinstance(base, ImageBase) else None
    python = image.python if image is not None else None
    return {name for name, _ in python.installed} if python is not None else set()

"""What locking asks of conda, for the locker that puts all parts together; rattler is imported only then."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trainload.errors import LockError, Place, Text
from trainload.events import Began, Ended, How, Reporter
from trainload.lock.found import Installed
from trainload.lock.model import Base, CondaEnvironment, CondaPackage, File, Lock, glibc_of
from trainload.platform import Platform
from trainload.project.model import CondaFile, CondaLockFile, Origin, Settings
from trainload.resolve.provided import Provided
from trainload.resolve.upgrade import Upgrade
from trainload.values import dataclass, replace

if TYPE_CHECKING:
    from trainload.resolve.conda.channels import Channels
    from trainload.resolve.conda.taken import About, Taken
    from trainload.resolve.unhashed import Trust


@dataclass(frozen=True, slots=True)
class Conda:
    """Conda channels as this project and machine have them."""

    channels: Channels
    cache: Path
    """A folder for their indexes."""
    distributions: Callable[[Sequence[CondaPackage]], tuple[Installed, ...]]
    """Which Python distributions the packages bring; they are fetched for it."""
    about: Callable[[Sequence[File]], Mapping[str, About]]
    """What packages say of themselves, by their sha256."""
    offline: bool = False


@dataclass(frozen=True, slots=True)
class Kept:
    """What of the last lock stays."""

    previous: Lock | None
    upgrade: Upgrade


def provided(environment: CondaEnvironment, platforms: Sequence[Platform], conda: Conda) -> Provided:
    """What pip finds in the environment: none of it may be replaced, conda's packages depend on each other."""
    found = {platform: conda.distributions(environment.packages[platform.architecture]) for platform in platforms}
    return Provided(found, whole=True, conda=True)


def installed(given: Provided) -> tuple[tuple[str, str], ...]:
    """Names and versions of it all, as the lock has them."""
    pairs = {(each.name, each.version) for found in given.by_platform.values() for each in found}
    return tuple(sorted(pairs))


def is_conda(settings: Settings) -> bool:
    """Whether a conda environment is asked for."""
    return isinstance(settings.dependencies.value, CondaFile | CondaLockFile)


def check_without_python(settings: Settings) -> None:
    """A conda environment may be command-line tools only; what is Python needs one."""
    value = settings.dependencies.value
    hints = [Text("add it to the dependencies: python=3.12")]
    if isinstance(value, CondaFile) and (value.pip or value.paths or value.repositories):
        raise LockError(
            "the conda environment has a pip section and no Python", place=Place(value.path), hints=hints
        )
    command = settings.command
    if command.origin is Origin.DETECTED and command.value[:1] == ("python",):
        raise LockError(
            "the conda environment has no Python, and what was found to run is a Python program",
            got=" ".join(command.value),
            hints=[*hints, Text("or say what runs: command = […]")],
        )


def lock_conda(
    settings: Settings,
    base: Base,
    platforms: Sequence[Platform],
    conda: Conda,
    reporter: Reporter,
    kept: Kept,
) -> CondaEnvironment:
    """The conda part of the lock. Raises :class:`LockError`."""
    from trainload.resolve.conda.lock import CondaRequest, resolve_conda

    value = settings.dependencies.value
    assert isinstance(value, CondaFile), "checked before"
    asked = settings.python
    request = CondaRequest(
        environment=value,
        settings=settings.conda.value,
        glibc={platform: glibc_of(base, platform.architecture) for platform in platforms},
        accelerator=settings.accelerator.value,
        channels=conda.channels,
        cache=conda.cache,
        # a .python-version is for other tools: the environment names its own
        python=asked.value if asked.origin in (Origin.FLAG, Origin.ENVIRONMENT, Origin.FILE) else None,
        offline=conda.offline,
        previous=kept.previous.conda if kept.previous is not None else None,
        upgrade=kept.upgrade,
    )
    reporter.report(Began("lock:conda", "conda packages"))
    try:
        found = resolve_conda(request)
    except BaseException:
        reporter.report(Ended("lock:conda", "conda packages", How.FAILED))
        raise
    reporter.report(Ended("lock:conda", "conda packages", How.MADE))
    return found


def take_conda(
    settings: Settings, root: Path, base: Base, platforms: Sequence[Platform], conda: Conda, trust: Trust | None
) -> Taken:
    """The user's own lock of an environment. ``trust``: bytes without a sha256 may come from there.

    Raises :class:`LockError`, :class:`FetchError`.
    """
    from trainload.resolve.conda.taken import Taking, take

    value = settings.dependencies.value
    assert isinstance(value, CondaLockFile), "checked before"
    glibc = {platform: glibc_of(base, platform.architecture) for platform in platforms}
    if trust is not None:
        trust = replace(trust, channels=conda.channels.urls)
    return take(root, value, Taking(conda.about, glibc, trust))

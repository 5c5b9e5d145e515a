"""From a project to its lock: the base, the interpreter and the Python packages, each exactly."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from trainload.errors import ConfigError, LockError, Place, Problems, Text
from trainload.events import SILENT, Began, Ended, How, Level, Reporter, Said
from trainload.lock.adopt import Adopted
from trainload.lock.model import DistributionBase, Lock, ReleaseFile, StandalonePython
from trainload.lock.select import Target
from trainload.platform import Platform
from trainload.project.keys import Configure
from trainload.project.model import Origin, Profile, Project, Settings
from trainload.resolve.distribution import resolve_distribution
from trainload.resolve.fetch import credentials
from trainload.resolve.indexes import Services as DistributionServices
from trainload.resolve.interpreter import known_builds, resolve_interpreter
from trainload.resolve.python import PythonRequest, link_folders, resolve_python
from trainload.resolve.sizes import fill_sizes
from trainload.resolve.unhashed import Trust, pinned
from trainload.resolve.upgrade import Upgrade, check_upgrade
from trainload.resolve.uv import Uv
from trainload.system.http import Http


@dataclass(frozen=True, slots=True)
class Services:
    """What locking needs of the world."""

    http: Http
    distribution: Callable[[Sequence[ReleaseFile]], DistributionServices]
    """Services for the base's archives, given the indexes of the last lock."""
    uv: Uv = field(default_factory=Uv)
    reporter: Reporter = SILENT
    unhashed: bool = False
    """Take files on trust that have no sha256 (THREATS F01)."""


def make_lock(
    project: Project,
    root: Path,
    inputs: str,
    services: Services,
    *,
    previous: Lock | None = None,
    upgrade: Upgrade | None = None,
) -> Lock:
    """The lock of the project in the folder ``root``; ``inputs`` is the digest of all that was asked for.

    What ``previous`` has is kept where it still fits, unless ``upgrade`` asks for it anew. Raises
    :class:`LockError`, :class:`ConfigError`, :class:`FetchError`, and :class:`UsageError` for an upgrade of what
    is not there.
    """
    settings = project.settings
    upgrade = upgrade or Upgrade()
    platforms = tuple(sorted({Platform.parse(text) for text in settings.platforms.value}))
    kept = previous if not upgrade.everything else None
    base = _base(settings, platforms, kept, services)
    interpreter = _kept_interpreter(settings, base, platforms, kept)
    if interpreter is None:
        interpreter = _interpreter(settings, base, platforms, root, services)
    python = interpreter.version if interpreter is not None else _full_version(base)
    request = PythonRequest(
        root=root,
        dependencies=settings.dependencies.value,
        targets=tuple(Target(platform, python, base.glibc) for platform in platforms),
        accelerator=settings.accelerator.value,
        find_links=settings.find_links.value,
        indexes=settings.indexes.value,
        mirrors=settings.mirrors.value.pypi,
        previous=previous,
        upgrade=upgrade,
        unhashed=services.unhashed,
    )
    services.reporter.report(Began("lock:python", "Python packages"))
    try:
        adopted = resolve_python(request, services.uv)
        check_upgrade(upgrade, adopted.packages, base)
        known = credentials(settings.indexes.value)
        folders = link_folders(root, settings.find_links.value)
        trust = Trust(services.http, folders, known, services.reporter)
        packages, unhashed = pinned(adopted, trust, previous if upgrade == Upgrade() else None)
        packages = fill_sizes(packages, services.http, previous=previous, credentials=known)
    except BaseException:
        services.reporter.report(Ended("lock:python", "Python packages", How.FAILED))
        raise
    services.reporter.report(Ended("lock:python", "Python packages", How.MADE))
    _check_misfits(adopted, platforms, settings, services.reporter)
    return Lock(
        inputs=inputs,
        python=".".join(python.split(".")[:2]),
        packages=packages,
        base=base,
        platforms=platforms,
        interpreter=interpreter,
        accelerator=settings.accelerator.value,
        unhashed=unhashed,
    )


def _base(
    settings: Settings, platforms: Sequence[Platform], previous: Lock | None, services: Services
) -> DistributionBase:
    """The base as it was, if nothing else is asked for; resolved otherwise."""
    kind, _, suite = settings.base.value.partition(":")
    if kind != "apt":
        raise ConfigError(
            "images from a registry cannot be a base yet",
            place=Place("base"),
            got=settings.base.value,
            want="apt:bookworm, apt:trixie, apt:jammy or apt:noble",
            hints=[Text("leave base out: one that has the Python you set is chosen and composed for you")],
        )
    profile, system = settings.profile.value.value, settings.system.value
    architectures = [platform.architecture for platform in platforms]
    essential = settings.configure.value == Configure.SANDBOX
    if essential and settings.profile.value == Profile.DISTROLESS:
        raise ConfigError(
            "a distroless base has no shell that could run the scripts of packages",
            place=Place("tool.trainload.configure"),
            hints=[Text('set profile = "slim"'), Text('set configure = "never"')],
        )
    asked = (profile, system, essential, sorted(architectures))
    old = previous.base if previous is not None else None
    releases: tuple[ReleaseFile, ...] = ()
    if isinstance(old, DistributionBase) and old.suite == suite:
        if (old.profile, old.system, old.essential, sorted(old.packages)) == asked:
            return old
        releases = old.releases
    base = resolve_distribution(
        suite,
        profile=profile,
        system=system,
        architectures=architectures,
        services=services.distribution(releases),
        essential=essential,
    )
    return replace(base, system=system)


def _full_version(base: DistributionBase) -> str:
    """``3.11.2``: markers may ask for the patch version; the minor one when the base does not tell it."""
    for package in next(iter(base.packages.values()), ()):
        match = re.match(rf"(?:\d+:)?({re.escape(base.python)}\.\d+)", package.version)
        if package.name == f"python{base.python}" and match is not None:
            return match[1]
    return base.python


def _kept_interpreter(
    settings: Settings, base: DistributionBase, platforms: Sequence[Platform], previous: Lock | None
) -> StandalonePython | None:
    """The last lock's own Python, if one is still wanted and it is that."""
    wanted = settings.python.value
    old = previous.interpreter if previous is not None else None
    if old is None or wanted is None or wanted == base.python:
        return None
    fits = f"{old.version}.".startswith(f"{wanted}.")
    return old if fits and {platform.architecture for platform in platforms} == set(old.archives) else None


def _interpreter(
    settings: Settings, base: DistributionBase, platforms: Sequence[Platform], root: Path, services: Services
) -> StandalonePython | None:
    """A Python of its own, if the base has another one than is wanted."""
    wanted = settings.python.value
    if wanted is None or wanted == base.python:
        return None
    builds = known_builds(wanted, services.uv, root)
    architectures = [platform.architecture for platform in platforms]
    return resolve_interpreter(wanted, architectures, builds, services.http, settings.mirrors.value.python)


def _check_misfits(adopted: Adopted, platforms: Sequence[Platform], settings: Settings, reporter: Reporter) -> None:
    """A platform the user asked for must be possible; one that is there by default is only warned about."""
    asked = settings.platforms.origin is not Origin.DEFAULT
    if adopted.misfits and (asked or len(adopted.misfits) == len(platforms)):
        problems = Problems([error for errors in adopted.misfits.values() for error in errors])
        problems.check()
    for platform, errors in sorted(adopted.misfits.items()):
        names = ", ".join(_name(error) for error in errors)
        text = Text(
            "no image can be made for {platform}: no wheel of {names} fits it", platform=platform, names=names
        )
        reporter.report(Said(text, Level.WARNING))


def _name(error: LockError) -> str:
    return str(error.text.values.get("name", ""))

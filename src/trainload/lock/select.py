"""What of a lock goes onto one target: pure, and never asks the machine we run on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from trainload import nesting
from trainload.errors import LockError, Problems, Text
from trainload.lock import tags
from trainload.lock.model import DistributionPackage, File, Lock, PythonFile, PythonPackage, glibc_of, packages_of
from trainload.platform import Platform
from trainload.values import dataclass

if TYPE_CHECKING:
    from packaging.markers import Marker

MACHINE_MARKERS = {"x86_64": "platform_machine == 'x86_64'", "aarch64": "platform_machine == 'aarch64'"}
"""The markers our own locks carry, so that reading one rarely needs a marker parser."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a Python package is chosen for."""

    platform: Platform
    python: str
    """Minor or full version: ``3.11``, ``3.12.8``."""
    glibc: tuple[int, int]

    def ranks(self) -> dict[str, int]:
        return tags.ranks(".".join(self.python.split(".")[:2]), self.platform.machine, self.glibc)

    def environment(self) -> dict[str, str]:
        """The marker environment (PEP 508); what only a running kernel knows is empty."""
        full = self.python if self.python.count(".") > 1 else f"{self.python}.0"
        return {
            "implementation_name": "cpython",
            "implementation_version": full,
            "os_name": "posix",
            "platform_machine": self.platform.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": full,
            "python_version": ".".join(self.python.split(".")[:2]),
            "sys_platform": "linux",
        }


@dataclass(frozen=True, slots=True)
class Selection:
    """The files of a lock for one platform."""

    platform: Platform
    python: tuple[PythonFile, ...]
    """One per package, sorted by name."""
    base: tuple[DistributionPackage, ...]
    """Sorted by name; on a base image those that are placed on top of it."""
    interpreter: File | None

    @property
    def files(self) -> tuple[File, ...]:
        """All of them, in the order they are needed: base, interpreter, Python packages."""
        interpreter = (self.interpreter,) if self.interpreter is not None else ()
        return (*(item.file for item in self.base), *interpreter, *(item.file for item in self.python))


def select(lock: Lock, platform: Platform, *, sdists: bool = False) -> Selection:
    """The files for ``platform``; ``sdists``: a package without a fitting wheel may be its sdist.

    Raises :class:`LockError`, naming every package, for wheels that do not fit the target (THREATS W30), for
    sdists when they are not asked for, and for a platform the lock was not made for.
    """
    base, interpreter = _base(lock, platform)
    problems = Problems()
    chosen = choose(lock.packages, target_of(lock, platform), problems, sdists=sdists)
    problems.check()
    return Selection(platform, chosen, base, interpreter)


def target_of(lock: Lock, platform: Platform) -> Target:
    """What the lock's packages are chosen for on ``platform``."""
    return Target(platform, lock.python, glibc_of(lock.base, platform.architecture))


def _base(lock: Lock, platform: Platform) -> tuple[tuple[DistributionPackage, ...], File | None]:
    architecture = platform.architecture
    packages = packages_of(lock.base)
    has_interpreter = lock.interpreter is None or architecture in lock.interpreter.archives
    if platform not in lock.platforms or architecture not in packages or not has_interpreter:
        raise LockError(
            Text("the lock was not made for {platform}", platform=platform),
            got=", ".join(str(known) for known in lock.platforms),
            hints=[Text("add it to platforms in [tool.trainload] and run: trainload lock")],
        )
    return packages[architecture], lock.interpreter.archives[architecture] if lock.interpreter is not None else None


def choose(
    packages: Sequence[PythonPackage], target: Target, problems: Problems, *, sdists: bool
) -> tuple[PythonFile, ...]:
    """One file per package whose marker holds on the target; what cannot be chosen goes into ``problems``."""
    if not packages:
        return ()  # and maybe no Python
    platform = target.platform
    environment = target.environment()
    known = target.ranks()
    chosen: dict[str, PythonFile] = {}
    for package in sorted(packages, key=lambda package: (package.name, package.version)):
        if not _applies(package.marker, environment):
            continue
        if package.name in chosen:
            text = Text("{name} is locked in two versions for {platform}", name=package.name, platform=platform)
            versions = f"{chosen[package.name].version}, {package.version}"
            problems.add(LockError(text, got=versions, hints=[Text("make the lock anew with: trainload lock")]))
            continue
        fitting = [(rank, wheel) for wheel in package.wheels if (rank := tags.wheel_rank(wheel.name, known))]
        if fitting:
            chosen[package.name] = PythonFile(package.name, package.version, min(fitting)[1])
        elif package.sdist is not None and sdists:
            chosen[package.name] = PythonFile(package.name, package.version, package.sdist, is_wheel=False)
        else:
            problems.add(nothing_fits(package, target))
    return tuple(chosen[name] for name in sorted(chosen))


def _applies(marker: str | None, environment: dict[str, str]) -> bool:
    if marker is None:
        return True
    for machine, own in MACHINE_MARKERS.items():
        if marker == own:
            return machine == environment["platform_machine"]
    from packaging.markers import InvalidMarker

    try:
        parsed = nesting.marker(marker)
    except InvalidMarker as error:
        raise _no_marker(marker) from error
    return holds(parsed, environment)


def holds(marker: Marker, environment: Mapping[str, str | frozenset[str]]) -> bool:
    """Whether ``marker`` of a lock holds on a target. Raises :class:`LockError` when it compares nonsense."""
    from packaging.markers import UndefinedComparison, UndefinedEnvironmentName

    try:
        return marker.evaluate(dict(environment), context="lock_file")
    except (UndefinedComparison, UndefinedEnvironmentName) as error:
        raise _no_marker(str(marker)) from error


def _no_marker(marker: str) -> LockError:
    return LockError(Text("{marker} is not an environment marker (PEP 508)", marker=marker))


def nothing_fits(package: PythonPackage, target: Target) -> LockError:
    """What to say of a package without a wheel for the target (THREATS W30)."""
    values = {"name": package.name, "version": package.version, "platform": target.platform}
    if package.sdist is not None:
        return LockError(
            Text("{name} {version} has no wheel for {platform}, only its source", **values),
            got=package.sdist.name,
            hints=[
                Text('set build.sources = "sandbox", and it is built while the image is made'),
                Text(
                    "or build a wheel once with "
                    '`pip wheel --no-deps -w wheels {name}=={version}`, and set find-links = ["wheels"]',
                    name=package.name,
                    version=package.version,
                ),
                Text("or choose a version of {name} that has one", name=package.name),
            ],
        )
    glibc = f"{target.glibc[0]}.{target.glibc[1]}"
    return LockError(
        Text("no wheel of {name} {version} fits {platform}", **values),
        got=", ".join(tags.tags_of(wheel.name) for wheel in package.wheels)[:300],
        want=f"CPython {target.python}, {target.platform.machine}, glibc at most {glibc}",
        hints=[Text("choose another version of {name}, another base or another platform", name=package.name)],
    )

"""What of a lock goes onto one target: pure, and never asks the machine we run on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trainload.errors import LockError, Problems, Text
from trainload.lock import tags
from trainload.lock.model import DistributionBase, DistributionPackage, File, Lock, PythonFile, PythonPackage
from trainload.platform import Platform

MACHINE_MARKERS = {"x86_64": "platform_machine == 'x86_64'", "aarch64": "platform_machine == 'aarch64'"}
"""The markers our own locks carry, so that reading one rarely needs a marker parser."""

_UNKNOWN_GLIBC = (2, 17)  # manylinux2014, what every base image that carries Python can hold


@dataclass(frozen=True, slots=True)
class Selection:
    """The files of a lock for one platform."""

    platform: Platform
    python: tuple[PythonFile, ...]
    """One per package, sorted by name."""
    base: tuple[DistributionPackage, ...]
    """Sorted by name; empty for a base image."""
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
    problems = Problems()
    glibc = lock.base.glibc if isinstance(lock.base, DistributionBase) else _UNKNOWN_GLIBC
    chosen = choose(lock.packages, lock.python, platform, glibc=glibc, sdists=sdists, problems=problems)
    base: tuple[DistributionPackage, ...] = ()
    if isinstance(lock.base, DistributionBase):
        if platform.architecture not in lock.base.packages:
            problems.add(_not_locked(platform))
        base = lock.base.packages.get(platform.architecture, ())
    interpreter = None
    if lock.interpreter is not None:
        interpreter = lock.interpreter.archives.get(platform.architecture)
        if interpreter is None:
            problems.add(_not_locked(platform))
    problems.check()
    return Selection(platform, chosen, base, interpreter)


def choose(
    packages: Sequence[PythonPackage],
    python: str,
    platform: Platform,
    *,
    glibc: tuple[int, int],
    sdists: bool,
    problems: Problems,
) -> tuple[PythonFile, ...]:
    """One file per package whose marker holds on the target; what cannot be chosen goes into ``problems``."""
    environment = target_environment(python, platform)
    known = tags.ranks(python, platform.machine, glibc)
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
            problems.add(_nothing_fits(package, python, platform, glibc))
    return tuple(chosen[name] for name in sorted(chosen))


def target_environment(python: str, platform: Platform) -> dict[str, str]:
    """The marker environment of a target (PEP 508 § Environment Markers).

    What only a running kernel knows is empty: a marker on it holds nowhere in particular.
    """
    full = python if python.count(".") > 1 else f"{python}.0"
    return {
        "implementation_name": "cpython",
        "implementation_version": full,
        "os_name": "posix",
        "platform_machine": platform.machine,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": full,
        "python_version": ".".join(python.split(".")[:2]),
        "sys_platform": "linux",
    }


def _applies(marker: str | None, environment: dict[str, str]) -> bool:
    if marker is None:
        return True
    for machine, own in MACHINE_MARKERS.items():
        if marker == own:
            return machine == environment["platform_machine"]
    from packaging.markers import InvalidMarker, Marker

    try:
        return Marker(marker).evaluate(dict(environment), context="lock_file")
    except InvalidMarker as error:
        raise LockError(Text("{marker} is not an environment marker (PEP 508)", marker=marker)) from error


def _nothing_fits(package: PythonPackage, python: str, platform: Platform, glibc: tuple[int, int]) -> LockError:
    values = {"name": package.name, "version": package.version, "platform": platform}
    if package.sdist is not None:
        return LockError(
            Text("{name} {version} has no wheel for {platform}, only its source", **values),
            got=package.sdist.name,
            hints=[
                Text("build a wheel once (uv build --wheel) and name its folder in find-links"),
                Text("or choose a version of {name} that has one", name=package.name),
            ],
        )
    return LockError(
        Text("no wheel of {name} {version} fits {platform}", **values),
        got=", ".join(tags.tags_of(wheel.name) for wheel in package.wheels)[:300],
        want=f"CPython {python}, {platform.machine}, glibc at most {glibc[0]}.{glibc[1]}",
        hints=[Text("choose another version of {name}, another base or another platform", name=package.name)],
    )


def _not_locked(platform: Platform) -> LockError:
    return LockError(
        Text("the lock was not made for {platform}", platform=platform),
        hints=[Text("add it to platforms in [tool.trainload] and run: trainload lock")],
    )

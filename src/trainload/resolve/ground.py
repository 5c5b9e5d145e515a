"""What lies below the packages: the base, the one that sdists are built on, and the interpreter."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from trainload.errors import ConfigError, Place, Text
from trainload.lock.model import (
    Base,
    CondaEnvironment,
    DistributionBase,
    ImageBase,
    Lock,
    ReleaseFile,
    StandalonePython,
    packages_of,
)
from trainload.platform import Platform
from trainload.project.keys import Configure
from trainload.project.model import Profile, Project, Settings
from trainload.project.python import fitting
from trainload.resolve.conda.request import is_conda
from trainload.resolve.image import resolve_image
from trainload.resolve.interpreter import known_builds, resolve_interpreter
from trainload.resolve.provided import Provided
from trainload.resolve.services import Services
from trainload.values import replace


def resolve_base(
    project: Project, platforms: Sequence[Platform], previous: Lock | None, services: Services
) -> tuple[Base, Provided, str | None]:
    """The base, which Python distributions it has, and which Python it lacks.

    As the last lock has it, if nothing else is asked for; resolved otherwise.
    """
    settings = project.settings
    kind, _, suite = settings.base.value.partition(":")
    wanted = settings.python.value
    if kind == "apt":
        base = _distribution_base(suite, settings, platforms, previous, services)
        lacking = wanted if wanted != base.python and not is_conda(settings) else None
        return base, Provided(), lacking
    assert services.images is not None, "a base image is locked where images can be had"
    resolved = resolve_image(
        project, platforms, previous, services.images, services.distribution, services.reporter
    )
    pythons = {platform: python for platform, python in resolved.pythons.items() if python is not None}
    provided = Provided(
        {platform: python.installed for platform, python in pythons.items()},
        whole=any(python.is_ours for python in pythons.values()),
    )
    return resolved.base, provided, fitting(wanted, project.requires_python) if resolved.standalone else None


def _distribution_base(
    suite: str, settings: Settings, platforms: Sequence[Platform], previous: Lock | None, services: Services
) -> DistributionBase:
    profile, system = settings.profile.value.value, settings.system.value
    architectures = [platform.architecture for platform in platforms]
    essential = settings.configure.value == Configure.SANDBOX
    if essential and settings.profile.value == Profile.DISTROLESS:
        raise ConfigError(
            "a distroless base has no shell that could run the scripts of packages",
            place=Place("tool.trainload.configure"),
            hints=[Text('set profile = "slim"'), Text('set configure = "never"')],
        )
    old = previous.base if previous is not None else None
    new = DistributionBase(
        "", suite, profile, (), (), dict.fromkeys(architectures, ()), "", (0, 0), system, essential
    )
    return _resolved_base(new, old, services, python=not is_conda(settings))


def resolve_build_base(
    settings: Settings, base: Base, previous: Lock | None, services: Services
) -> DistributionBase | None:
    """Where sdists are built, with what is needed for that only; None: the base itself will do."""
    more = settings.build.value.packages
    if not more or not isinstance(base, DistributionBase):
        return None
    system = tuple(dict.fromkeys((*base.system, *more)))
    old = previous.build_base if previous is not None else None
    return _resolved_base(replace(base, system=system, essential=False), old, services, python=bool(base.python))


def _resolved_base(
    asked: DistributionBase, old: Base | None, services: Services, *, python: bool = True
) -> DistributionBase:
    """The base ``asked`` for by suite, profile, packages and architectures: ``old`` if it is that."""

    def asks(base: DistributionBase) -> tuple[object, ...]:
        return base.suite, base.profile, base.system, base.essential, sorted(base.packages)

    releases: tuple[ReleaseFile, ...] = ()
    if isinstance(old, DistributionBase) and old.suite == asked.suite:
        if asks(old) == asks(asked) and bool(old.python) == python:
            return old
        releases = old.releases
    from trainload.resolve.distribution import Extent, resolve_distribution

    base = resolve_distribution(
        asked.suite,
        profile=asked.profile,
        system=asked.system,
        architectures=list(asked.packages),
        services=services.distribution(releases),
        extent=Extent(asked.essential, python),
    )
    return replace(base, system=asked.system)


def full_version(base: Base, conda: CondaEnvironment | None = None) -> str:
    """``3.11.2``: markers may ask for the patch version; the minor one when the base does not tell it."""
    if conda is not None:
        return conda.python
    if isinstance(base, ImageBase):
        found = next((image.python for image in base.images.values() if image.python is not None), None)
        if found is not None:
            return found.version
    packages = next(iter(packages_of(base).values()), ())
    for package in packages:
        match = re.fullmatch(r"python(3\.\d+)", package.name)
        full = re.match(rf"(?:\d+:)?({re.escape(match[1])}\.\d+)", package.version) if match else None
        if full is not None and (not isinstance(base, DistributionBase) or (match and match[1] == base.python)):
            return full[1]
    assert isinstance(base, DistributionBase)
    return base.python


def kept_interpreter(
    lacking: str | None, platforms: Sequence[Platform], previous: Lock | None
) -> StandalonePython | None:
    """The last lock's own Python, if one is still wanted and it is that."""
    old = previous.interpreter if previous is not None else None
    if old is None or lacking is None:
        return None
    fits = f"{old.version}.".startswith(f"{lacking}.")
    return old if fits and {platform.architecture for platform in platforms} == set(old.archives) else None


def own_interpreter(
    settings: Settings, lacking: str, platforms: Sequence[Platform], root: Path, services: Services
) -> StandalonePython:
    """A Python of its own, since the base has none of that version."""
    builds = known_builds(lacking, services.uv, root)
    architectures = [platform.architecture for platform in platforms]
    return resolve_interpreter(lacking, architectures, builds, services.http, settings.mirrors.value.python)

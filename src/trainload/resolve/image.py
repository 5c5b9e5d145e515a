"""A base image for every platform: what its tag means, what it has, and which packages it lacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from trainload.digest import Digest
from trainload.errors import ConfigError, LockError, Place, Text
from trainload.events import Level, Reporter, Said
from trainload.image.model import Image
from trainload.lock.distribution.suites import SUITES
from trainload.lock.found import Facts, FoundPython
from trainload.lock.model import BaseImage, BasePython, Blob, DistributionPackage, ImageBase, Lock, ReleaseFile
from trainload.platform import Platform
from trainload.project.keys import PYTHON_OF_SUITE, Configure
from trainload.project.model import CondaFile, CondaLockFile, Project, Settings
from trainload.project.python import accepted
from trainload.reference import Reference
from trainload.values import dataclass

if TYPE_CHECKING:
    from trainload.resolve.indexes import Services as DistributionServices

_CONDA = "/opt/conda"  # plan.model.CONDA, which this stage may not import


class Images(Protocol):
    """Base images as this machine and their registries have them (:class:`trainload.builder.bases.Bases`)."""

    def current(self, reference: Reference, /) -> Digest | None:
        """What the tag means now; None when it cannot be told."""

    def pin(
        self, reference: Reference, platforms: Sequence[Platform], /
    ) -> tuple[Digest, Mapping[Platform, Image]]:
        """What the reference means now, and the image for each platform."""

    def image(self, reference: Reference, manifest: Blob, config: Blob, /) -> Image:
        """A locked image."""

    def facts(self, reference: Reference, image: Image, /) -> Facts:
        """What an image has."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """A base image, and what of it the Python packages are chosen for."""

    base: ImageBase
    pythons: Mapping[Platform, FoundPython | None]
    """The interpreter of the image that is used; None where another is brought."""
    standalone: bool
    """Another Python than the image or its distribution has is wanted."""


@dataclass(frozen=True, slots=True)
class _Found:
    reference: Reference
    digest: Digest
    images: Mapping[Platform, Image]
    facts: Mapping[Platform, Facts]


def resolve_image(
    project: Project,
    platforms: Sequence[Platform],
    previous: Lock | None,
    images: Images,
    distribution: Callable[[Sequence[ReleaseFile]], DistributionServices],
    reporter: Reporter,
) -> Resolved:
    """The base image that ``project`` names, as ``previous`` has it if it does; no Python for a conda environment.

    A tag that means something else by now is told, not followed (THREATS R20). Raises :class:`LockError` for an
    image that cannot be a base, :class:`ConfigError` for what cannot be asked of one.
    """
    settings = project.settings
    if settings.configure.value == Configure.SANDBOX:
        raise ConfigError(
            "scripts of packages are run on composed bases only",
            place=Place("tool.trainload.configure"),
            got=settings.base.value,
            hints=[Text('set configure = "never"'), Text("or a base such as apt:bookworm")],
        )
    old = _same(previous, settings.base.value, platforms)
    found = _find(settings.base.value, platforms, old, images, reporter)
    conda = isinstance(settings.dependencies.value, CondaFile | CondaLockFile)
    pythons = {p: None if conda else _choose(found.facts[p], project) for p in platforms}
    for platform in platforms:
        _check(found, platform, pythons[platform])
        if conda:
            _check_prefix(found, platform)
    wishes, standalone = (settings.system.value, False) if conda else _wishes(found, platforms, pythons, project)
    packages, releases = _packages(found, platforms, wishes, settings, old, distribution)
    base = ImageBase(
        reference=settings.base.value,
        digest=str(found.digest),
        images={
            platform.architecture: _base_image(found, platform, pythons[platform], packages)
            for platform in platforms
        },
        requested=wishes,
        profile=settings.profile.value.value if wishes else "",
        releases=releases,
    )
    return Resolved(base, pythons, standalone)


def _same(previous: Lock | None, name: str, platforms: Sequence[Platform]) -> ImageBase | None:
    """The base of the last lock, if it is that image for these platforms."""
    old = previous.base if previous is not None else None
    if not isinstance(old, ImageBase) or old.reference != name:
        return None
    return old if set(old.images) == {platform.architecture for platform in platforms} else None


def _find(
    name: str, platforms: Sequence[Platform], old: ImageBase | None, images: Images, reporter: Reporter
) -> _Found:
    reference = Reference.parse(name).completed()
    if old is None:
        digest, found = images.pin(reference, platforms)
    else:
        digest = Digest.parse(old.digest)
        locked = {platform: old.images[platform.architecture] for platform in platforms}
        found = {platform: images.image(reference, one.manifest, one.config) for platform, one in locked.items()}
        now = images.current(reference)
        if now is not None and now != digest:
            text = Text(
                "{name} means {new} by now, and the lock keeps {old}; `trainload lock --upgrade` takes the new one",
                name=name,
                new=now.short,
                old=digest.short,
            )
            reporter.report(Said(text, Level.WARNING))
    return _Found(
        reference, digest, found, {platform: images.facts(reference, found[platform]) for platform in found}
    )


def _choose(facts: Facts, project: Project) -> FoundPython | None:
    """The first interpreter that the project takes."""
    wanted, requires = project.settings.python.value, project.requires_python
    return next((python for python in facts.pythons if accepted(python.minor, wanted, requires)), None)


def _check(found: _Found, platform: Platform, python: FoundPython | None) -> None:
    """Raises :class:`LockError` for an image that wheels for Linux do not run in, or where ours have no place."""
    facts, name = found.facts[platform], str(found.reference)
    if facts.musl and facts.glibc is None:
        raise LockError(
            Text("{name} has the C library musl, which wheels for Linux are not made for", name=name),
            want="a base with glibc, such as one of Debian or Ubuntu",
            hints=[Text("most images have such a variant: python:3.12-slim instead of python:3.12-alpine")],
        )
    if facts.glibc is None:
        raise LockError(
            Text("{name} has no C library that was found, so no wheel is known to run in it", name=name),
            want="glibc",
            hints=[Text('take an image of a distribution, or base = "apt:bookworm"')],
        )
    if facts.has_environment and (python is None or not python.is_ours):
        raise LockError(
            Text("{name} has something at /opt/venv, where packages are placed", name=name),
            got=", ".join(each.version for each in facts.pythons if each.is_ours) or None,
            hints=[Text("set python in [tool.trainload] to the version that is there, or take another base")],
        )


def _check_prefix(found: _Found, platform: Platform) -> None:
    """Raises :class:`LockError` for an image that has a conda of its own where ours goes."""
    there = [python for python in found.facts[platform].pythons if python.path.startswith(f"{_CONDA}/")]
    if there:
        raise LockError(
            Text("{name} has something at /opt/conda, where conda packages are placed", name=found.reference),
            got=f"Python {there[0].version}",
            hints=[Text('take a base without conda: base = "apt:bookworm"')],
        )


def _wishes(
    found: _Found,
    platforms: Sequence[Platform],
    pythons: Mapping[Platform, FoundPython | None],
    project: Project,
) -> tuple[tuple[str, ...], bool]:
    """Packages to have on top, and whether a standalone Python is to come. Raises :class:`LockError`."""
    minors = {python.minor if python is not None else None for python in pythons.values()}
    if len(minors) > 1:
        told = {str(platform): python.version if python else "none" for platform, python in pythons.items()}
        raise LockError(
            Text("{name} has not the same Python on all platforms", name=found.reference),
            got=", ".join(f"{platform}: {version}" for platform, version in told.items()),
            hints=[Text("set python in [tool.trainload]")],
        )
    system, wanted = project.settings.system.value, project.settings.python.value
    if None not in minors:
        return system, False
    facts = [found.facts[platform] for platform in platforms]
    own = {PYTHON_OF_SUITE.get(each.suite, "") if each.status else "" for each in facts}
    if all(minor and accepted(minor, wanted, project.requires_python) for minor in own) and len(own) == 1:
        return ("python3", "python3-distutils", *system), False
    return system, True


def _packages(
    found: _Found,
    platforms: Sequence[Platform],
    wishes: tuple[str, ...],
    settings: Settings,
    old: ImageBase | None,
    distribution: Callable[[Sequence[ReleaseFile]], DistributionServices],
) -> tuple[Mapping[str, tuple[DistributionPackage, ...]], tuple[ReleaseFile, ...]]:
    """What is placed on top, by architecture. Raises :class:`LockError`."""
    if not wishes:
        return {}, ()
    profile = settings.profile.value.value
    if old is not None and (old.requested, old.profile) == (wishes, profile):
        return {architecture: image.packages for architecture, image in old.images.items()}, old.releases
    suites = {found.facts[platform].suite for platform in platforms}
    if len(suites) != 1 or not suites <= set(SUITES) or not all(found.facts[p].status for p in platforms):
        raise LockError(
            Text("packages cannot be placed on {name}: its distribution is not one of ours", name=found.reference),
            place=Place("system"),
            got=", ".join(
                f"{found.facts[p].distribution} {found.facts[p].suite}".strip() or "unknown" for p in platforms
            ),
            want=", ".join(SUITES),
            hints=[Text("take a base that has them, or one of these distributions")],
        )
    from trainload.resolve.distribution import resolve_on_top

    services = distribution(old.releases if old is not None else ())
    status = {platform.architecture: found.facts[platform].status for platform in platforms}
    return resolve_on_top(suites.pop(), wishes, status, services)


def _base_image(
    found: _Found,
    platform: Platform,
    python: FoundPython | None,
    packages: Mapping[str, tuple[DistributionPackage, ...]],
) -> BaseImage:
    image, facts = found.images[platform], found.facts[platform]
    assert facts.glibc is not None
    return BaseImage(
        manifest=Blob(str(image.digest), len(image.manifest_bytes)),
        config=Blob(str(image.manifest.config.digest), image.manifest.config.size),
        distribution=_word(facts.distribution),
        suite=_word(facts.suite),
        glibc=facts.glibc,
        python=_base_python(python) if python is not None else None,
        init=facts.init,
        accounts=(_lines(facts.passwd), _lines(facts.group)),
        packages=packages.get(platform.architecture, ()),
    )


def _base_python(python: FoundPython) -> BasePython:
    return BasePython(
        path=python.path,
        version=python.version,
        installed=tuple(sorted((each.name, each.version) for each in python.installed)),
        folders=python.folders,
        is_ours=python.is_ours,
    )


def _word(text: str) -> str:
    """What a hostile os-release says is no word of ours."""
    return text if text.replace("-", "").replace(".", "").replace("_", "").isalnum() and text.isascii() else ""


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line for line in text.splitlines() if line.isprintable())

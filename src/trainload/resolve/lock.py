"""From a project to its lock: the base, the interpreter and the Python packages, each exactly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trainload.errors import LockError, Problems, Text
from trainload.events import Began, Ended, How, Level, Reporter, Said
from trainload.lock.adopt import Adopted
from trainload.lock.model import (
    Base,
    Build,
    CondaEnvironment,
    DistributionBase,
    ImageBase,
    Lock,
    PythonPackage,
    Weights,
    glibc_of,
)
from trainload.lock.select import Target
from trainload.platform import Platform
from trainload.project.model import BuildFrom, CondaFile, CondaLockFile, Origin, Project, Settings
from trainload.resolve.conda.request import Kept, check_without_python, lock_conda, take_conda
from trainload.resolve.conda.request import installed as conda_installed
from trainload.resolve.conda.request import provided as conda_provides
from trainload.resolve.ground import (
    full_version,
    kept_interpreter,
    own_interpreter,
    resolve_base,
    resolve_build_base,
)
from trainload.resolve.own import found_out
from trainload.resolve.places import credentials, link_folders
from trainload.resolve.provided import Provided, beside
from trainload.resolve.python import resolve_beside, resolve_python, resolve_tools
from trainload.resolve.request import PythonRequest
from trainload.resolve.services import Services
from trainload.resolve.sizes import fill_sizes
from trainload.resolve.sources import Examiner
from trainload.resolve.unhashed import Trust, pinned
from trainload.resolve.upgrade import Upgrade, check_upgrade, split
from trainload.values import dataclass, field, replace


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
    named, upgrade = split(upgrade or Upgrade(), settings.weights.value)
    platforms = tuple(sorted({Platform.parse(text) for text in settings.platforms.value}))
    kept = previous if not upgrade.everything else None
    base, provided, lacking = resolve_base(project, platforms, kept, services)
    part = _conda_part(settings, root, base, platforms, services, Kept(kept, upgrade))
    if part.environment is not None and not part.environment.python:
        check_without_python(settings)
    provided = part.provided if part.environment is not None else provided
    interpreter = kept_interpreter(lacking, platforms, kept)
    if interpreter is None and lacking is not None:
        interpreter = own_interpreter(settings, lacking, platforms, root, services)
    python = interpreter.version if interpreter is not None else full_version(base, part.environment)
    request = PythonRequest(
        root=root,
        dependencies=settings.dependencies.value,
        targets=tuple(Target(platform, python, glibc_of(base, platform.architecture)) for platform in platforms),
        accelerator=settings.accelerator.value,
        find_links=settings.find_links.value,
        indexes=settings.indexes.value,
        mirrors=settings.mirrors.value.pypi,
        previous=previous,
        upgrade=upgrade,
        unhashed=services.unhashed,
        build_constraints=settings.build.value.constraints,
        provided=provided,
        taken=part.wheels,
    )
    minor = ".".join(python.split(".")[:2])
    ground = Lock(inputs, minor, (), base, platforms, interpreter, settings.accelerator.value)
    weights = _weights(settings, previous, named, services)
    build_base = resolve_build_base(settings, base, kept, services)
    ground = replace(ground, build_base=build_base, weights=weights, conda=part.environment)
    services.reporter.report(Began("lock:python", "Python packages"))
    try:
        lock, adopted = _with_python(settings, request, ground, services)
    except BaseException:
        services.reporter.report(Ended("lock:python", "Python packages", How.FAILED))
        raise
    services.reporter.report(Ended("lock:python", "Python packages", How.MADE))
    _check_misfits(adopted, platforms, settings, services.reporter)
    return replace(lock, unhashed=tuple(sorted({*lock.unhashed, *part.unhashed})))


@dataclass(frozen=True, slots=True)
class _CondaPart:
    """What conda brings, if anything."""

    environment: CondaEnvironment | None = None
    provided: Provided = field(default_factory=Provided)
    """What pip's section finds there."""
    wheels: tuple[PythonPackage, ...] = ()
    """What a lock of the user's has for pip."""
    unhashed: tuple[str, ...] = ()
    """Files that were taken on trust."""


def _conda_part(
    settings: Settings, root: Path, base: Base, platforms: Sequence[Platform], services: Services, kept: Kept
) -> _CondaPart:
    value = settings.dependencies.value
    if not isinstance(value, CondaFile | CondaLockFile):
        return _CondaPart()
    conda = services.conda
    assert conda is not None, "a conda environment is locked where channels can be had"
    if isinstance(value, CondaLockFile):
        trust = Trust(services.http, reporter=services.reporter) if services.unhashed else None
        taken = take_conda(settings, root, base, platforms, conda, trust)
        return _CondaPart(taken.environment, wheels=taken.wheels, unhashed=taken.unhashed)
    environment = lock_conda(settings, base, platforms, conda, services.reporter, kept)
    if not value.pip and not value.repositories:
        return _CondaPart(environment)
    given = conda_provides(environment, platforms, conda)
    return _CondaPart(replace(environment, installed=conda_installed(given)), given)


def _weights(
    settings: Settings, previous: Lock | None, named: frozenset[str], services: Services
) -> tuple[Weights, ...]:
    """``named``: what is to be asked for anew."""
    wanted = settings.weights.value
    if not wanted:
        return ()
    from trainload.resolve.weights import lock_weights

    assert services.shelf is not None, "weights are locked where they can be had"
    return lock_weights(wanted, previous, lambda one: str(one) in named, services.shelf())


def with_base(project: Project, lock: Lock, services: Services) -> Lock:
    """``lock`` on the base that ``project`` asks for, its packages as they are. Raises :class:`LockError`."""
    base, _, _ = resolve_base(project, lock.platforms, lock, services)
    return replace(lock, base=base)


def tools_on_top(
    project: Project, root: Path, lock: Lock, requirements: Sequence[str], services: Services
) -> tuple[PythonPackage, ...]:
    """What ``requirements`` mean beside the packages of ``lock``, none of which changes its version.

    Raises :class:`LockError` when these leave no room for it.
    """
    settings = project.settings
    if lock.conda is not None and not lock.conda.installed and services.conda is not None:
        given = conda_provides(lock.conda, lock.platforms, services.conda)
        lock = replace(lock, conda=replace(lock.conda, installed=conda_installed(given)))
    python = lock.interpreter.version if lock.interpreter is not None else full_version(lock.base, lock.conda)
    if not python:
        raise LockError(
            Text("{tools} need a Python, and the conda environment has none", tools=", ".join(requirements)),
            hints=[Text("add it to the dependencies: python=3.12")],
        )
    request = PythonRequest(
        root=root,
        dependencies=settings.dependencies.value,
        targets=tuple(
            Target(platform, python, glibc_of(lock.base, platform.architecture)) for platform in lock.platforms
        ),
        find_links=settings.find_links.value,
        indexes=settings.indexes.value,
        mirrors=settings.mirrors.value.pypi,
        unhashed=services.unhashed,
    )
    services.reporter.report(Began("lock:tools", "tools"))
    try:
        packages = resolve_beside(request, services.uv, requirements, _pins(lock))
    except BaseException as error:
        services.reporter.report(Ended("lock:tools", "tools", How.FAILED))
        if isinstance(error, LockError) and not error.retryable:
            text = "{tools} must fit beside the versions that the project has locked; they are never changed for it"
            error.hints = (Text(text, tools=", ".join(requirements)), *error.hints)
        raise
    services.reporter.report(Ended("lock:tools", "tools", How.MADE))
    return fill_sizes(packages, services.http, previous=None, credentials=credentials(settings.indexes.value))


def _pins(lock: Lock) -> tuple[str, ...]:
    """The versions that are there, as bounds for what comes beside them."""
    pins = {
        package.name: f"{package.name}=={package.version}" + (f" ; {package.marker}" if package.marker else "")
        for package in lock.packages
    }
    installed = {
        name: f"{name}=={version}"
        for image in (lock.base.images.values() if isinstance(lock.base, ImageBase) else ())
        if image.python is not None
        for name, version in image.python.installed
    }
    for name, version in lock.conda.installed if lock.conda is not None else ():
        installed[name] = f"{name}=={version}"
    return tuple({**installed, **pins}.values())


def _with_python(
    settings: Settings, request: PythonRequest, ground: Lock, services: Services
) -> tuple[Lock, Adopted]:
    """``ground``, what lies below the packages, with the packages; and what was chosen, with what fits nowhere."""
    examiner = _examiner(settings, request, ground, services)
    value = settings.dependencies.value
    if isinstance(value, CondaFile) and value.repositories:
        assert services.repositories is not None, "what comes of repositories is locked where they can be had"
        own = found_out(value.repositories, services.repositories, examiner, request.previous, request.upgrade)
        request = replace(request, own=own)
    adopted = resolve_python(request, services.uv, examiner)
    adopted = beside(adopted, ground.platforms, request.provided, services.reporter)
    check_upgrade(request.upgrade, adopted.packages, ground.base)
    known = credentials(settings.indexes.value)
    folders = link_folders(request.root, settings.find_links.value)
    trust = Trust(services.http, folders, known, services.reporter)
    packages, unhashed = pinned(adopted, trust, request.previous if request.upgrade == Upgrade() else None)
    packages = fill_sizes(packages, services.http, previous=request.previous, credentials=known)
    builds = _builds(packages, examiner)
    where = ground.build_base if builds else None
    return replace(ground, packages=packages, unhashed=unhashed, builds=builds, build_base=where), adopted


def _examiner(settings: Settings, request: PythonRequest, ground: Lock, services: Services) -> Examiner | None:
    """Who finds out about sdists; None: they are refused."""
    composed = isinstance(ground.base, DistributionBase)
    if services.backends is None or settings.build.value.sources is BuildFrom.NEVER or not composed:
        return None

    def tools(requires: Sequence[str], kept: Sequence[PythonPackage]) -> tuple[PythonPackage, ...]:
        return resolve_tools(request, services.uv, requires, kept)

    old = request.previous.builds if request.previous is not None and not request.upgrade.everything else ()
    return Examiner(services.backends(ground), tools, {(build.name, build.version): build for build in old})


def _builds(packages: Sequence[PythonPackage], examiner: Examiner | None) -> tuple[Build, ...]:
    if examiner is None:
        return ()
    return tuple(examiner.build(package) for package in packages if package.sdist is not None)


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

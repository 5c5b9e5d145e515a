"""Packages of which only the source is there: what they require, and what builds them, without running them here.

uv never builds (``--only-binary :all:``). A project it cannot do without gets leave by name, together with metadata
for *all* its versions, so that uv has no reason to run anything (THREATS D7); for the version it chooses the true
metadata is then found out: the sdist's own words where they are binding (PEP 643, PEP 621), else in the sandbox.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from trainload import nesting
from trainload.errors import BackendError, LockError, PlanError, RunError, Text, TrainloadError
from trainload.lock.found import Installed
from trainload.lock.model import UNKNOWN, Build, File, PythonPackage
from trainload.lock.source import BuildSystem, Metadata, Statements, build_system, static_metadata
from trainload.values import dataclass, field, replace

_ROUNDS = 5
"""So often a backend may ask for more, knowing what it has; real ones ask once."""


class Backends(Protocol):
    """Reads sdists, and asks their build backends in the sandbox."""

    def statements(self, sdist: File, /) -> Statements: ...

    def requires(self, build: Build, sdist: File, /) -> tuple[str, ...]:
        """What it needs beyond what is in ``build``. Raises :class:`RunError` where the sandbox cannot be used."""

    def metadata(self, build: Build, sdist: File, /) -> Metadata: ...


Tools = Callable[[Sequence[str], Sequence[PythonPackage]], tuple[PythonPackage, ...]]
"""Requirements, and what the last lock had for them → the exact wheels that fulfil them."""


@dataclass(frozen=True, slots=True)
class Examiner:
    """Finds out what sdists require and what builds them; remembers it while locking."""

    backends: Backends
    tools: Tools
    previous: Mapping[tuple[str, str], Build] = field(default_factory=dict)
    """Of the last lock: its tools are kept where they still fit."""
    _builds: dict[str, Build] = field(default_factory=dict)
    _metadata: dict[str, Metadata] = field(default_factory=dict)

    def build(self, package: PythonPackage) -> Build:
        """What builds the package's sdist, exactly. Raises :class:`LockError`, :class:`BackendError`."""
        sdist = _sdist(package)
        if sdist.sha256 not in self._builds:
            self._builds[sdist.sha256] = self._build(package, sdist)
        return self._builds[sdist.sha256]

    def metadata(self, package: PythonPackage) -> Metadata:
        """What the package requires. Raises :class:`LockError`, :class:`BackendError`."""
        sdist = _sdist(package)
        if sdist.sha256 not in self._metadata:
            known = static_metadata(self.backends.statements(sdist))
            found = known if known is not None else self._asked(package, sdist)
            _check_requirements(package, found)
            self._metadata[sdist.sha256] = found
        return self._metadata[sdist.sha256]

    def introduce(self, source: File, name: str) -> Installed:
        """What the source of a repository is; ``name``: of its project, where it is known.

        Raises :class:`LockError`, :class:`BackendError`.
        """
        from packaging.utils import canonicalize_name
        from packaging.version import InvalidVersion, Version

        unknown = PythonPackage(name or source.name.rpartition("-")[0].lower(), UNKNOWN, sdist=source)
        found = static_metadata(self.backends.statements(source))
        if found is None or not found.name or not found.version:
            found = self._asked(unknown, source)
        own = str(canonicalize_name(found.name))
        try:
            version = str(Version(found.version))
        except InvalidVersion as error:
            text = Text("what was fetched of {name} has no version", name=source.name)
            raise LockError(text, got=found.version, want="a version (PEP 440)") from error
        _check_requirements(replace(unknown, name=own, version=version), found)
        if source.sha256 in self._builds:
            self._builds[source.sha256] = replace(self._builds[source.sha256], name=own, version=version)
        self._metadata[source.sha256] = found
        return Installed(own, version, found.requires, found.extras)

    def _asked(self, package: PythonPackage, sdist: File) -> Metadata:
        try:
            return self.backends.metadata(self.build(package), sdist)
        except BackendError:
            raise
        except (RunError, PlanError) as error:
            raise _cannot_ask(package, error) from error

    def _build(self, package: PythonPackage, sdist: File) -> Build:
        system = build_system(self.backends.statements(sdist))
        old = self.previous.get((package.name, package.version))
        kept = old.packages if old is not None else ()
        requires = system.requires
        build = self._with_tools(package, requires, kept)
        for _ in range(_ROUNDS):
            more = [one for one in self._more(build, sdist, system) if not _fulfilled(one, build)]
            if not more:
                return build
            requires = (*requires, *more)
            build = self._with_tools(package, requires, kept)
        raise BackendError(
            Text("the build backend of {name} asks for more and more", name=package.name), got=", ".join(requires)
        )

    def _more(self, build: Build, sdist: File, system: BuildSystem) -> tuple[str, ...]:
        if system.complete:
            return ()
        try:
            return self.backends.requires(build, sdist)
        except BackendError:
            raise
        except (RunError, PlanError):
            return ()  # no sandbox here: it is told while building, if something is missing

    def _with_tools(self, package: PythonPackage, requires: Sequence[str], kept: Sequence[PythonPackage]) -> Build:
        try:
            tools = self.tools(requires, kept) if requires else ()
        except LockError as error:
            raise LockError(
                Text(
                    "what builds {name} {version} cannot be locked: {reason}",
                    name=package.name, version=package.version, reason=error.text,
                ),
                got=error.got,
                hints=error.hints,
                retryable=error.retryable,
            ) from error  # fmt: skip
        return Build(package.name, package.version, tools)


def _sdist(package: PythonPackage) -> File:
    assert package.sdist is not None
    if not package.sdist.sha256:
        raise LockError(
            Text("nobody tells the sha256 of {file}, and only what is locked is built", file=package.sdist.name),
            hints=[Text("put a wheel of it into a find-links folder")],
        )
    return package.sdist


def _fulfilled(requirement: str, build: Build) -> bool:
    """Whether the build's own tools, on every target, fulfil a requirement. Raises :class:`BackendError`."""
    from packaging.requirements import InvalidRequirement
    from packaging.utils import canonicalize_name

    try:
        asked = nesting.requirement(requirement)
    except InvalidRequirement as error:
        raise BackendError(
            Text("the build backend of {name} asks for what is no requirement", name=build.name), got=requirement
        ) from error
    if asked.url is not None:
        raise BackendError(
            Text("the build backend of {name} asks for an address, which is not locked", name=build.name),
            got=requirement,
        )
    if asked.marker is not None and not asked.marker.evaluate({"sys_platform": "linux", "os_name": "posix"}):
        return True
    have = [package for package in build.packages if package.name == canonicalize_name(asked.name)]
    return bool(have) and all(asked.specifier.contains(package.version, prereleases=True) for package in have)


def _check_requirements(package: PythonPackage, found: Metadata) -> None:
    """Nothing may lead uv to an address, whose build it would ask itself."""
    from packaging.requirements import InvalidRequirement

    for requirement in found.requires:
        try:
            url = nesting.requirement(requirement).url
        except InvalidRequirement:
            url = requirement
        if url is not None:
            raise LockError(
                Text(
                    "{name} {version} requires what no index has, or nobody understands",
                    name=package.name, version=package.version,
                ),
                got=requirement,
            )  # fmt: skip


def _cannot_ask(package: PythonPackage, error: TrainloadError) -> LockError:
    values = {"name": package.name, "version": package.version}
    return LockError(
        Text("what {name} {version} requires is known only to its build, which cannot run here", **values),
        got=error.text,
        hints=[
            *error.hints,
            Text("or put a wheel of {name} {version} into a find-links folder", **values),
        ],
    )


@dataclass(frozen=True, slots=True)
class Leave:
    """Which projects uv may take as source, and what it is told of them."""

    names: frozenset[str] = frozenset()
    known: Mapping[tuple[str, str], Metadata] = field(default_factory=dict)
    """(name, version) → its true metadata; other versions are said to require nothing until they are chosen."""

    def of(self, names: frozenset[str]) -> Leave:
        return Leave(self.names | names, self.known)

    def without(self, names: frozenset[str]) -> Leave:
        return Leave(self.names - names, self.known)

    def knowing(self, found: Mapping[tuple[str, str], Metadata]) -> Leave:
        return Leave(self.names, {**self.known, **found})

    def entries(self) -> list[dict[str, object]]:
        """uv's ``dependency-metadata``: an exact version's first, and for each project one without a version."""
        exact: list[dict[str, object]] = [
            {
                "name": name, "version": version, "requires-dist": list(one.requires),
                "requires-python": one.requires_python, "provides-extra": list(one.extras),
            }
            for (name, version), one in sorted(self.known.items())
            if name in self.names
        ]  # fmt: skip
        every: list[dict[str, object]] = [{"name": name, "requires-dist": []} for name in sorted(self.names)]
        return [*exact, *every]

"""Build backends in memory: they answer as they are told, and nothing runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from trainload.errors import RunError
from trainload.lock.model import Build, File
from trainload.lock.source import Metadata, Statements


@dataclass(slots=True)
class MemoryBackends:
    """Keeps the contract of :class:`trainload.resolve.sources.Backends`; ``asked`` has every question."""

    metadata_of: Mapping[tuple[str, str], Metadata] = field(default_factory=dict)
    """(name, version) → what it requires; others require nothing."""
    requires_of: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Name → what its backend asks for."""
    statements_of: Mapping[str, Statements] = field(default_factory=dict)
    """File name → what the sdist says; others have a ``setup.py`` and say nothing."""
    closed: bool = False
    """There is no sandbox."""
    asked: list[tuple[str, str]] = field(default_factory=list)

    def statements(self, sdist: File, /) -> Statements:
        return self.statements_of.get(sdist.name, Statements(sdist.name, None, None, has_setup=True))

    def requires(self, build: Build, sdist: File, /) -> tuple[str, ...]:
        self._ask("requires", build)
        return tuple(self.requires_of.get(build.name, ()))

    def metadata(self, build: Build, sdist: File, /) -> Metadata:
        self._ask("metadata", build)
        return self.metadata_of.get((build.name, build.version), Metadata())

    def _ask(self, what: str, build: Build) -> None:
        if self.closed:
            raise RunError("this machine does not let us make namespaces")
        self.asked.append((what, f"{build.name} {build.version}"))

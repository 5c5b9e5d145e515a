"""The distributions a base can be made of, and where their packages stand in an archive."""

from __future__ import annotations

from collections.abc import Mapping

from trainload.errors import ConfigError, Text
from trainload.values import dataclass

ARCHIVES = ("debian", "debian-security", "ubuntu", "ubuntu-ports")
"""Names of archives; also the last part of their address on almost every mirror."""


@dataclass(frozen=True, slots=True)
class Pocket:
    """One signed index: a suite inside an archive."""

    archive: str
    suite: str


@dataclass(frozen=True, slots=True)
class Suite:
    """A release of a distribution."""

    distribution: str
    name: str
    version: str
    pockets: tuple[Pocket, ...]
    """In the order of a usual sources.list; ties between providers depend on it."""
    components: tuple[str, ...]
    ports: Mapping[str, str]
    """Architecture → archive, where it is not the pocket's own."""

    def pockets_for(self, architecture: str) -> tuple[Pocket, ...]:
        moved = self.ports.get(architecture)
        return tuple(Pocket(moved, pocket.suite) for pocket in self.pockets) if moved else self.pockets


def _debian(name: str, version: str) -> Suite:
    pockets = (
        Pocket("debian", name), Pocket("debian", f"{name}-updates"), Pocket("debian-security", f"{name}-security"),
    )  # fmt: skip
    return Suite("debian", name, version, pockets, ("main",), {})


def _ubuntu(name: str, version: str) -> Suite:
    pockets = tuple(Pocket("ubuntu", suite) for suite in (name, f"{name}-updates", f"{name}-security"))
    # Ubuntu's main archive holds amd64 (and i386); every other architecture is on the ports archive
    return Suite("ubuntu", name, version, pockets, ("main", "universe"), {"arm64": "ubuntu-ports"})


SUITES: Mapping[str, Suite] = {
    suite.name: suite
    for suite in (
        _debian("bookworm", "12"),
        _debian("trixie", "13"),
        _ubuntu("jammy", "22.04"),
        _ubuntu("noble", "24.04"),
    )
}


def suite(name: str) -> Suite:
    """The suite called ``name``, with or without ``apt:``. Raises :class:`ConfigError` for another."""
    known = SUITES.get(name.removeprefix("apt:"))
    if known is None:
        raise ConfigError(
            Text("{suite} is not a distribution Trainload composes a base from", suite=name),
            want=", ".join(f"apt:{name}" for name in SUITES),
        )
    return known

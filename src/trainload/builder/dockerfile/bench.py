"""What building a Dockerfile needs, and what the command line says about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from trainload.builder.dockerfile.ground import Listings
from trainload.builder.dockerfile.lockfile import Answers
from trainload.builder.dockerfile.takes import Context
from trainload.builder.workshop import Workshop
from trainload.digest import Digest
from trainload.dockerfile.model import DOCKERFILE
from trainload.image.model import Layer
from trainload.layers.model import ByteSink, Written
from trainload.limits import Limits
from trainload.plan.lines import LineJob
from trainload.platform import Platform
from trainload.project.model import Settings
from trainload.values import dataclass, field

if TYPE_CHECKING:
    from trainload.builder.bases import Bases
    from trainload.builder.dockerfile.ground import Ground
    from trainload.resolve.services import Services


@dataclass(frozen=True, slots=True)
class Secret:
    """``--secret``: shown to a RUN that asks for it, and never written anywhere."""

    file: str | None = None
    variable: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line says about a Dockerfile."""

    file: str = DOCKERFILE
    """Relative to the project's folder."""
    target: str | None = None
    arguments: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    agents: Mapping[str, str] = field(default_factory=dict)
    """``--ssh``: id → the socket of an ssh agent, which a RUN with a mount of type ssh may ask."""
    network: bool = False
    """RUN may use this machine's network."""
    network_asked: str | None = None
    """As it was written, for a builder that the file is handed to."""
    place: bool = True
    """RUN lines that are understood are placed."""


class Rooms(Protocol):
    """Where programs of layers run, and layers lie unpacked: needs an engine, so it is given."""

    def run(self, job: LineJob, ground: Ground, sink: ByteSink, /) -> Written:
        """The layer of what a RUN changes over ``ground``. Raises :class:`RunError`."""

    def unpacked(self, below: Sequence[Layer], limits: Limits, /) -> Callable[[str], Path | None]:
        """Where a file of these layers lies, by its path."""

    def lies(self, diff_id: Digest, /) -> Path | None:
        """The folder of one layer, if it is unpacked."""


@dataclass(frozen=True, slots=True)
class Bench:
    """One build of one Dockerfile."""

    shop: Workshop
    """Without a base: each stage has its own."""
    wanted: Wanted
    context: Context
    answers: Answers
    bases: Bases
    rooms: Rooms | None
    platform: Platform
    caches: Path
    """Where folders of ``RUN --mount=type=cache`` lie."""
    root: Path
    """The project's folder."""
    environ: Mapping[str, str]
    services: Callable[[], Services]
    settings: Settings
    seconds: float | None = None
    """A RUN may take so long."""
    listings: Listings = field(default_factory=dict)
    """What layers have, read once."""

"""What locking needs of the world: the index, archives, registries, hubs and channels, each behind one value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from trainload.events import SILENT, Reporter
from trainload.lock.model import Lock, ReleaseFile
from trainload.resolve.conda.request import Conda
from trainload.resolve.image import Images
from trainload.resolve.own import Fetch
from trainload.resolve.sources import Backends
from trainload.resolve.uv import Uv
from trainload.system.http import Http
from trainload.values import dataclass, field

if TYPE_CHECKING:
    from trainload.resolve.indexes import Services as DistributionServices
    from trainload.resolve.weights import Shelf


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
    backends: Callable[[Lock], Backends] | None = None
    """Given what lies below the packages: reads sdists and asks their build backends."""
    images: Images | None = None
    """Base images; None where none is asked for."""
    shelf: Callable[[], Shelf] | None = None
    """Weights; None where none are asked for."""
    conda: Conda | None = None
    """Conda channels; None where there are none."""
    repositories: Fetch | None = None
    """Commits of git repositories; None where none is asked for."""

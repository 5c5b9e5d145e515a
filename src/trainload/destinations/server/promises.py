"""What a client was told is here stays for a while: it will leave it out of its push.

Between "this layer is here" and the manifest that needs it, the image that kept the layer may lose its name and gc
may run. So the answer is a promise: a lease in the store, which ends with one of the next generations.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from trainload.digest import Digest
from trainload.store.store import Store

LASTS = 900.0
"""Seconds a promise holds at least; no push of one layer takes longer without asking again."""


class Promises:
    """Leases in generations: the newest takes promises, the one before keeps its own, older ones end."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._guard = threading.Lock()
        self._generations: list[_Generation] = []

    def keep(self, repository: str, digest: Digest) -> bool:
        """Whether the blob is here and sound; gc leaves it alone for the next :data:`LASTS` seconds."""
        with self._guard:
            now = time.monotonic()
            if not self._generations or self._generations[-1].began < now - LASTS:
                self._generations.append(_Generation(now, Store.open(self._home)))
            self._drop(now - 2 * LASTS)
            newest = self._generations[-1]
            newest.made.add((repository, digest))
            return newest.store.hold(digest)

    def made(self, repository: str, digest: Digest) -> bool:
        """Whether a client was told that the repository has it."""
        with self._guard:
            return any((repository, digest) in one.made for one in self._generations)

    def expire(self) -> None:
        """End what is old enough."""
        with self._guard:
            self._drop(time.monotonic() - 2 * LASTS)

    def close(self) -> None:
        with self._guard:
            self._drop(float("inf"))

    def _drop(self, before: float) -> None:
        for one in self._generations:
            if one.began < before:
                one.store.close()
        self._generations = [one for one in self._generations if one.began >= before]


@dataclass(frozen=True, slots=True)
class _Generation:
    """Promises of the same quarter of an hour."""

    began: float
    store: Store
    """Its lease holds the blobs."""
    made: set[tuple[str, Digest]] = field(default_factory=set)

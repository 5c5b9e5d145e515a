"""What a layer goes through on its way into the store."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from trainload.errors import LayerError
from trainload.layers.model import BegunSink, ByteSink, Earlier, NotingSink
from trainload.store.ingest import Ingest
from trainload.values import dataclass

if TYPE_CHECKING:
    from trainload.layers.tar import Header


@dataclass(frozen=True, slots=True)
class Stoppable:
    """A sink that ends the work of whoever writes to it, once that was given up."""

    sink: ByteSink
    stopped: threading.Event

    def write(self, data: bytes, /) -> object:
        if self.stopped.is_set():
            raise LayerError("making layers was stopped")
        return self.sink.write(data)

    def earlier(self) -> Earlier | None:
        """What an earlier process left of the same layer."""
        return self.sink.earlier() if isinstance(self.sink, BegunSink) else None

    @property
    def noted(self) -> list[Header] | None:
        return self.sink.noted if isinstance(self.sink, NotingSink) else None


@dataclass(frozen=True, slots=True)
class Noting:
    """Into the store, with a note of each entry."""

    ingest: Ingest
    noted: list[Header]

    def write(self, data: bytes, /) -> object:
        return self.ingest.write(data)

    def earlier(self) -> Earlier | None:
        return self.ingest.earlier()

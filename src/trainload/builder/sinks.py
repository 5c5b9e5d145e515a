"""What a layer goes through on its way into the store."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from trainload.errors import LayerError
from trainload.layers.model import BegunSink, ByteSink, Earlier, NotingSink, Written
from trainload.resolve.failures import WrongBytesError
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


def written_to(write: Callable[[ByteSink], Written], ingest: Ingest, noted: list[Header] | None) -> Written:
    """What ``write`` made; from the start again where an input turned out to be wrong and may be had elsewhere."""
    while True:
        try:
            return write(ingest if noted is None else Noting(ingest, noted))
        except WrongBytesError as error:
            if not error.others:
                raise
            ingest.restart()
            if noted is not None:
                noted.clear()

"""The legs of an image on their way: while Docker unpacks one, it takes in the next."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from trainload.errors import RunError
from trainload.run.engines.docker.api import Api
from trainload.run.engines.docker.legs import Leg, Wagon
from trainload.run.inflate import TarStream
from trainload.store.content import damaged
from trainload.store.store import Store

_PIECE = 1 << 19


@dataclass(frozen=True, slots=True)
class Journey:
    """Archives that follow each other into one Docker."""

    api: Api
    store: Store
    moved: Callable[[int], object]
    """Is told how many bytes of blobs went on."""
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self, legs: Sequence[Leg]) -> None:
        """Raises the first leg's error; whatever legs arrived before it stay there."""
        journeys: list[_OnTheWay] = []
        try:
            for leg in legs:
                journeys.append(_OnTheWay(leg, journeys[-1].arrived if journeys else None))
                self._begin(journeys[-1])
                journeys[-1].sent.wait()
                if len(journeys) > 1:
                    journeys[-2].arrived.result()
            journeys[-1].arrived.result()
        finally:
            self._stop.set()  # after an error or an interrupt nobody waits for what is still open

    def _begin(self, one: _OnTheWay) -> None:
        threading.Thread(target=self._send, args=(one,), daemon=True).start()

    def _send(self, one: _OnTheWay) -> None:
        try:
            headers = {"Content-Type": "application/x-tar", "Content-Length": str(one.leg.size)}
            body = one.leg.pieces(self._tar_stream, one.wait_for_those_below)
            for _ in self.api.progress("/images/load", body, headers, quiet=1):
                pass
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            one.arrived.set_exception(error)
        else:
            one.arrived.set_result(None)
        finally:
            one.sent.set()

    def _tar_stream(self, wagon: Wagon) -> Iterator[bytes]:
        """Docker itself holds what it unpacks against the diff_id; so it is not hashed twice."""
        blob, told, given = wagon.blob, 0, 0
        with TarStream(self.store.path(blob.digest), blob.digest.short, hashed=False) as stream:
            while piece := stream.read(_PIECE):
                if self._stop.is_set():
                    raise RunError("the delivery was stopped")
                given += len(piece)
                if given > wagon.unpacked:
                    break
                yield piece
                now = blob.size * given // wagon.unpacked
                self.moved(now - told)
                told = now
        if given != wagon.unpacked:
            raise damaged(blob.digest, self.store.path(blob.digest))


@dataclass(frozen=True, slots=True)
class _OnTheWay:
    """A leg, and what has become of it."""

    leg: Leg
    below: Future[None] | None
    """The leg before it."""
    sent: threading.Event = field(default_factory=threading.Event)
    """But for its last bytes; or it failed."""
    arrived: Future[None] = field(default_factory=Future)

    def wait_for_those_below(self) -> None:
        """Docker looks for lower layers as soon as it has read an archive."""
        self.sent.set()
        if self.below is not None:
            self.below.result()

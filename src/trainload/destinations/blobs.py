"""One blob from a registry into the store: streamed, verified, asked for once more when its bytes are wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from trainload.destinations.cargo import Part, is_foreign
from trainload.destinations.together import Stop
from trainload.errors import Place, RegistryError, Text
from trainload.events import SILENT, Began, Ended, How, Moved, Reporter
from trainload.image.model import Descriptor
from trainload.reference import Reference
from trainload.registry.protocol import RefusedError
from trainload.store.ingest import Ingest
from trainload.store.store import Store
from trainload.store.trouble import DamagedError
from trainload.values import dataclass, field


class Source(Protocol):
    """Where blobs come from (:class:`trainload.registry.client.Client`)."""

    def download(
        self,
        reference: Reference,
        blob: Descriptor,
        write: Callable[[bytes], object],
        restart: Callable[[], object],
        /,
    ) -> int: ...


@dataclass(slots=True)
class Blobs:
    """Brings blobs here; safe for threads."""

    store: Store
    client: Source
    reporter: Reporter = SILENT
    stop: Stop = field(default_factory=Stop)

    def bring(self, reference: Reference, part: Part) -> How:
        """Have the blob here and held: ``PRESENT`` or ``FETCHED``; another process that brings it is waited for.

        Call it inside ``store.writing()``. Raises :class:`RegistryError` or :class:`StoreError`.
        """
        blob, task = part.blob, str(part.blob.digest)
        with self.store.lock(f"blob-{blob.digest.hex}"):
            if self.store.hold(blob.digest) and self.store.has(blob.digest, blob.size):
                self.reporter.report(Ended(task, part.label, How.PRESENT, blob.size))
                return How.PRESENT
            self.stop.check()
            self.reporter.report(Began(task, part.label, blob.size))
            try:
                self._fetch(reference, part)
            except BaseException:
                self.reporter.report(Ended(task, part.label, How.FAILED))
                raise
        self.reporter.report(Ended(task, part.label, How.FETCHED, blob.size))
        return How.FETCHED

    def _fetch(self, reference: Reference, part: Part) -> None:
        """Its bytes into the store; wrong ones are asked for once more (THREATS R01)."""
        for last in (False, True):
            with self.store.ingest(part.blob.size) as ingest:
                taken = _Taken(ingest, part, self.reporter, self.stop)
                try:
                    self.client.download(reference, part.blob, taken.write, taken.restart)
                    ingest.commit(part.blob.digest, part.blob.size)
                except DamagedError as error:
                    if last:
                        raise _wrong_bytes(f"{reference.name}@{part.blob.digest}", error) from error
                except RefusedError as error:
                    if error.status == 404 and is_foreign(part.blob):
                        raise RegistryError(
                            Text("a layer of {name} may not be spread by registries", name=str(reference)),
                            got=Text("it is offered elsewhere, and such addresses are not followed"),
                        ) from error
                    raise
                else:
                    return


class _Taken:
    """Passes bytes on and tells how many they are."""

    def __init__(self, ingest: Ingest, part: Part, reporter: Reporter, stop: Stop) -> None:
        self._ingest, self._reporter, self._stop = ingest, reporter, stop
        self._task = str(part.blob.digest)

    def write(self, data: bytes) -> None:
        self._stop.check()
        self._ingest.write(data)
        self._reporter.report(Moved(self._task, self._ingest.size))

    def restart(self) -> None:
        self._ingest.restart()


def _wrong_bytes(where: str, error: DamagedError) -> RegistryError:
    return RegistryError(
        Text("the registry sends other bytes than the image names; they were not kept"),
        place=Place(where),
        got=error.got,
        want=error.want,
        hints=[Text("somebody changed them, or a mirror or proxy is broken: try another network")],
    )

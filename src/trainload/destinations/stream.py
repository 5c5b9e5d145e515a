"""A blob that streams from a registry through this machine, verified on the way, with nothing kept."""

from __future__ import annotations

import hashlib
import queue
import threading

from trainload.errors import RegistryError, Text, TrainloadError
from trainload.image.model import Descriptor
from trainload.reference import Reference
from trainload.registry.client import Client

_WAITING = 8
"""Pieces of 1 MiB between the two sides."""


class Stream:
    """A blob of a registry as a file read once, from its beginning; the last bytes come when all are right."""

    def __init__(self, client: Client, source: Reference, blob: Descriptor) -> None:
        self._blob = blob
        self._pieces: queue.Queue[bytes | TrainloadError | None] = queue.Queue(_WAITING)
        self._closed = threading.Event()
        self._hash = hashlib.new(blob.digest.algorithm)
        self._rest = memoryview(b"")
        self._left = blob.size
        self._thread = threading.Thread(target=self._fill, args=(client, source), daemon=True)
        self._thread.start()

    def read(self, size: int) -> bytes:
        """The next bytes. Raises :class:`RegistryError` when the blob is not what its digest says."""
        if not self._rest and self._left:
            piece = self._pieces.get()
            if isinstance(piece, TrainloadError):
                raise piece
            if piece is None:
                raise RegistryError(
                    Text("a blob is shorter than its descriptor says"), want=f"{self._left} more bytes"
                )
            self._hash.update(piece)
            self._left -= len(piece)
            if self._left == 0 and self._hash.hexdigest() != self._blob.digest.hex:
                raise RegistryError(
                    Text("the registry sends other bytes than the image names; they were not sent on"),
                    got=self._hash.hexdigest(), want=self._blob.digest,
                )  # fmt: skip
            self._rest = memoryview(piece)
        data, self._rest = bytes(self._rest[:size]), self._rest[size:]
        return data

    def seek(self, offset: int) -> int:
        """Forward only: what lies before is read and thrown away."""
        left = offset
        while left:
            left -= len(self.read(left))
        return offset

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *about: object) -> None:
        self.close()

    def close(self) -> None:
        self._closed.set()
        while self._thread.is_alive():
            try:
                self._pieces.get_nowait()
            except queue.Empty:
                self._thread.join(0.05)

    def _fill(self, client: Client, source: Reference) -> None:
        end: TrainloadError | None = None
        try:
            client.download(source, self._blob, self._put, self._restart)
        except TrainloadError as error:
            end = error
        if not self._closed.is_set():
            self._pieces.put(end)

    def _put(self, data: bytes) -> None:
        if self._closed.is_set():
            raise RegistryError("the transfer was stopped")
        self._pieces.put(data)

    def _restart(self) -> None:
        raise RegistryError(
            Text("a transfer was cut, and the source cannot go on where it was"),
            hints=[Text("pull the image and push it: it is kept here meanwhile")], retryable=True,
        )  # fmt: skip

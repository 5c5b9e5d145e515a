"""From one registry to another, with nothing kept here: bytes stream through, verified on the way."""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import BinaryIO, cast

from trainload.destinations.cargo import Cargo, Document, Loader, fetch_config, narrow
from trainload.destinations.deliver import Delivered, Delivery, by_repository
from trainload.errors import RegistryError, Text, TrainloadError
from trainload.events import SILENT, Reporter
from trainload.image.model import Descriptor
from trainload.platform import Platform
from trainload.reference import Reference
from trainload.registry.client import Client

_WAITING = 8
"""Pieces of 1 MiB between the two sides."""


def copy(
    client: Client,
    cargo: Cargo,
    targets: Sequence[Reference],
    *,
    dry_run: bool = False,
    reporter: Reporter = SILENT,
) -> tuple[Delivered, ...]:
    """``cargo`` (see :func:`from_registry`) under ``targets``.

    Raises :class:`RegistryError`; then no tag was moved at the repository that failed.
    """
    groups = by_repository(targets)
    return tuple(Delivery(client, cargo, group, reporter, dry_run).run() for group in groups)


def from_registry(client: Client, source: Reference, platform: Platform | None = None) -> Cargo:
    """What ``source`` names, whole, or of an index only the image for ``platform``; its blobs will be streamed.

    Raises :class:`RegistryError` or :class:`ImageError`.
    """
    root = client.manifest(source)
    where = replace(source, digest=root.digest)
    whole = Document(root.data, root.media_type, root.digest)
    document = narrow(whole, platform, lambda one: _document(client, where, one), str(source))
    known = {document.digest: document}
    loader = Loader(
        lambda one: known.get(one.digest) or _document(client, where, one),
        lambda one: fetch_config(client, where, one),
        str(source),
    )
    loader.load(document.descriptor)
    loader.check_platform(document.digest, platform)
    return Cargo(
        tuple(loader.documents.values()),
        tuple(loader.parts.values()),
        lambda blob: cast("BinaryIO", Stream(client, where, blob)),
        lambda blob, target: [source] if source.domain == target.domain else [],
    )


def _document(client: Client, source: Reference, one: Descriptor) -> Document:
    fetched = client.manifest(replace(source, digest=one.digest))
    return Document(fetched.data, fetched.media_type, fetched.digest)


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

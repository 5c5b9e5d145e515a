"""One image as a registry for one pull: nothing else of the store can be seen, under a name nobody can guess.

Other users of the far side can reach the tunnel's end there; the name is what they do not have.
"""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO, cast

from trainload.destinations.cargo import Cargo, Part
from trainload.destinations.server.access import Guard
from trainload.destinations.server.listener import Listener
from trainload.destinations.server.messages import Answer, Refusal, Request, Slice, json_answer, refuse
from trainload.destinations.server.ranges import wanted_range
from trainload.destinations.server.routes import Base, Blob, Manifest, find_route
from trainload.digest import Digest
from trainload.events import Began, Ended, How, Moved, Reporter

_GRACE = 1.0
_STEP = 1 << 20
"""Bytes between two reports."""


@dataclass(slots=True)
class Offer:
    """Answers the requests of a pull; safe for threads."""

    cargo: Cargo
    reporter: Reporter
    name: str = field(default_factory=lambda: f"trainload/{secrets.token_hex(16)}")
    """The repository."""
    sent: int = 0
    """Bytes of blobs that were asked for."""
    asked: bool = False
    """Whether anybody came."""
    taken: set[Digest] = field(default_factory=set)
    _guard: Guard = field(default_factory=lambda: Guard(read_only=True))
    _one: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, request: Request) -> Answer:
        """As the distribution specification wants it (end-1, end-2, end-3)."""
        self.asked = True
        try:
            self._guard.check(request)
            route = find_route(request.method, request.path)
            if isinstance(route, Base):
                return json_answer({})
            if isinstance(route, Blob | Manifest) and secrets.compare_digest(route.name, self.name):
                return self._manifest(route) if isinstance(route, Manifest) else self._blob(route, request)
            raise refuse(404, "NAME_UNKNOWN", "there is no such repository")
        except Refusal as refusal:
            return refusal.answer

    def finish(self) -> None:
        """Tell which blobs nobody asked for: they are there."""
        for part in self.cargo.parts:
            if part.blob.digest not in self.taken:
                self.reporter.report(Ended(str(part.blob.digest), part.label, How.PRESENT, part.blob.size))

    def _manifest(self, route: Manifest) -> Answer:
        for document in self.cargo.documents:
            if document.digest == route.reference:
                return Answer(
                    200, {"Content-Type": document.media_type, **_identity(document.digest)}, document.data
                )
        raise refuse(404, "MANIFEST_UNKNOWN", "there is no such manifest")

    def _blob(self, route: Blob, request: Request) -> Answer:
        part = next((one for one in self.cargo.parts if one.blob.digest == route.digest), None)
        if part is None:
            raise refuse(404, "BLOB_UNKNOWN", "there is no such blob")
        size = part.blob.size
        start, length = wanted_range(request.headers.get("range"), size) or (0, size)
        headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes", **_identity(route.digest)}
        status = 200 if (start, length) == (0, size) else 206
        if status == 206:
            headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{size}"
        file = self.cargo.open(part.blob)
        if request.method != "HEAD":
            file = cast("BinaryIO", _Told(file, part, start, start + length, self))
        return Answer(status, headers, Slice(file, start, length))

    def count(self, part: Part, data: int, *, first: bool) -> None:
        """``data`` more bytes of a blob went out."""
        with self._one:
            self.sent += data
            self.taken.add(part.blob.digest)
        if first:
            self.reporter.report(Began(str(part.blob.digest), part.label, part.blob.size))


class _Told:
    """A blob being read, which tells how far it is. It has no descriptor, so that no kernel sends it unseen."""

    def __init__(self, file: BinaryIO, part: Part, start: int, end: int, offer: Offer) -> None:
        self._file, self._part, self._offer = file, part, offer
        self._at, self._end, self._told = start, end, start
        self._first = True

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._offer.count(self._part, len(data), first=self._first)
        self._first = False
        self._at += len(data)
        if self._at - self._told >= _STEP:
            self._told = self._at
            self._offer.reporter.report(Moved(str(self._part.blob.digest), self._at))
        return data

    def seek(self, offset: int) -> int:
        return self._file.seek(offset)

    def close(self) -> None:
        self._file.close()
        if not self._first:
            blob = self._part.blob
            how = How.SENT if self._at >= self._end else How.FAILED
            self._offer.reporter.report(Ended(str(blob.digest), self._part.label, how, blob.size))


@contextmanager
def offered(offer: Offer) -> Iterator[int]:
    """Serve it on a port of this machine's loopback for as long as the block lasts."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as sock:
        port: int = sock.getsockname()[1]
        listener = Listener(sock, None, offer.answer, lambda _: None, lambda: None)
        listener.start()
        try:
            yield port
        finally:
            listener.stop(_GRACE)


def _identity(digest: Digest) -> dict[str, str]:
    return {"Docker-Content-Digest": str(digest), "ETag": f'"{digest}"'}

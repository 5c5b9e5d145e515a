"""Blobs into a store on the far side: first what is there, then the rest in one stream, then the image's name.

Bytes go out without waiting for answers, which another thread collects: one connection carries as much as ssh can,
and 64 KiB of a blob are in memory at a time.
"""

from __future__ import annotations

import hashlib
import io
import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, BinaryIO

from trainload.address import Address
from trainload.destinations.cargo import Cargo, Document, Part
from trainload.destinations.ship.there import Answered, There
from trainload.destinations.ship.troubles import told
from trainload.digest import Digest
from trainload.errors import HostError, Place, Text
from trainload.events import Began, Ended, How, Moved, Reporter
from trainload.image.model import Descriptor
from trainload.runner import wire

_PIECE = 64 * 1024
"""Bytes of a frame, and the most that is lost by a cut."""
_FEW = 2000
"""Blobs in one question: it fits into a frame."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the far side has of an image."""

    have: frozenset[Digest]
    partial: dict[Digest, tuple[int, str]]
    """Bytes that came of a blob, and their hash."""
    free: int
    """Bytes that can still be written there."""

    def missing(self, parts: Sequence[Part]) -> tuple[Part, ...]:
        return tuple(part for part in parts if part.blob.digest not in self.have)

    def to_send(self, parts: Sequence[Part]) -> int:
        """Bytes that are missing there."""
        return sum(part.blob.size - self.partial.get(part.blob.digest, (0, ""))[0] for part in self.missing(parts))


class RemoteStore:
    """A store behind a :class:`There` that became a runner; a context manager."""

    def __init__(self, there: There, reporter: Reporter) -> None:
        self._there = there
        self._reporter = reporter
        self._answers: queue.Queue[dict[str, Any] | HostError] = queue.Queue()
        self._listener = threading.Thread(target=self._listen, name="ship", daemon=True)
        self._labels: dict[str, Part] = {}
        self._where = str(there.address)
        self.folder = ""
        """As the far side sees it."""
        self.sent = 0
        """Bytes of blobs that went out."""

    def __enter__(self) -> RemoteStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._there.session.finish(hurry=error is not None)
        if self._listener.is_alive():
            self._listener.join()

    def open(self, folder: str | None, *, writing: bool) -> None:
        """Begin; ``folder`` None: where a Trainload there would keep its images. Raises :class:`HostError`."""
        self._there.become_runner(runs=False)
        self._listener.start()
        self._ask(do="open", version=wire.VERSION, folder=folder, writing=writing)
        self.folder = str(self._answer("open")["folder"])
        self._where = f"{self._there.address}:{self.folder}"

    def look(self, parts: Sequence[Part]) -> Found:
        """What is there already, or in part."""
        sizes = {str(part.blob.digest): part.blob.size for part in parts}
        have: set[str] = set()
        partial: dict[str, tuple[int, str]] = {}
        free = 0
        asked = list(sizes.items())
        for start in range(0, len(asked), _FEW):
            self._ask(do="look", blobs=asked[start : start + _FEW])
            answer = self._answer("look")
            have.update(str(one) for one in answer["have"])
            partial.update({str(one): (int(size), str(sha)) for one, (size, sha) in answer["partial"].items()})
            free = int(answer["free"])
        known = (have | partial.keys()) <= sizes.keys()
        if not known or any(size > sizes[one] for one, (size, _) in partial.items()):
            raise self._lies()
        parsed = {Digest.parse(one): what for one, what in partial.items()}
        return Found(frozenset(Digest.parse(one) for one in have), parsed, free)

    def send(self, cargo: Cargo, found: Found) -> None:
        """Send what is missing. Raises :class:`HostError`; what came stays there for the next try."""
        parts = cargo.parts
        need = found.to_send(parts)
        if need > found.free:
            raise self._told({"trouble": "full", "said": f"{found.free:,} bytes free"}, need)
        missing = found.missing(parts)
        for part in parts:
            if part.blob.digest in found.have:
                self._reporter.report(Ended(str(part.blob.digest), part.label, How.PRESENT, part.blob.size))
        for part in missing:
            self._send(cargo, part, found.partial.get(part.blob.digest))
            self._take_answers()
        while self._labels:
            self._take(self._next())

    def commit(self, image: Descriptor, names: Sequence[str], needs: Sequence[Descriptor]) -> None:
        """Name the image there, and check what the far side says it holds now (THREATS S05)."""
        line = {"mediaType": image.media_type, "digest": str(image.digest), "size": image.size}
        sizes = {str(one.digest): one.size for one in needs}
        self._ask(do="commit", image=line, names=list(names), needs=list(sizes.items()))
        answer = self._answer("commit")
        if answer["image"] != str(image.digest) or answer["blobs"] != sizes or not set(names) <= {*answer["names"]}:
            raise self._lies()

    def serve(self, name: str, documents: Sequence[Document]) -> int:
        """Let the far side show what came as the repository ``name``; the port of its loopback."""
        self._ask(do="serve", name=name, types={str(one.digest): one.media_type for one in documents})
        return int(self._answer("serve")["port"])

    def ask(self, script: str, timeout: float | None = None) -> Answered:
        """As :meth:`There.ask`; what runs there ends with the connection."""
        self._ask(do="call", script=script)
        answer = self._answer("call")
        return Answered(int(answer["code"]), str(answer["text"]))

    def empty(self) -> None:
        """Remove all blobs there, unless somebody else is at it too; nothing can be done after it."""
        self._ask(do="empty")
        self._answer("empty")

    @property
    def address(self) -> Address:
        return self._there.address

    def _send(self, cargo: Cargo, part: Part, came: tuple[int, str] | None) -> None:
        blob = part.blob
        task = str(blob.digest)
        with cargo.open(blob) as file:
            offset = 0
            if came is not None and _hash(file.read, came[0]) == came[1]:
                offset = came[0]
            file.seek(offset)
            self._reporter.report(Began(task, part.label, blob.size))
            self._labels[task] = part
            self._ask(do="blob", digest=task, size=blob.size, offset=offset)
            done = offset
            while data := file.read(min(_PIECE, blob.size - done)):
                self._write(wire.frame(wire.DATA, data))
                done += len(data)
                self.sent += len(data)
                self._reporter.report(Moved(task, done))
        if done != blob.size:
            raise HostError(Text("the blob {digest} became shorter while it was sent", digest=blob.digest.short))

    def _ask(self, **what: object) -> None:
        self._write(wire.request(**what))

    def _write(self, data: bytes) -> None:
        try:
            self._there.session.write(data)
        except HostError as error:
            raise self._last_words(error) from error

    def _last_words(self, lost: HostError) -> HostError:
        """The runner ended: what it said before is the better reason."""
        while True:
            try:
                self._take(self._next())
            except HostError as error:
                return lost if error.retryable else error

    def _listen(self) -> None:
        """Our lines, until the connection ends."""
        try:
            while True:
                value = wire.read_line(self._there.mark, self._there.read_line())
                if isinstance(value, dict):
                    self._answers.put(value)
        except HostError as error:
            self._answers.put(error)

    def _next(self) -> dict[str, Any]:
        value = self._answers.get()
        if isinstance(value, HostError):
            self._answers.put(value)  # for whoever asks next
            raise value
        if "trouble" in value:
            raise self._told(value, None)
        return value

    def _answer(self, done: str) -> dict[str, Any]:
        value = self._next()
        if value.get("done") != done:
            raise self._lies()
        return value

    def _take_answers(self) -> None:
        while not self._answers.empty():
            self._take(self._next())

    def _take(self, value: dict[str, Any]) -> None:
        part = self._labels.pop(str(value.get("digest")), None)
        if value.get("done") != "blob" or part is None:
            raise self._lies()
        self._reporter.report(Ended(str(part.blob.digest), part.label, How.SENT, part.blob.size))

    def _lies(self) -> HostError:
        return HostError(
            Text("{host} says it holds what it was not sent", host=self._there.address),
            place=Place(self._where),
            hints=[Text("another program answers there, or the store's disk is broken")],
        )

    def _told(self, value: dict[str, Any], need: int | None) -> HostError:
        return told(value, self._where, self._there.address, need)


def whole(cargo: Cargo, parts: Sequence[Part]) -> Cargo:
    """The cargo with ``parts`` of it, its documents among them: here all are blobs."""
    documents = {one.digest: one.data for one in cargo.documents}
    named = [Part(one.descriptor, f"manifest {one.digest.short}") for one in cargo.documents]

    def opened(blob: Descriptor) -> BinaryIO:
        return io.BytesIO(documents[blob.digest]) if blob.digest in documents else cargo.open(blob)

    return replace(cargo, parts=(*parts, *named), open=opened)


def _hash(read: Any, size: int) -> str:  # noqa: ANN401 - a file's method
    state = hashlib.sha256()
    while size and (data := read(min(1 << 20, size))):
        state.update(data)
        size -= len(data)
    return state.hexdigest()

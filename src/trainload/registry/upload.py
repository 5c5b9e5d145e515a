"""How a blob is brought to a registry: a generator, which yields what to do and is sent what came of it.

One streamed POST and PUT; chunks only to go on after a cut, and never where they are known to lose bytes
(distribution-spec § Pushing blobs). No I/O.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

from trainload.errors import Place, RegistryError, Text
from trainload.events import How
from trainload.image.model import Descriptor
from trainload.limits import MiB
from trainload.reference import Reference
from trainload.registry.protocol import (
    Answer,
    Request,
    Rest,
    blob_path,
    check_digest,
    path_of,
    received,
    refused,
    scope,
    upload_address,
    with_digest,
    with_query,
)
from trainload.system.wire import RETRY_STATUS, Cut
from trainload.values import dataclass

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Quirks:
    """What is known about a registry."""

    chunks: bool = True
    """Whether PATCH may be used to go on after a cut."""
    largest_chunk: int | None = None
    """Bytes of one PATCH, if it is limited."""


def quirks_of(host: str) -> Quirks:
    """By the registry's host name."""
    name = host.partition(":")[0]
    if ".dkr.ecr" in name and (name.endswith((".amazonaws.com", ".amazonaws.com.cn"))):
        return Quirks(chunks=False)  # drops every PATCH after the first: aws/containers-roadmap 2831
    if name == "ghcr.io":
        return Quirks(largest_chunk=4 * MiB)
    return Quirks()


@dataclass(frozen=True, slots=True)
class Wait:
    """Before going on after ``cut``; ``done`` bytes are known to have arrived. Whoever drives may give up here."""

    cut: Cut
    done: int


Step = Request | Wait
Conversation = Generator[Step, Answer | Cut, T]


@dataclass(frozen=True, slots=True)
class Upload:
    """One blob for one repository."""

    base: str
    """The registry's address."""
    reference: Reference
    blob: Descriptor
    source: Reference | None = None
    """Another repository of this registry that has the blob."""
    quirks: Quirks = Quirks()

    @property
    def scopes(self) -> tuple[str, ...]:
        return (scope(self.reference, "pull,push"),)

    def run(self) -> Conversation[How]:
        """The whole way. A request is answered by its :class:`Answer`, one with the blob also by :class:`Cut`.

        Raises :class:`RegistryError`.
        """
        how, session = yield from self._start()
        while session is not None:
            done = yield from self._send(session)
            session = None if done else (yield from self._open_session())
        yield from self._verify()
        return how

    def _start(self) -> Conversation[tuple[How, str | None]]:
        """Mount it, or open a session."""
        if self.source is not None:
            answer = yield from self._ask(self._mount(self.source))
            if answer.status == 201:
                check_digest(answer, self.blob.digest)
                return How.MOUNTED, None
            if answer.status == 202:
                return How.SENT, upload_address(answer, self.base)
        return How.SENT, (yield from self._open_session())

    def _mount(self, source: Reference) -> Request:
        query = {"mount": str(self.blob.digest), "from": source.path}
        url = with_query(f"{path_of(self.reference)}/blobs/uploads/", **query)
        return Request("POST", url, (*self.scopes, scope(source)), {"Content-Length": "0"})

    def _open_session(self) -> Conversation[str]:
        url = f"{path_of(self.reference)}/blobs/uploads/"
        answer = yield from self._ask(Request("POST", url, self.scopes, {"Content-Length": "0"}))
        if answer.status != 202:
            raise refused(answer, self._failed())
        return upload_address(answer, self.base)

    def _send(self, session: str) -> Conversation[bool]:
        """The blob into ``session``; False: the session is lost and another one must be opened."""
        whole = Rest(0, self.blob.size)
        answer = yield self._with_blob("PUT", with_digest(session, self.blob.digest), whole, {})
        done = 0
        while True:
            cut = _cut(answer)
            if cut is None:
                assert isinstance(answer, Answer)
                break
            yield Wait(cut, done)
            if (yield from self._is_there()):
                return True  # it took everything, and only its answer was lost
            if not self.quirks.chunks or self.blob.size <= 1:  # of one byte "0-0" tells nothing
                return False
            found = yield from self._where(session)
            out_of_place = isinstance(answer, Answer) and answer.status == 416
            if found is None or found[1] < done or (out_of_place and found[1] == done):
                return False  # lost, or it does not mean what it says: "0-0" is nothing or one byte
            session, done = found
            if done == self.blob.size:
                answer = yield from self._end(session)
            else:
                answer, session, done = yield from self._chunks(session, done)
        return self._accepted(answer)

    def _accepted(self, answer: Answer) -> bool:
        if answer.status == 201:
            check_digest(answer, self.blob.digest)
            return True
        raise refused(answer, self._failed())

    def _chunks(self, session: str, done: int) -> Conversation[tuple[Answer | Cut, str, int]]:
        """The rest by PATCH, then the end; returns the last answer, and where the upload stands."""
        while done < self.blob.size:
            length = min(self.blob.size - done, self.quirks.largest_chunk or self.blob.size)
            span = {"Content-Range": f"{done}-{done + length - 1}"}
            answer = yield self._with_blob("PATCH", session, Rest(done, length), span)
            if _cut(answer) is not None:
                return answer, session, done
            assert isinstance(answer, Answer)
            if answer.status not in (202, 204):
                return answer, session, done
            session, has = upload_address(answer, self.base), received(answer)
            if has != done + length:  # what it says it has must be what we sent
                return Cut(f"{has} of {done + length} bytes have arrived"), session, done
            done = has
        return (yield from self._end(session)), session, done

    def _end(self, session: str) -> Conversation[Answer]:
        url = with_digest(session, self.blob.digest)
        return (yield from self._ask(Request("PUT", url, self.scopes, {"Content-Length": "0"})))

    def _where(self, session: str) -> Conversation[tuple[str, int] | None]:
        """Where the session stands and goes on; None: it is lost."""
        answer = yield from self._ask(Request("GET", session, self.scopes))
        has = received(answer)
        if answer.status != 204 or has is None or has > self.blob.size:
            return None
        return (upload_address(answer, self.base) if "location" in answer.headers else session), has

    def _verify(self) -> Conversation[None]:
        """It must be there now (THREATS R19)."""
        if not (yield from self._is_there()):
            raise RegistryError(
                Text("the registry took {digest} and does not have it", digest=self.blob.digest.short),
                place=Place(self.reference.name),
                retryable=True,
            )

    def _is_there(self) -> Conversation[bool]:
        answer = yield from self._ask(Request("HEAD", blob_path(self.reference, self.blob.digest), self.scopes))
        return answer.status == 200

    def _with_blob(self, method: str, url: str, part: Rest, headers: dict[str, str]) -> Request:
        kind = {"Content-Type": "application/octet-stream", "Content-Length": str(part.length)}
        return Request(method, url, self.scopes, {**kind, **headers}, part)

    def _ask(self, request: Request) -> Conversation[Answer]:
        answer = yield request
        assert isinstance(answer, Answer)  # only a request with the blob may be cut
        return answer

    def _failed(self) -> Text:
        return Text(
            "{name} does not take the blob {digest}", name=self.reference.name, digest=self.blob.digest.short
        )


def _cut(answer: Answer | Cut) -> Cut | None:
    """The answer as a cut, when another try may help."""
    if isinstance(answer, Cut):
        return answer
    if answer.status in RETRY_STATUS or answer.status in (404, 416):  # a session lost, a chunk out of place
        return Cut(f"HTTP {answer.status}", answer.headers.get("retry-after"))
    return None

"""Carries requests to one registry and answers back: authorization, retries, redirects, bounded bodies.

What may be followed, sent and believed stands in ``protocol.py`` and ``auth.py``; here it is done.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Protocol, TypeVar
from urllib.parse import urlsplit

from trainload.errors import FetchError, RegistryError, Text
from trainload.limits import DEFAULT
from trainload.registry.hosts import Endpoint
from trainload.registry.protocol import Answer, Request, Rest, refused
from trainload.registry.upload import Step, Wait
from trainload.system.http import Http, Transfer
from trainload.system.transfer import check_encoding
from trainload.system.wire import (
    REDIRECTS,
    RETRY_STATUS,
    USUAL,
    Body,
    Cut,
    chunks,
    is_loopback,
    origin,
    redirect_target,
    shown,
)
from trainload.values import dataclass, replace

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

T = TypeVar("T")
_PIECE = 1 << 18
"""Bytes given to the socket at once; its time limit holds for one piece, so 9 kB/s still get through."""
_PROOFS = 2
"""How often a 401 is answered: with what we have, and renewed once (THREATS R15)."""
_PAGE = DEFAULT.manifest


class Authority(Protocol):
    """Knows what proves who we are."""

    def header(self, endpoint: Endpoint, scopes: tuple[str, ...]) -> str | None:
        """The Authorization header for such a request, as far as it is known."""

    def challenged(self, endpoint: Endpoint, answer: Answer, scopes: tuple[str, ...], used: str | None) -> bool:
        """After a 401: whether there is now another header than ``used``. Raises :class:`RegistryError`."""


@dataclass(frozen=True, slots=True)
class Session:
    """A conversation with one endpoint; safe for threads."""

    endpoint: Endpoint
    http: Http
    authority: Authority

    def ask(self, request: Request, *, limit: int = _PAGE) -> Answer:
        """The answer to a request without a stream, whatever its status is; tried again as long as that can help.

        Raises :class:`RegistryError`.
        """
        return self.persist(lambda: self._once(request, None, limit))

    def converse(self, conversation: Generator[Step, Answer | Cut, T], open_blob: Callable[[], BinaryIO]) -> T:
        """Do what ``conversation`` yields; bytes of its blob come from ``open_blob``."""
        best, attempt = 0, 0
        reply: Answer | Cut | None = None
        while True:
            try:
                step = next(conversation) if reply is None else conversation.send(reply)
            except StopIteration as end:
                result: T = end.value
                return result
            if isinstance(step, Wait):
                attempt = 0 if step.done > best else attempt + 1
                best = max(best, step.done)
                if attempt >= self.http.retry.tries or not step.cut.helps:
                    raise unreachable(self.endpoint.base, step.cut) from step.cut
                self.http.sleep(self.http.retry.pause(max(0, attempt - 1), step.cut.retry_after, self.http.jitter))
                reply = Answer("", 0)  # nothing is read from it
            elif isinstance(step.body, Rest):
                try:
                    with told(self.endpoint.base):
                        reply = self._once(step, open_blob, _PAGE)
                except Cut as cut:
                    reply = cut
            else:
                reply = self.ask(step)

    def download(self, request: Request, transfer: Transfer) -> int:
        """Stream the body of the answer into ``transfer``, resumed after cuts. Raises :class:`RegistryError`."""
        try:
            with told(self.endpoint.base):
                return self.http.receive(transfer, lambda rest: self._stream(request, rest))
        except Cut as cut:
            raise unreachable(transfer.url, cut) from cut

    def url(self, request: Request) -> str:
        return request.url if "://" in request.url else self.endpoint.base + request.url

    def persist(self, work: Callable[[], T]) -> T:
        """What ``work`` returns, tried again after cuts. Raises :class:`RegistryError`."""
        try:
            with told(self.endpoint.base):
                return self.http.persist(work)
        except Cut as cut:
            raise unreachable(self.endpoint.base, cut) from cut

    def _once(self, request: Request, open_blob: Callable[[], BinaryIO] | None, limit: int) -> Answer:
        """One exchange, and further ones when it was not authorized. Raises :class:`Cut`."""
        for left in range(_PROOFS, -1, -1):
            proof = self._proof(request)
            answer = self._exchange(request, proof, open_blob, limit)
            if answer.status != 401 or not left:
                break
            if not self.authority.challenged(self.endpoint, answer, request.scopes, proof):
                break
        if answer.status in RETRY_STATUS and open_blob is None:
            raise Cut(_short(answer), answer.headers.get("retry-after"))
        return answer

    def _exchange(
        self, request: Request, proof: str | None, open_blob: Callable[[], BinaryIO] | None, limit: int
    ) -> Answer:
        if isinstance(request.body, Rest):
            assert open_blob is not None
            with open_blob() as blob:
                url = self.url(request)
                response = self._send(request, url, proof, {}, _pieces(blob, request.body))
        else:
            url, response = self._follow(request, proof, {}, request.body)
        return whole(url, response, limit)

    def _stream(self, request: Request, rest: Mapping[str, str]) -> BaseHTTPResponse:
        """An answer whose body is a file. Raises :class:`RefusedError` for an error that no further try mends."""
        for left in range(_PROOFS, -1, -1):
            proof = self._proof(request)
            url, response = self._follow(request, proof, rest, None)
            if response.status in (200, 206, 416) or response.status in RETRY_STATUS:
                return response
            answer = whole(url, response, DEFAULT.error_body)
            if answer.status != 401 or not left:
                break
            if not self.authority.challenged(self.endpoint, answer, request.scopes, proof):
                break
        raise refused(answer, Text("{url} could not be fetched", url=shown(answer.url)))

    def _follow(
        self, request: Request, proof: str | None, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[str, BaseHTTPResponse]:
        """The answer after redirects, and who gave it; our authorization stays with the registry (THREATS R12)."""
        url = self.url(request)
        for _ in range(self.http.limits.redirects + 1):
            response = self._send(request, url, proof, headers, body)
            if response.status not in REDIRECTS or request.method not in ("GET", "HEAD"):
                return url, response
            response.close()
            target = redirect_target(url, response.headers.get("Location", ""))
            if urlsplit(target).scheme != "https" and not self.endpoint.plain.allows(urlsplit(target).netloc):
                raise RegistryError(
                    Text("{url} redirects to an unprotected address", url=shown(url)), got=shown(target)
                )
            url = target
        raise RegistryError(
            Text("{url} redirects too often", url=shown(self.url(request))),
            want=f"at most {self.http.limits.redirects}",
        )

    def _send(
        self, request: Request, url: str, proof: str | None, headers: Mapping[str, str], body: Body | None
    ) -> BaseHTTPResponse:
        ours = origin(url) == origin(self.endpoint.base)
        secret = {"Authorization": proof} if proof is not None and ours else {}
        trust = self.endpoint.trust if ours else USUAL
        return self.http.exchange(request.method, url, {**request.headers, **headers, **secret}, body, trust)

    def _proof(self, request: Request) -> str | None:
        return self.authority.header(self.endpoint, request.scopes)


def settle(endpoint: Endpoint, http: Http) -> Endpoint:
    """``endpoint`` with the scheme its server speaks, where both http and https are allowed; asks it once.

    Raises :class:`RegistryError` when nothing listens on this machine.
    """
    if not endpoint.others:
        return endpoint
    for base in (endpoint.base, *endpoint.others):
        try:
            response = http.exchange("GET", f"{base}/v2/", {}, None, endpoint.trust)
        except FetchError:
            continue
        except Cut as cut:
            if not cut.reached and is_loopback(urlsplit(base).hostname or ""):
                raise _nobody(endpoint.host, cut) from cut  # here nothing comes up by waiting
            continue
        response.close()
        # a TLS server tells whom speaks http to it: Go and nginx say 400
        if response.status != 400 or "docker-distribution-api-version" in response.headers:
            return replace(endpoint, base=base, others=())
    return endpoint


def _nobody(host: str, cut: Cut) -> RegistryError:
    return RegistryError(
        Text("nothing listens at {host}", host=host),
        got=cut.reason,
        hints=[Text("start the registry, or check its port")],
        retryable=True,
    )


def unreachable(url: str, cut: Cut) -> RegistryError:
    """The error when no further try is made."""
    default = Text("check the network, a proxy, or set a mirror in [tool.trainload.mirrors]")
    text = Text("the registry at {url} does not serve what it should", url=shown(url))
    return RegistryError(
        text if cut.reached else Text("the registry at {url} cannot be reached", url=shown(url)),
        got=cut.reason,
        hints=cut.hints or (default,),
        retryable=cut.helps,
    )


@contextmanager
def told(url: str) -> Iterator[None]:
    """Errors of fetching as errors of the registry at ``url``."""
    try:
        yield
    except FetchError as error:
        raise RegistryError(
            error.text, got=error.got, want=error.want, hints=error.hints, retryable=error.retryable
        ) from error


def whole(url: str, response: BaseHTTPResponse, limit: int) -> Answer:
    """The answer with its body, at most ``limit`` bytes of it. Raises :class:`Cut`."""
    try:
        check_encoding(response, url)
        error = response.status >= 400
        # an answer to HEAD is read, too: until then the connection is not free, whoever takes it from the pool
        body = _bounded(response, url, DEFAULT.error_body if error else limit)
    except BaseException:
        response.close()
        raise
    response.release_conn()
    return Answer(
        url, response.status, {name.lower(): value for name, value in response.headers.itermerged()}, body
    )


def _bounded(response: BaseHTTPResponse, url: str, limit: int) -> bytes:
    parts, size = [], 0
    for part in chunks(response, 1 << 16):
        parts.append(part)
        size += len(part)
        if size > limit:
            raise RegistryError(
                Text("{url} sends more than it may", url=shown(url)), got=f"> {limit:,} bytes",
                want=f"at most {limit:,} bytes",
            )  # fmt: skip
    return b"".join(parts)


def _short(answer: Answer) -> str:
    return str(refused(answer, Text("")).got)


def _pieces(blob: BinaryIO, part: Rest) -> Iterator[bytes]:
    """The part of ``blob``. Raises :class:`RegistryError` when it has not so many bytes."""
    if part.start:
        blob.seek(part.start)
    left = part.length
    while left:
        piece = blob.read(min(_PIECE, left))
        if not piece:
            raise RegistryError(Text("a blob is shorter than its descriptor says"), want=f"{left} more bytes")
        left -= len(piece)
        yield piece

"""HTTP for fetching: bounded, verified, resumed; credentials never cross a host.

Redirects are followed here, not by urllib3, so that each hop is checked (THREATS R12, D15); bodies are read
with ``Accept-Encoding: identity``, so nothing is inflated behind our back (THREATS R16).
"""

from __future__ import annotations

import itertools
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from trainload.errors import FetchError, Text, printable
from trainload.limits import DEFAULT, Limits
from trainload.system.transfer import USUALLY, Retry, Transfer
from trainload.system.wire import (
    CHUNK,
    REDIRECTS,
    RETRY_STATUS,
    SECRET_HEADERS,
    USUAL,
    Body,
    Cut,
    Trust,
    chunks,
    count,
    cut_by,
    is_loopback,
    make_pool,
    origin,
    redirect_target,
    said,
    shown,
    version_of,
)
from trainload.values import dataclass, field

if TYPE_CHECKING:
    import urllib3
    from urllib3 import BaseHTTPResponse

T = TypeVar("T")

_NEXT = re.compile(r"<([^<>\s]{1,4096})>\s*;[^,]*\brel=\"?next\"?", re.IGNORECASE)

_SMALL_CHUNK = 1 << 16
"""After a cut: urllib3 hands out whole chunks only, so a link that dies often gets further with small ones."""

_PATIENCE = 10
"""Stall timeouts that an answer to a large body may take."""


class StatusError(FetchError):
    """The server answered, but not with the file."""

    code = ""
    """What hubs name their refusals by (``X-Error-Code``)."""

    def __init__(self, url: str, status: int, said: str, hints: Sequence[Text] = ()) -> None:
        super().__init__(
            Text("{url} could not be fetched", url=shown(url)),
            got=f"HTTP {status} {said}".strip(),
            hints=hints,
            retryable=status in RETRY_STATUS,
        )
        self.status = status


@dataclass(slots=True)
class Http:
    """A client for one process; safe for threads."""

    user_agent: str = "trainload"
    ca_file: str | None = None
    connect_timeout: float = 10.0
    stall_timeout: float = 30.0
    """Seconds without a byte before a transfer counts as cut."""
    retry: Retry = USUALLY
    limits: Limits = DEFAULT
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random
    offline: bool = False
    """Ask nobody: every request is an error."""
    proxies: Mapping[str, str] | None = None
    """Scheme → proxy; None: as the environment says."""
    _pools: dict[tuple[str, Trust], urllib3.PoolManager] = field(default_factory=dict)

    def get(self, url: str, *, limit: int, headers: Mapping[str, str] | None = None) -> bytes:
        """The body at ``url``, at most ``limit`` bytes. Raises :class:`FetchError`."""
        parts: list[bytes] = []
        self.download(url, parts.append, limit=limit, headers=headers, restart=parts.clear)
        return b"".join(parts)

    def page(self, url: str, *, limit: int, headers: Mapping[str, str] | None = None) -> tuple[bytes, str]:
        """As :meth:`get`, and where the next part of a list is, as the answer says it (RFC 8288), or nothing."""
        parts: list[bytes] = []
        said: list[str] = []

        def ask(rest: Mapping[str, str]) -> BaseHTTPResponse:
            response = self._open(url, {**(headers or {}), **rest})
            said[:] = [response.headers.get("Link", "")]
            return response

        try:
            self.receive(Transfer(url, parts.append, parts.clear, limit, None), ask)
        except Cut as cut:
            raise cut.error(url) from cut
        following = _NEXT.search(said[0])
        return b"".join(parts), following[1] if following else ""

    def size(self, url: str, headers: Mapping[str, str] | None = None) -> int | None:
        """Bytes of the file at ``url`` as its server says (HEAD); None when it does not say. Asks once only.

        A hint, not a fact. Raises :class:`FetchError` when the server cannot be reached or refuses.
        """
        try:
            response = self._open(url, headers or {}, "HEAD")
        except Cut as cut:
            raise cut.error(url) from cut
        response.close()
        if response.status != 200:
            raise StatusError(url, response.status, printable(response.reason or ""))
        length = count(response.headers.get("Content-Length", ""))
        return length if "Content-Encoding" not in response.headers else None

    def version(self, url: str) -> str | None:
        """What tells the file that is at ``url`` now from others, as its server says it (HEAD); asks once only."""
        try:
            response = self._open(url, {}, "HEAD")
        except (Cut, FetchError):
            return None
        response.close()
        return version_of(response.headers) if response.status == 200 else None

    def download(
        self,
        url: str,
        write: Callable[[bytes], object],
        *,
        limit: int,
        restart: Callable[[], object],
        headers: Mapping[str, str] | None = None,
        size: int | None = None,
    ) -> int:
        """Stream the body at ``url`` to ``write``; returns its bytes.

        A cut transfer is resumed by Range from the byte after the last one written; when the server does
        not honour it, ``restart`` is called and the body comes again from its first byte. ``size`` is the
        expected number of bytes, ``limit`` the largest accepted. Raises :class:`FetchError`; what ``write``
        raises is passed on.
        """
        return self.bring(Transfer(url, write, restart, limit, size), headers)

    def bring(
        self, transfer: Transfer, headers: Mapping[str, str] | None = None,
        told: Callable[[Mapping[str, str]], object] | None = None,
    ) -> int:  # fmt: skip
        """As :meth:`download`, of a transfer that may have begun elsewhere; it stands where it came to.

        ``told`` hears the head of each answer.
        """

        def ask(rest: Mapping[str, str]) -> BaseHTTPResponse:
            response = self._open(transfer.url, {**(headers or {}), **rest})
            if told is not None:
                told(response.headers)
            return response

        try:
            return self.receive(transfer, ask)
        except Cut as cut:
            raise cut.error(transfer.url) from cut

    def receive(self, transfer: Transfer, ask: Callable[[Mapping[str, str]], BaseHTTPResponse]) -> int:
        """Bring ``transfer`` to its end; returns its bytes. ``ask`` sends the request with the headers it is given.

        Raises the last :class:`Cut` when no further try is made, and what ``ask`` raises.
        """

        def once() -> None:
            fresh = transfer.done == 0 and not tried
            tried.append(True)
            self._receive(transfer, ask, CHUNK if fresh else _SMALL_CHUNK)

        tried: list[bool] = []
        self.persist(once, lambda: transfer.done)
        return transfer.done

    def persist(self, work: Callable[[], T], progress: Callable[[], int] = lambda: 0) -> T:
        """What ``work`` returns; after a :class:`Cut` it is called again as :class:`Retry` allows.

        ``progress`` that grew since the last cut starts the count of tries anew.
        """
        attempt = 0
        for tried in itertools.count(1):
            before = progress()
            try:
                return work()
            except Cut as cut:
                attempt = 0 if progress() > before else attempt + 1
                tries = self.retry.tries if cut.reached else min(self.retry.tries, self.retry.unreached)
                if attempt >= tries or tried >= self.retry.most or not cut.helps:
                    raise
                self.sleep(self.retry.pause(max(0, attempt - 1), cut.retry_after, self.jitter))
        raise AssertionError("the count is endless")

    def exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: Body | None = None, trust: Trust = USUAL
    ) -> BaseHTTPResponse:
        """One request and the head of its answer, whatever its status; redirects are not followed.

        The caller reads the body to its end or closes it. Raises :class:`Cut`, :class:`FetchError` when offline.
        """
        import urllib3

        if self.offline:
            raise FetchError(
                Text("{url} is not here, and nothing is fetched offline", url=shown(url)),
                hints=[Text("run again with a network")],
            )
        connect, read = self.connect_timeout, self.stall_timeout
        if body is not None and not isinstance(body, bytes):
            # a socket's time limit holds for one piece sent: a slow line must get a whole piece through in it;
            # and who took gigabytes hashes or moves them before it answers
            connect, read = max(connect, self.stall_timeout), read * _PATIENCE
        try:
            return self._pool(url, trust).urlopen(
                method,
                url,
                body=body,
                headers={"User-Agent": self.user_agent, "Accept-Encoding": "identity", **headers},
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                timeout=urllib3.Timeout(connect=connect, read=read),
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise cut_by(error) from error

    def _receive(
        self, transfer: Transfer, ask: Callable[[Mapping[str, str]], BaseHTTPResponse], chunk: int
    ) -> None:
        """One request and its body, as far as it comes. Raises :class:`Cut` when it does not come whole."""
        response = ask(transfer.headers())
        try:
            _check(response, transfer)
            for data in chunks(response, chunk):
                transfer.take(data)
        except BaseException:
            response.close()  # unread bytes must not be taken for the next answer
            raise
        response.release_conn()
        if transfer.size is not None and transfer.done < transfer.size:
            raise Cut(f"{transfer.done} of {transfer.size} bytes")

    def _open(self, url: str, headers: Mapping[str, str], method: str = "GET") -> BaseHTTPResponse:
        first = url
        for _ in range(self.limits.redirects + 1):
            response = self.exchange(method, url, headers)
            if response.status not in REDIRECTS:
                return response
            response.close()
            target = redirect_target(url, response.headers.get("Location", ""))
            if origin(target) != origin(url):
                headers = {name: value for name, value in headers.items() if name.lower() not in SECRET_HEADERS}
            url = target
        raise FetchError(
            Text("{url} redirects too often", url=shown(first)), want=f"at most {self.limits.redirects}"
        )

    def _pool(self, url: str, trust: Trust) -> urllib3.PoolManager:
        import urllib.request  # slow to import, and most builds ask nobody

        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise FetchError(Text("{url} is not an http address", url=shown(url)))
        direct = is_loopback(parts.hostname) or urllib.request.proxy_bypass(parts.hostname)
        proxies = urllib.request.getproxies() if self.proxies is None else self.proxies
        proxy = "" if direct else proxies.get(parts.scheme, proxies.get("all", ""))
        key = (proxy, trust)
        if key not in self._pools:
            self._pools[key] = make_pool(proxy, self.ca_file, trust)
        return self._pools[key]


def _check(response: BaseHTTPResponse, transfer: Transfer) -> None:
    """Accept the answer, or say why not; on return the body continues where the transfer stands."""
    status = response.status
    if status in RETRY_STATUS:
        raise Cut(f"HTTP {status} {said(response)}".strip(), response.headers.get("Retry-After"))
    if status == 416 and transfer.done:
        raise transfer.refuse_part()
    if status not in (200, 206):
        reason = f"{printable(response.reason or '')} {said(response)}"
        refused = StatusError(transfer.url, status, reason, _hints(status))
        refused.code = printable(response.headers.get("X-Error-Code", ""))[:100]
        raise refused
    transfer.accept(response)


def _hints(status: int) -> list[Text]:
    if status in (401, 403):
        return [Text("the server wants a user and password, or refuses this network")]
    if status == 407:
        return [Text("check the proxy in HTTP_PROXY or HTTPS_PROXY, with its user and password")]
    return []


__all__ = [
    "CHUNK",
    "Cut",
    "Http",
    "Retry",
    "StatusError",
    "Transfer",
    "Trust",
    "origin",
    "redirect_target",
    "shown",
]

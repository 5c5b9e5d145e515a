"""HTTP for fetching: bounded, verified, resumed; credentials never cross a host.

Redirects are followed here, not by urllib3, so that each hop is checked (THREATS R12, D15); bodies are read
with ``Accept-Encoding: identity``, so nothing is inflated behind our back (THREATS R16).
"""

from __future__ import annotations

import random
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from trainload.errors import FetchError, Text, printable
from trainload.limits import DEFAULT, Limits

if TYPE_CHECKING:
    import urllib3
    from urllib3 import BaseHTTPResponse

CHUNK = 1 << 20
_RETRY_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Retry:
    """When a request is tried again; seconds."""

    tries: int = 5
    first: float = 1.0
    cap: float = 30.0
    longest_retry_after: float = 120.0

    def pause(self, attempt: int, retry_after: str | None, jitter: Callable[[], float]) -> float:
        """Seconds before try ``attempt`` + 1 (0-based); a server's Retry-After wins up to its bound."""
        if retry_after is not None and retry_after.strip().isdigit():
            return min(float(retry_after), self.longest_retry_after)
        return min(self.cap, self.first * 2.0**attempt) * jitter()


@dataclass(slots=True)
class Http:
    """A client for one process; safe for threads."""

    user_agent: str = "trainload"
    ca_file: str | None = None
    connect_timeout: float = 10.0
    stall_timeout: float = 30.0
    """Seconds without a byte before a transfer counts as cut."""
    retry: Retry = Retry()
    limits: Limits = DEFAULT
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random
    proxies: Mapping[str, str] = field(default_factory=urllib.request.getproxies)
    _pools: dict[str, urllib3.PoolManager] = field(default_factory=dict)

    def get(self, url: str, *, limit: int, headers: Mapping[str, str] | None = None) -> bytes:
        """The body at ``url``, at most ``limit`` bytes. Raises :class:`FetchError`."""
        parts: list[bytes] = []
        self.download(url, parts.append, limit=limit, headers=headers, restart=parts.clear)
        return b"".join(parts)

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
        expected number of bytes, ``limit`` the largest accepted. Raises :class:`FetchError`.
        """
        import urllib3

        done = 0
        tag: str | None = None
        for attempt in range(self.retry.tries):
            last = attempt + 1 == self.retry.tries
            retry_after: str | None = None
            try:
                response = self._open(url, {**(headers or {}), **_resume(done, tag)})
                try:
                    if response.status in _RETRY_STATUS and not last:
                        retry_after = response.headers.get("Retry-After")
                        raise _Again(f"HTTP {response.status}")
                    self._check(response, url)
                    if done and not _resumes(response, done):
                        restart()
                        done = 0
                    tag = response.headers.get("ETag")
                    for chunk in response.stream(CHUNK, decode_content=False):
                        done += len(chunk)
                        if done > (limit if size is None else size):
                            raise FetchError(
                                Text("{url} sends more than it may", url=_shown(url)),
                                got=f"> {done - len(chunk)} bytes",
                                want=f"{size} bytes" if size is not None else f"at most {limit} bytes",
                            )
                        write(chunk)
                finally:
                    response.release_conn()
                if size is not None and done < size:
                    raise _Again(f"{done} of {size} bytes")
            except (_Again, urllib3.exceptions.HTTPError, OSError) as error:
                if last:
                    raise FetchError(
                        Text("{url} could not be fetched", url=_shown(url)),
                        got=_reason(error),
                        hints=[Text("check the network, a proxy, or set a mirror in [tool.trainload.mirrors]")],
                        retryable=True,
                    ) from error
                self.sleep(self.retry.pause(attempt, retry_after, self.jitter))
            else:
                return done
        raise AssertionError("unreachable: the last try returns or raises")

    def _open(self, url: str, headers: Mapping[str, str]) -> BaseHTTPResponse:
        import urllib3

        for _ in range(self.limits.redirects + 1):
            timeout = urllib3.Timeout(connect=self.connect_timeout, read=self.stall_timeout)
            response = self._pool(url).request(
                "GET",
                url,
                headers={"User-Agent": self.user_agent, "Accept-Encoding": "identity", **headers},
                redirect=False,
                retries=False,
                preload_content=False,
                timeout=timeout,
            )
            if response.status not in _REDIRECTS:
                return response
            response.release_conn()
            url = redirect_target(url, response.headers.get("Location", ""))
        raise FetchError(
            Text("{url} redirects too often", url=_shown(url)), want=f"at most {self.limits.redirects}"
        )

    def _check(self, response: BaseHTTPResponse, url: str) -> None:
        if response.status not in (200, 206):
            raise FetchError(
                Text("{url} could not be fetched", url=_shown(url)),
                got=f"HTTP {response.status} {printable(response.reason or '')}".strip(),
                retryable=response.status in _RETRY_STATUS,
            )
        encoding = response.headers.get("Content-Encoding", "identity").lower()
        if encoding not in ("identity", ""):
            raise FetchError(Text("{url} sends a content encoding nobody asked for", url=_shown(url)), got=encoding)

    def _pool(self, url: str) -> urllib3.PoolManager:
        import urllib3

        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise FetchError(Text("{url} is not an http address", url=_shown(url)))
        direct = urllib.request.proxy_bypass(parts.hostname)
        proxy = "" if direct else self.proxies.get(parts.scheme, self.proxies.get("all", ""))
        if proxy not in self._pools:
            if proxy:
                self._pools[proxy] = urllib3.ProxyManager(proxy, ca_certs=self.ca_file, maxsize=8)
            else:
                self._pools[proxy] = urllib3.PoolManager(ca_certs=self.ca_file, maxsize=8)
        return self._pools[proxy]


class _Again(Exception):
    """The server asks, or the bytes ask, to try once more."""


def redirect_target(url: str, location: str) -> str:
    """Where a redirect leads. Raises :class:`FetchError` for one that must not be followed (THREATS R12, D15)."""
    if not location or any(ord(c) <= 32 or ord(c) == 127 for c in location):
        raise FetchError(Text("{url} redirects to an address with forbidden characters", url=_shown(url)))
    target = urljoin(url, location)
    if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
        raise FetchError(
            Text("{url} redirects from https to an unprotected address", url=_shown(url)), got=_shown(target)
        )
    return target


def _resume(done: int, tag: str | None) -> dict[str, str]:
    if not done:
        return {}
    return {"Range": f"bytes={done}-", **({"If-Range": tag} if tag and not tag.startswith("W/") else {})}


def _resumes(response: BaseHTTPResponse, done: int) -> bool:
    """Whether a 206 continues exactly where we stopped (THREATS R17)."""
    return response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {done}-")


def _reason(error: Exception) -> str:
    return printable(error)[:500] or type(error).__name__


def _shown(url: str) -> str:
    """``url`` without user, password and query, which may carry a token (THREATS C09)."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" if parts.scheme else printable(url)

"""HTTP for fetching: bounded, verified, resumed; credentials never cross a host.

Redirects are followed here, not by urllib3, so that each hop is checked (THREATS R12, D15); bodies are read
with ``Accept-Encoding: identity``, so nothing is inflated behind our back (THREATS R16).
"""

from __future__ import annotations

import itertools
import random
import re
import ssl
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin, urlsplit

from trainload.errors import FetchError, Text, printable
from trainload.limits import DEFAULT, Limits

if TYPE_CHECKING:
    import urllib3
    from urllib3 import BaseHTTPResponse

CHUNK = 1 << 20
_SMALL_CHUNK = 1 << 16
"""After a cut: urllib3 hands out whole chunks only, so a link that dies often gets further with small ones."""

_SHOWN_BODY = 1024  # bytes of an error's body that are read and told (THREATS R18)
_RETRY_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)")  # RFC 9110 § 14.4


@dataclass(frozen=True, slots=True)
class Retry:
    """When a request is tried again; seconds."""

    tries: int = 5
    """In a row without a byte of progress."""
    most: int = 100
    """Of one transfer in all, so that no server can keep us for ever."""
    first: float = 1.0
    cap: float = 30.0
    longest_retry_after: float = 120.0

    def pause(self, attempt: int, retry_after: str | None, jitter: Callable[[], float]) -> float:
        """Seconds before try ``attempt`` + 1 (0-based); a server's Retry-After wins up to its bound."""
        wanted = _count((retry_after or "").strip())
        if wanted is not None:
            return min(float(wanted), self.longest_retry_after)
        return min(self.cap, self.first * 2.0**attempt) * jitter()


class StatusError(FetchError):
    """The server answered, but not with the file."""

    def __init__(self, url: str, status: int, said: str, hints: Sequence[Text] = ()) -> None:
        super().__init__(
            Text("{url} could not be fetched", url=shown(url)),
            got=f"HTTP {status} {said}".strip(),
            hints=hints,
            retryable=status in _RETRY_STATUS,
        )
        self.status = status


@dataclass(slots=True)
class _Transfer:
    """One body on its way; survives cut connections."""

    url: str
    write: Callable[[bytes], object]
    restart: Callable[[], object]
    limit: int
    size: int | None
    done: int = 0
    tag: str | None = None
    """The server's strong ETag of the bytes so far."""

    def headers(self) -> dict[str, str]:
        if not self.done:
            return {}
        return {"Range": f"bytes={self.done}-", **({"If-Range": self.tag} if self.tag else {})}

    def again(self) -> None:
        """Forget the bytes so far."""
        if self.done:
            self.restart()
        self.done, self.tag = 0, None

    def take(self, chunk: bytes) -> None:
        self.done += len(chunk)
        if self.done > (self.limit if self.size is None else self.size):
            raise FetchError(
                Text("{url} sends more than it may", url=shown(self.url)),
                got=f"> {self.done - len(chunk)} bytes",
                want=f"{self.size} bytes" if self.size is not None else f"at most {self.limit} bytes",
            )
        self.write(chunk)


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
    offline: bool = False
    """Ask nobody: every request is an error."""
    proxies: Mapping[str, str] = field(default_factory=urllib.request.getproxies)
    _pools: dict[str, urllib3.PoolManager] = field(default_factory=dict)

    def get(self, url: str, *, limit: int, headers: Mapping[str, str] | None = None) -> bytes:
        """The body at ``url``, at most ``limit`` bytes. Raises :class:`FetchError`."""
        parts: list[bytes] = []
        self.download(url, parts.append, limit=limit, headers=headers, restart=parts.clear)
        return b"".join(parts)

    def size(self, url: str, headers: Mapping[str, str] | None = None) -> int | None:
        """Bytes of the file at ``url`` as its server says (HEAD); None when it does not say. Asks once only.

        A hint, not a fact. Raises :class:`FetchError` when the server cannot be reached or refuses.
        """
        try:
            response = self._open(url, headers or {}, "HEAD")
        except _Again as cut:
            raise cut.error(url) from cut
        response.close()
        if response.status != 200:
            raise StatusError(url, response.status, printable(response.reason or ""))
        length = _count(response.headers.get("Content-Length", ""))
        return length if "Content-Encoding" not in response.headers else None

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
        transfer = _Transfer(url, write, restart, limit, size)
        attempt = 0
        for tried in itertools.count(1):
            before = transfer.done
            chunk = CHUNK if attempt == 0 and before == 0 else _SMALL_CHUNK
            try:
                self._receive(transfer, headers or {}, chunk)
            except _Again as cut:
                attempt = 0 if transfer.done > before else attempt + 1
                if attempt >= self.retry.tries or tried >= self.retry.most or not cut.helps:
                    raise cut.error(url) from cut
                self.sleep(self.retry.pause(max(0, attempt - 1), cut.retry_after, self.jitter))
            else:
                break
        return transfer.done

    def _receive(self, transfer: _Transfer, headers: Mapping[str, str], chunk: int) -> None:
        """One request and its body, as far as it comes. Raises :class:`_Again` when it does not come whole."""
        response = self._open(transfer.url, {**headers, **transfer.headers()})
        try:
            self._check(response, transfer)
            for data in _chunks(response, chunk):
                transfer.take(data)
        except BaseException:
            response.close()  # unread bytes must not be taken for the next answer
            raise
        response.release_conn()
        if transfer.size is not None and transfer.done < transfer.size:
            raise _Again(f"{transfer.done} of {transfer.size} bytes")

    def _open(self, url: str, headers: Mapping[str, str], method: str = "GET") -> BaseHTTPResponse:
        first = url
        for _ in range(self.limits.redirects + 1):
            response = self._request(method, url, headers)
            if response.status not in _REDIRECTS:
                return response
            response.close()
            target = redirect_target(url, response.headers.get("Location", ""))
            if origin(target) != origin(url):
                headers = {name: value for name, value in headers.items() if name.lower() not in _SECRET_HEADERS}
            url = target
        raise FetchError(
            Text("{url} redirects too often", url=shown(first)), want=f"at most {self.limits.redirects}"
        )

    def _request(self, method: str, url: str, headers: Mapping[str, str]) -> BaseHTTPResponse:
        import urllib3

        if self.offline:
            raise FetchError(
                Text("{url} is not here, and nothing is fetched offline", url=shown(url)),
                hints=[Text("run again with a network")],
            )
        pool = self._pool(url)
        try:
            return pool.request(
                method,
                url,
                headers={"User-Agent": self.user_agent, "Accept-Encoding": "identity", **headers},
                redirect=False,
                retries=False,
                preload_content=False,
                timeout=urllib3.Timeout(connect=self.connect_timeout, read=self.stall_timeout),
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _again(error) from error

    def _check(self, response: BaseHTTPResponse, transfer: _Transfer) -> None:
        """Accept the answer, or say why not; on return the body continues where the transfer stands."""
        status = response.status
        if status in _RETRY_STATUS:
            raise _Again(f"HTTP {status} {_body(response)}".strip(), response.headers.get("Retry-After"))
        if status == 416 and transfer.done:
            transfer.again()
            raise _Again("HTTP 416: the part is no part of the file any more")
        if status not in (200, 206):
            raise StatusError(
                transfer.url, status, f"{printable(response.reason or '')} {_body(response)}", _hints(status)
            )
        encoding = response.headers.get("Content-Encoding", "identity").lower()
        if encoding not in ("identity", ""):
            text = Text("{url} sends a content encoding nobody asked for", url=shown(transfer.url))
            raise FetchError(text, got=encoding)
        tag = response.headers.get("ETag", "")
        strong = tag if tag and not tag.startswith("W/") else None
        if status == 206:
            match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
            same = transfer.tag is None or strong is None or strong == transfer.tag
            fits = match is not None and (transfer.size is None or match[3] in ("*", str(transfer.size)))
            if not transfer.done or match is None or int(match[1]) != transfer.done or not same or not fits:
                transfer.again()  # THREATS R17
                raise _Again("a part that does not continue the file")
        else:
            transfer.again()
        transfer.tag = strong
        _check_length(response, transfer)

    def _pool(self, url: str) -> urllib3.PoolManager:
        import urllib3

        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise FetchError(Text("{url} is not an http address", url=shown(url)))
        direct = urllib.request.proxy_bypass(parts.hostname)
        proxy = "" if direct else self.proxies.get(parts.scheme, self.proxies.get("all", ""))
        if proxy not in self._pools:
            if proxy:
                self._pools[proxy] = _proxy_manager(proxy, self.ca_file)
            else:
                self._pools[proxy] = urllib3.PoolManager(ca_certs=self.ca_file, maxsize=8)
        return self._pools[proxy]


class _Again(Exception):
    """The body did not come whole; ``helps``: another try may bring it."""

    def __init__(
        self, reason: str, retry_after: str | None = None, *, helps: bool = True, hints: Sequence[Text] = ()
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after
        self.helps = helps
        self.hints = tuple(hints)

    def error(self, url: str) -> FetchError:
        default = Text("check the network, a proxy, or set a mirror in [tool.trainload.mirrors]")
        return FetchError(
            Text("{url} could not be fetched", url=shown(url)),
            got=self.reason,
            hints=self.hints or (default,),
            retryable=self.helps,
        )


def _again(error: Exception) -> _Again:
    """What a failed connection means, and whether trying again can help."""
    import urllib3.exceptions as failures

    cause = error.original_error if isinstance(error, failures.ProxyError) else error
    reason = printable(cause)[:500] or type(cause).__name__
    if isinstance(cause, failures.SSLError | ssl.SSLError):
        hints = [Text("the certificate is not trusted here: check this machine's clock and its certificates")]
        return _Again(reason, helps=False, hints=hints)
    if isinstance(error, failures.ProxyError) or "407" in reason:
        hint = Text("check the proxy in HTTP_PROXY or HTTPS_PROXY, with its user and password")
        return _Again(f"the proxy refuses: {reason}", helps="407" not in reason, hints=[hint])
    if isinstance(cause, failures.ReadTimeoutError):
        return _Again("no byte came for too long")
    if isinstance(cause, failures.NameResolutionError):
        return _Again(reason, hints=[Text("the name is not known here: check the network, DNS or a proxy")])
    return _Again(reason)


def _chunks(response: BaseHTTPResponse, size: int) -> Iterator[bytes]:
    import urllib3

    stream = response.stream(size, decode_content=False)
    while True:
        try:
            data = next(stream, b"")
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _again(error) from error
        if not data:
            return
        yield data


def _check_length(response: BaseHTTPResponse, transfer: _Transfer) -> None:
    """Refuse a body that says beforehand that it is not the one expected (THREATS R02)."""
    length = _count(response.headers.get("Content-Length", ""))
    if length is None:
        return
    whole = transfer.done + length
    if (whole != transfer.size) if transfer.size is not None else (whole > transfer.limit):
        raise FetchError(
            Text("{url} has another size than it should", url=shown(transfer.url)),
            got=f"{whole} bytes",
            want=f"{transfer.size} bytes" if transfer.size is not None else f"at most {transfer.limit} bytes",
        )


def _count(text: str) -> int | None:
    """A header's number; None for anything else, other scripts' digits and endless ones too."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _proxy_manager(proxy: str, ca_file: str | None) -> urllib3.ProxyManager:
    import urllib3

    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise FetchError(
            Text("the proxy {proxy} cannot be used", proxy=shown(proxy)), want="an http or https proxy"
        )
    secret = None
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        secret = urllib3.make_headers(proxy_basic_auth=pair)
    address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    return urllib3.ProxyManager(address, proxy_headers=secret, ca_certs=ca_file, maxsize=8)


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port: what credentials are bound to (THREATS D8)."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def redirect_target(url: str, location: str) -> str:
    """Where a redirect leads. Raises :class:`FetchError` for one that must not be followed (THREATS R12, D15)."""
    if not location or any(ord(c) <= 32 or ord(c) == 127 for c in location):
        raise FetchError(Text("{url} redirects to an address with forbidden characters", url=shown(url)))
    target = urljoin(url, location)
    if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
        raise FetchError(
            Text("{url} redirects from https to an unprotected address", url=shown(url)), got=shown(target)
        )
    return target


def _body(response: BaseHTTPResponse) -> str:
    """The first bytes of an error's body, harmless; a page for a browser is not told."""
    import urllib3

    try:
        data = response.read(_SHOWN_BODY, decode_content=False)
    except (urllib3.exceptions.HTTPError, OSError):
        return ""
    plain = b"<" not in data[:200] and "Content-Encoding" not in response.headers
    return printable(" ".join(data.decode("utf-8", "replace").split())) if plain else ""


def _hints(status: int) -> list[Text]:
    if status in (401, 403):
        return [Text("the server wants a user and password, or refuses this network")]
    if status == 407:
        return [Text("check the proxy in HTTP_PROXY or HTTPS_PROXY, with its user and password")]
    return []


def shown(url: str) -> str:
    """``url`` without user, password and query, which may carry a token (THREATS C09)."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" if parts.scheme else printable(url)

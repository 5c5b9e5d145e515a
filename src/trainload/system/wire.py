"""Connections: pools, proxies and certificates, and what a connection that failed means.

One request and its answer is all that is known here; redirects, retries and resuming are rules above it
(``http.py``, ``transfer.py`` and the registry's client).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urljoin, urlsplit

from trainload.errors import FetchError, Text, printable
from trainload.values import dataclass

if TYPE_CHECKING:
    import urllib3
    from urllib3 import BaseHTTPResponse

CHUNK = 1 << 20
REDIRECTS = frozenset({301, 302, 303, 307, 308})
RETRY_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})
_AT_ONCE = 16  # connections kept to one host: four transfers, eight questions, and some room
_PROXY_REFUSES = re.compile(r"\b407\b")
"""In what http.client says of a tunnel; not in a port such as 40709."""
_SETTLED = 60.0  # seconds after a change in which its time may stand for another one, too
_SHOWN_BODY = 1024  # bytes of an error's body that are read and told (THREATS R18)

Body = bytes | Iterable[bytes | memoryview]
"""What a request sends; an iterable comes with a Content-Length header."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose certificates a server may show."""

    authorities: tuple[str, ...] = ()
    """PEM files beside the machine's own authorities."""
    verify: bool = True
    client: tuple[str, str] | None = None
    """Certificate and key that we show, PEM files."""


USUAL = Trust()


class UnreachedError(FetchError):
    """There was no connection: nobody listens, the name is not known, or there is no network."""


class Cut(Exception):
    """The answer did not come whole; ``helps``: another try may bring it, ``reached``: there was a connection."""

    def __init__(
        self, reason: str, retry_after: str | None = None, *, helps: bool = True, reached: bool = True,
        hints: Sequence[Text] = (),
    ) -> None:  # fmt: skip
        super().__init__(reason)
        self.reached = reached
        self.reason = reason
        self.retry_after = retry_after
        self.helps = helps
        self.hints = tuple(hints)

    def error(self, url: str) -> FetchError:
        """As the user gets it, when no further try is made."""
        default = Text("check the network, a proxy, or set a mirror in [tool.trainload.mirrors]")
        return (FetchError if self.reached else UnreachedError)(
            Text("{url} could not be fetched", url=shown(url)),
            got=self.reason,
            hints=self.hints or (default,),
            retryable=self.helps,
        )


def cut_by(error: Exception) -> Cut:
    """What a failed connection means, and whether trying again can help."""
    import ssl

    import urllib3.exceptions as failures

    cause = error.original_error if isinstance(error, failures.ProxyError) else error
    reason = printable(cause)[:500] or type(cause).__name__
    if isinstance(cause, failures.SSLError | ssl.SSLError):
        hints = [Text("the certificate is not trusted here: check this machine's clock and its certificates")]
        return Cut(reason, helps=False, hints=hints)
    unreached = (failures.NewConnectionError, failures.ConnectTimeoutError)
    refused = _PROXY_REFUSES.search(reason) is not None
    if isinstance(error, failures.ProxyError) or refused:
        hint = Text("check the proxy in HTTP_PROXY or HTTPS_PROXY, with its user and password")
        if isinstance(cause, unreached):
            return Cut(f"the proxy cannot be reached: {reason}", reached=False, hints=[hint])
        return Cut(f"the proxy refuses: {reason}", helps=not refused, hints=[hint])
    if isinstance(cause, failures.ReadTimeoutError):
        return Cut("no byte came for too long")
    if isinstance(cause, failures.NameResolutionError):
        hint = Text("the name is not known here: check the network, DNS or a proxy")
        return Cut(reason, reached=False, hints=[hint])
    return Cut(reason, reached=not isinstance(cause, unreached))


def chunks(response: BaseHTTPResponse, size: int) -> Iterator[bytes]:
    """The body as it comes, undecoded. Raises :class:`Cut`."""
    import urllib3

    stream = response.stream(size, decode_content=False)
    while True:
        try:
            data = next(stream, b"")
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise cut_by(error) from error
        if not data:
            return
        yield data


def said(response: BaseHTTPResponse) -> str:
    """The first bytes of an error's body, harmless; a page for a browser is not told."""
    import urllib3

    try:
        data = response.read(_SHOWN_BODY, decode_content=False)
    except (urllib3.exceptions.HTTPError, OSError):
        return ""
    plain = b"<" not in data[:200] and "Content-Encoding" not in response.headers
    return printable(" ".join(data.decode("utf-8", "replace").split())) if plain else ""


def count(text: str) -> int | None:
    """A header's number; None for anything else, other scripts' digits and endless ones too."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def version_of(headers: Mapping[str, str]) -> str | None:
    """What tells a file from the others that were at its address (RFC 9110 § 8.8), as an answer's head says it.

    A strong ETag, or its size and the time of a change that is no longer young; None when neither is said.
    """
    from email.utils import parsedate_to_datetime  # few files have no hash

    tag = headers.get("ETag", "")
    if tag and not tag.startswith("W/"):
        return f"ETag {tag}"
    changed, now, size = (headers.get(name, "") for name in ("Last-Modified", "Date", "Content-Length"))
    try:
        age = (parsedate_to_datetime(now) - parsedate_to_datetime(changed)).total_seconds()
    except (ValueError, TypeError):  # TypeError: one of them without a zone
        return None
    return f"{changed}, {size} bytes" if age >= _SETTLED and count(size) is not None else None


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port: what credentials are bound to (THREATS D8)."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def is_loopback(host: str) -> bool:
    """Whether ``host`` can only be this machine; such a server is never asked through a proxy, as in Go."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


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


def shown(url: str) -> str:
    """``url`` without user, password and query, which may carry a token (THREATS C09)."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" if parts.scheme else printable(url)


def make_pool(proxy: str, ca_file: str | None, trust: Trust) -> urllib3.PoolManager:
    """Connections through ``proxy`` ("": straight). Raises :class:`FetchError` for a proxy that cannot be used."""
    import urllib3

    settings = _tls(ca_file, trust)
    if not proxy:
        return urllib3.PoolManager(maxsize=_AT_ONCE, **settings)
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
    return urllib3.ProxyManager(address, proxy_headers=secret, maxsize=_AT_ONCE, **settings)


def _tls(ca_file: str | None, trust: Trust) -> dict[str, Any]:
    if trust == USUAL:
        return {"ca_certs": ca_file}
    import ssl

    from urllib3.util.ssl_ import create_urllib3_context

    context = create_urllib3_context()
    if not trust.verify:
        import urllib3

        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # the user named this server
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return {"ssl_context": context, "cert_reqs": "CERT_NONE", "assert_hostname": False}
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        if ca_file is not None:
            context.load_verify_locations(ca_file)
        else:
            context.load_default_certs()
        for file in trust.authorities:
            context.load_verify_locations(file)
        if trust.client is not None:
            context.load_cert_chain(*trust.client)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join((*trust.authorities, *(trust.client or ())))
        raise FetchError(Text("{file} cannot be used as certificates", file=files), got=str(error)) from error
    return {"ssl_context": context}

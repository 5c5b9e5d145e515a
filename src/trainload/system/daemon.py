"""HTTP to a daemon: over a socket of this machine, over TCP with or without TLS, or through ssh.

One connection per exchange: an answer may be a stream that lasts for days, and a connection that was upgraded to a
raw one (``attach``) is never HTTP again. Neither proxies nor redirects are followed: a daemon has none.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import urlsplit

from trainload.errors import Text, TrainloadError
from trainload.values import dataclass, field


class DaemonError(TrainloadError):
    """The daemon cannot be reached, or the connection broke."""


@dataclass(frozen=True, slots=True)
class Tls:
    """Files in PEM."""

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    verify: bool = True


@dataclass(frozen=True, slots=True)
class Address:
    """Where a daemon listens: ``unix:///run/docker.sock``, ``tcp://host:2376``, ``ssh://user@host``."""

    url: str
    tls: Tls | None = None
    dial: tuple[str, ...] = ("docker", "system", "dial-stdio")
    """What connects standard streams to the daemon on the far side of ssh."""

    @property
    def here(self) -> bool:
        """It is on this machine: it sees our folders and our loopback."""
        return self.url.startswith("unix://")


class Body:
    """The body of an answer; a break in it is an error of ours."""

    def __init__(self, response: http.client.HTTPResponse, address: Address) -> None:
        self._response, self._address = response, address

    def read(self, size: int = -1, /) -> bytes:
        """As much as asked for, unless it ends before."""
        with _told(self._address):
            data = self._response.read() if size < 0 else self._response.read(size)
            if self._response.length and len(data) < size:  # http.client takes a cut body for its end
                raise http.client.IncompleteRead(data, self._response.length)
            return data

    def read1(self, size: int) -> bytes:
        """What is there, at least one byte unless it ended."""
        with _told(self._address):
            return self._response.read1(size)

    def close(self) -> None:
        self._response.close()


@dataclass(slots=True)
class Answer:
    """The body is to be read, or closed."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: Body
    _connection: http.client.HTTPConnection | None = field(default=None, repr=False)

    def close(self) -> None:
        self.body.close()
        if self._connection is not None:
            self._connection.close()


@dataclass(slots=True)
class Raw:
    """A connection after its upgrade: bytes both ways."""

    sock: socket.socket
    ahead: bytes
    """What came together with the answer."""

    def close(self) -> None:
        self.sock.close()

    def finish(self) -> None:
        """We say no more; what was said is heard."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def end(self) -> None:
        """Nothing goes either way any more; whoever reads sees the end."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)


def pair() -> tuple[Raw, Raw]:
    """Two ends of one connection, both ours."""
    one, other = socket.socketpair()
    return Raw(one, b""), Raw(other, b"")


def exchange(
    address: Address,
    method: str,
    path: str,
    body: bytes | Iterable[bytes] | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> Answer:
    """One request; ``timeout`` in seconds holds for each wait. Raises :class:`DaemonError`."""
    connection = _Connection(address, timeout)
    chunked = body is not None and not isinstance(body, bytes)
    with _told(address):
        try:
            # one that says no before it has read all may be heard although we could not say all
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, path, body, dict(headers or {}), encode_chunked=chunked)
            response = connection.getresponse()
        except BaseException:
            connection.close()
            raise
    names = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, names, Body(response, address), connection)


def upgrade(
    address: Address, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> Raw | Answer:
    """POST that turns the connection into a raw one; an answer when the daemon says no."""
    connection = _Connection(address, None)
    asked = {**(headers or {}), "Connection": "Upgrade", "Upgrade": "tcp"}
    with _told(address):
        try:
            connection.request("POST", path, body, asked)
            response = connection.getresponse()
        except BaseException:
            connection.close()
            raise
    if response.status not in (101, 200):
        names = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, names, Body(response, address), connection)
    sock = connection.sock
    return Raw(sock, _ahead(sock, response))


def _ahead(sock: socket.socket, response: http.client.HTTPResponse) -> bytes:
    """What was read together with the answer's head, or is there already; nothing is waited for."""
    sock.setblocking(False)
    try:
        return bytes(response.fp.peek())
    finally:
        sock.setblocking(True)


class _Connection(http.client.HTTPConnection):
    def __init__(self, address: Address, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._address = address
        self._program: subprocess.Popen[bytes] | None = None

    def connect(self) -> None:
        parts = urlsplit(self._address.url)
        if parts.scheme == "unix":
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(self.timeout)
            self.sock.connect(parts.path or parts.netloc)
        elif parts.scheme == "ssh":
            self._through_ssh(parts.username, parts.hostname or "", parts.port)
        else:
            host, port = parts.hostname or "localhost", parts.port or (2376 if self._address.tls else 2375)
            self.sock = socket.create_connection((host, port), self.timeout)
            if self._address.tls is not None:
                self.sock = _context(self._address.tls).wrap_socket(self.sock, server_hostname=host)

    def _through_ssh(self, user: str | None, host: str, port: int | None) -> None:
        ours, theirs = socket.socketpair()
        words = [
            "ssh",
            "-T",
            "-o",
            "BatchMode=yes",
            *(["-l", user] if user else []),
            *(["-p", str(port)] if port else []),
        ]
        self._program = subprocess.Popen(
            [*words, "--", host, *self._address.dial], stdin=theirs.fileno(), stdout=theirs.fileno()
        )
        theirs.close()
        ours.settimeout(self.timeout)
        self.sock = ours

    def close(self) -> None:
        super().close()
        if self._program is not None:
            self._program.terminate()
            self._program.wait()


def _context(tls: Tls) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.certificate is not None:
        context.load_cert_chain(tls.certificate, tls.key)
    return context


@contextlib.contextmanager
def _told(address: Address) -> Iterator[None]:
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DaemonError(
            Text("{address} cannot be reached: {reason}", address=address.url, reason=reason), retryable=True
        ) from error

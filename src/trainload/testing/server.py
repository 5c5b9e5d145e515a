"""A web server on loopback that misbehaves as told: resets, stalls, lying headers, redirects, cut bodies."""

from __future__ import annotations

import socket
import ssl
import struct
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType

_BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer, and what goes wrong with it."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent as they are; one of ours (``Content-Length``, ``Content-Range``, ``ETag``) is replaced."""
    ranges: bool = True
    """Honour ``Range: bytes=N-`` (and ``If-Range``) with 206; otherwise the whole body comes again."""
    etag: str | None = None
    cut: int | None = None
    """Send so many bytes of this answer's body, then close the connection."""
    reset: bool = False
    """Close with a TCP reset instead of an orderly end."""
    stall: bool = False
    """After ``cut`` bytes send nothing more until the client or the server goes away."""
    chunked: bool = False
    """No Content-Length: chunked transfer coding."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asked."""

    method: str
    path: str
    headers: Mapping[str, str]
    """Names in lower case."""


class LoopbackServer(ThreadingHTTPServer):
    """A server on a free port whose clients may go away at any time without a word about it."""

    daemon_threads = True

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that had enough is no news; everything else is told as usual."""
        if not isinstance(sys.exc_info()[1], ConnectionError | ssl.SSLError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class FaultServer:
    """Serves :class:`Reply` values by path; each path has a list of them, and the last one stays.

    Used as a context manager; ``url`` is its address without a slash at the end.
    """

    def __init__(self, certificate: Path | None = None) -> None:
        """``certificate``: a PEM file with a certificate and its key, to speak TLS with."""
        self.replies: dict[str, list[Reply]] = {}
        self.requests: list[Request] = []
        self._guard = threading.Lock()
        self._over = threading.Event()
        self._server = LoopbackServer(_handler(self))
        self._scheme = "http" if certificate is None else "https"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    def serve(self, path: str, *replies: Reply | bytes) -> str:
        """Answer ``path`` with these, one request each, the last one for ever; returns the whole address."""
        self.replies[path] = [Reply(reply) if isinstance(reply, bytes) else reply for reply in replies]
        return self.url + path

    def asked(self, path: str) -> list[Request]:
        """The requests for ``path`` so far."""
        return [request for request in self.requests if request.path == path]

    def next_reply(self, request: Request) -> Reply:
        with self._guard:
            self.requests.append(request)
            waiting = self.replies.get(request.path.partition("?")[0]) or [Reply(b"no such file", 404)]
            return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    def wait_for_the_end(self) -> None:
        self._over.wait(60)

    def __enter__(self) -> FaultServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(server: FaultServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, self.path, headers)
            _answer(self, request, server.next_reply(request), server)

        do_HEAD = do_CONNECT = do_POST = do_GET  # noqa: N815 - names http.server looks for

        def log_message(self, format: str, *args: object) -> None:
            return None

    return Handler


def _answer(handler: BaseHTTPRequestHandler, request: Request, reply: Reply, server: FaultServer) -> None:
    start = _start(request, reply)
    body = reply.body[start:]
    headers = {"Content-Type": "application/octet-stream"}
    if reply.chunked:
        headers["Transfer-Encoding"] = "chunked"
    else:
        headers["Content-Length"] = str(len(body))
    if reply.etag is not None:
        headers["ETag"] = reply.etag
    if start:
        headers["Content-Range"] = f"bytes {start}-{len(reply.body) - 1}/{len(reply.body)}"
    handler.send_response(206 if start else reply.status)
    for name, value in {**headers, **reply.headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    if request.method == "HEAD":
        return
    try:
        _send(handler, body if reply.cut is None else body[: reply.cut], chunked=reply.chunked)
        if reply.stall:
            server.wait_for_the_end()
        elif reply.chunked and reply.cut is None:
            handler.wfile.write(b"0\r\n\r\n")
    except OSError:
        handler.close_connection = True  # the client had enough
        return
    if reply.reset:
        # SO_LINGER of zero seconds: close() sends RST (socket(7))
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if reply.cut is not None or reply.reset:
        handler.close_connection = True


def _start(request: Request, reply: Reply) -> int:
    """First byte asked for, when the reply honours ranges and the file is still the same."""
    wanted = request.headers.get("range", "")
    if not reply.ranges or reply.status != 200 or not wanted.startswith("bytes="):
        return 0
    if request.headers.get("if-range") not in (None, reply.etag):
        return 0
    start = int(wanted.removeprefix("bytes=").partition("-")[0])
    return start if 0 < start < len(reply.body) else 0


def _send(handler: BaseHTTPRequestHandler, body: bytes, *, chunked: bool) -> None:
    for start in range(0, len(body), _BLOCK):
        block = body[start : start + _BLOCK]
        handler.wfile.write(b"%x\r\n%b\r\n" % (len(block), block) if chunked else block)
    handler.wfile.flush()

"""A registry on loopback that misbehaves as told: at any request, at any byte of a body, in either direction."""

from __future__ import annotations

import re
import socket
import ssl
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType

from trainload.testing.registry import Asked, MemoryRegistry, Reply

_BLOCK = 1 << 16


@dataclass(slots=True)
class Fault:
    """What goes wrong with a request whose method and target match; used up after ``times``."""

    method: str
    """A regular expression: ``GET|HEAD``."""
    target: str
    """A regular expression searched in path and query."""
    times: int = 1
    skip: int = 0
    """So many matching requests are served properly first."""
    status: int | None = None
    """Answer with this alone, whatever was asked."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Set in the answer; an empty value takes the header away."""
    body: bytes | None = None
    """Instead of the answer's."""
    length: int | None = None
    """The Content-Length that is claimed."""
    flip: int | None = None
    """The byte of the answer's body in which a bit is wrong."""
    cut: int | None = None
    """So many bytes of the answer's body, then the connection ends."""
    take: int | None = None
    """So many bytes of the request's body are read, then the connection ends."""
    reset: bool = False
    """The connection ends by a reset."""
    stall: bool = False
    """It does not end: nothing more comes."""
    lost: bool = False
    """All upload sessions are forgotten, before the request is served."""

    def matches(self, asked: Asked) -> bool:
        return bool(re.fullmatch(self.method, asked.method) and re.search(self.target, asked.target))


class FaultRegistry:
    """Serves a :class:`MemoryRegistry`, with faults; used as a context manager."""

    def __init__(self, memory: MemoryRegistry | None = None, certificate: Path | None = None) -> None:
        """``certificate``: a PEM file with a certificate and its key, to speak TLS with."""
        self.memory = memory or MemoryRegistry()
        self.faults: list[Fault] = []
        self.asked: list[Asked] = []
        """All requests so far."""
        self._guard = threading.Lock()
        self._over = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.scheme = "http" if certificate is None else "https"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}"

    def fail(self, method: str, target: str, **how: object) -> Fault:
        """Add a fault; see :class:`Fault`."""
        fault = Fault(method, target, **how)  # type: ignore[arg-type]
        self.faults.append(fault)
        return fault

    def requests(self, method: str, target: str = "") -> list[Asked]:
        """Those that came so far."""
        fault = Fault(method, target)
        return [asked for asked in self.asked if fault.matches(asked)]

    def fault_of(self, asked: Asked) -> Fault | None:
        with self._guard:
            self.asked.append(asked)
            for fault in self.faults:
                if fault.times and fault.matches(asked):
                    if fault.skip:
                        fault.skip -= 1
                        continue
                    fault.times -= 1
                    return fault
        return None

    def wait_for_the_end(self) -> None:
        self._over.wait(60)

    def __enter__(self) -> FaultRegistry:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is nothing to tell."""


def _handler(server: FaultRegistry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = 1 << 16

        def serve(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            head = Asked(self.command, self.path, headers)
            fault = server.fault_of(head)
            length = int(headers.get("content-length") or 0)
            if fault is not None and fault.lost:
                server.memory.uploads.clear()
            if fault is not None and fault.take is not None:
                server.memory.arrived(head, self.rfile.read(min(fault.take, length)))
                self._end(fault)
                return
            asked = Asked(self.command, self.path, headers, self.rfile.read(length))
            if fault is not None and fault.status is not None:
                reply = Reply(fault.status, {}, fault.body or b"")
            else:
                reply = server.memory.serve(asked)
            self._answer(reply, fault)

        def _answer(self, reply: Reply, fault: Fault | None) -> None:
            body = reply.body
            headers = {"Content-Length": str(len(body)), **reply.headers}
            if fault is not None:
                body = _spoilt(body, fault)
                length = len(body) if fault.length is None else fault.length
                headers = {**headers, "Content-Length": str(length), **fault.headers}
            if reply.status in (204, 304):
                headers.pop("Content-Length", None)
            self.send_response_only(reply.status)
            for name, value in headers.items():
                if value:
                    self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                cut = None if fault is None else fault.cut
                self.wfile.write(body if cut is None else body[:cut])
            self.wfile.flush()
            if fault is not None and (fault.cut is not None or fault.stall or fault.reset):
                self._end(fault)

        def _end(self, fault: Fault) -> None:
            self.close_connection = True
            if fault.stall:
                server.wait_for_the_end()
            if fault.reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()

        def log_message(self, format: str, *args: object) -> None:  # the base class's name
            """Nothing on stderr."""

    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.serve)
    return Handler


def _spoilt(body: bytes, fault: Fault) -> bytes:
    body = body if fault.body is None else fault.body
    if fault.flip is not None and body:
        at = min(fault.flip, len(body) - 1)
        body = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
    return body

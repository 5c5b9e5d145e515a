"""HTTP/1.1 on one socket: heads by h11, strictly; bodies past it, so that a gigabyte costs no more than its copies.

h11 reads and checks the head of each request. A body is received straight into one buffer, and a file is sent by
the kernel (sendfile). Each request gets a fresh h11 connection, because what went past one would confuse it.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from urllib.parse import parse_qs

import h11

from trainload.destinations.server.chunks import ChunkError, Chunks
from trainload.destinations.server.messages import API_VERSION, Answer, CutError, Request, Slice
from trainload.limits import KiB

HEAD_LIMIT = 16 * KiB
IDLE = 75.0
"""Seconds a connection may wait for its next request."""
HEAD_TIME = 30.0
"""Seconds the head of a request may take (a byte a minute would hold a thread for ever)."""
STALL = 60.0
"""Seconds without a byte in either direction before a client counts as gone."""
LINGER = 5.0
"""Seconds to read on after an answer that came before the whole request, or the client never sees it."""
_PIECE = 256 * KiB
"""Bytes received at once: hashed and written while still in the processor's cache (1 MiB: half as fast)."""


class BadRequest(Exception):
    """Not HTTP as we read it; ``status`` is the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Wire:
    """One client's connection."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._rest = b""
        """Bytes that came after the last request: the beginning of the next one."""
        self._body: WireBody | None = None
        self.idle = True
        """Waiting for a request: may be closed at any time."""
        self._buffer: bytearray | None = None

    def next_request(self) -> Request | None:
        """The next request's head; None when the client closed the connection or is silent.

        Raises :class:`BadRequest`, or :class:`OSError` when the connection breaks.
        """
        head = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT)
        try:
            event = self._head(head)
        except h11.RemoteProtocolError as error:
            raise BadRequest(error.error_status_hint, str(error)) from error
        if event is None:
            return None
        self.idle = False
        headers = _joined(event.headers)
        if "transfer-encoding" in headers and "content-length" in headers:
            # RFC 9112 § 6.1: two readers could see two different requests in it
            raise BadRequest(400, "both Content-Length and Transfer-Encoding")
        chunked = "transfer-encoding" in headers
        length = None if chunked else int(headers.get("content-length", "0"))
        self._body = WireBody(self, head, length)
        path, _, query = event.target.decode("ascii", "replace").partition("?")
        return Request(
            event.method.decode("ascii", "replace"),
            path,
            _parameters(query),
            headers,
            self._body,
            self.cut,
        )

    def answer(self, request: Request, answer: Answer, *, last: bool) -> bool:
        """Send an answer; returns whether another request may follow. Raises :class:`OSError`."""
        body = self._body
        assert body is not None
        keep = not last and body.finished and _keeps_alive(request)
        self._send(answer, keep=keep, with_body=request.method != "HEAD")
        if not body.finished:
            self._linger()
        elif keep:
            self._rest = body.rest()
            self.idle = True
        return keep

    def refuse(self, error: BadRequest) -> None:
        """Answer what was not HTTP; the connection ends."""
        text = f"{error}\n".encode()
        self._send(Answer(error.status, {"Content-Type": "text/plain"}, text), keep=False, with_body=True)
        self._linger()

    def cut(self) -> None:
        """End the connection now, from any thread: whoever reads or writes on it finds it closed."""
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def send_all(self, data: bytes) -> None:
        self._sock.settimeout(STALL)
        self._sock.sendall(data)

    def receive(self) -> bytes:
        """The next bytes of a body, at least one. Raises :class:`CutError` when the client goes away."""
        self._sock.settimeout(STALL)
        try:
            data = self._sock.recv(_PIECE)
        except OSError as error:
            raise CutError(str(error)) from error
        if not data:
            raise CutError("the client closed the connection")
        return data

    def fill(self, count: int, start: bytes) -> memoryview:
        """``start`` and the bytes after it, ``count`` in all or as many as the buffer takes.

        The buffer is used again by the next call. Raises :class:`CutError` when the client goes away.
        """
        if self._buffer is None:
            self._buffer = bytearray(_PIECE)
        view = memoryview(self._buffer)[: min(count, _PIECE)]
        view[: len(start)] = start
        done = len(start)
        self._sock.settimeout(STALL)
        while done < len(view):
            try:
                got = self._sock.recv_into(view[done:])
            except OSError as error:
                raise CutError(str(error)) from error
            if not got:
                raise CutError("the client closed the connection")
            done += got
        return view

    def _head(self, head: h11.Connection) -> h11.Request | None:
        deadline, size = None, len(self._rest)
        if self._rest:
            head.receive_data(self._rest)
            self._rest = b""
            deadline = time.monotonic() + HEAD_TIME
        while True:
            event = head.next_event()
            if isinstance(event, h11.Request):
                if size - len(head.trailing_data[0]) > HEAD_LIMIT:  # h11 bounds only what is not complete
                    raise BadRequest(431, "the head of the request is too large")
                return event
            if event is not h11.NEED_DATA:
                return None  # the client closed the connection
            data = self._head_bytes(deadline)
            if data is None:
                return None
            if deadline is None and data.startswith(b"\x16\x03"):
                raise BadRequest(400, "this is TLS, and the registry speaks plain HTTP")
            if data and deadline is None:
                self.idle = False
                deadline = time.monotonic() + HEAD_TIME
            size += len(data)
            head.receive_data(data)

    def _head_bytes(self, deadline: float | None) -> bytes | None:
        """More of a head, empty at the end of the connection; None when nobody has begun one for a long time."""
        left = IDLE if deadline is None else deadline - time.monotonic()
        try:
            if left > 0:
                self._sock.settimeout(left)
                return self._sock.recv(_PIECE)
        except TimeoutError:
            if deadline is None:
                return None
        raise BadRequest(408, "the head of the request takes too long")

    def _send(self, answer: Answer, *, keep: bool, with_body: bool) -> None:
        body = answer.body
        try:
            head = _answer_head(answer, keep=keep)
            if isinstance(body, bytes):
                self.send_all(head + body if with_body else head)
            else:
                self.send_all(head)
                if with_body and body.length:
                    self._send_file(body)
        finally:
            if isinstance(body, Slice):
                body.file.close()

    def _send_file(self, part: Slice) -> None:
        self._sock.settimeout(STALL)
        if not isinstance(self._sock, ssl.SSLSocket):
            self._sock.sendfile(part.file, part.start, part.length)
            return
        part.file.seek(part.start)
        left = part.length
        while left and (piece := part.file.read(min(left, _PIECE))):
            self._sock.sendall(piece)
            left -= len(piece)

    def _linger(self) -> None:
        """Read on for a while: closing with unread bytes would reset the connection under our answer."""
        try:
            self._sock.shutdown(socket.SHUT_WR)
            end = time.monotonic() + LINGER
            while (left := end - time.monotonic()) > 0:
                self._sock.settimeout(left)
                if not self._sock.recv(_PIECE):
                    return
        except OSError:
            return


class WireBody:
    """A request's body on a connection; a :class:`trainload.destinations.server.messages.Body`."""

    def __init__(self, wire: Wire, head: h11.Connection, length: int | None) -> None:
        self._wire = wire
        self._length = length
        self._rest, _ = head.trailing_data
        self.finished = length == 0
        self._waits = head.they_are_waiting_for_100_continue and not self.finished

    @property
    def length(self) -> int | None:
        return self._length

    def rest(self) -> bytes:
        """What came after the body, once that is finished: the next request's first bytes."""
        return self._rest

    def copy_to(self, write: Callable[[memoryview], object]) -> int:
        """See :class:`Body`."""
        if self._waits:
            self._waits = False
            try:
                self._wire.send_all(b"HTTP/1.1 100 Continue\r\n\r\n")
            except OSError as error:
                raise CutError(str(error)) from error
        return self._chunked(write) if self._length is None else self._measured(self._length, write)

    def _measured(self, length: int, write: Callable[[memoryview], object]) -> int:
        left = length
        while left:
            start, self._rest = self._rest[: min(left, _PIECE)], self._rest[min(left, _PIECE) :]
            view = self._wire.fill(left, start)
            write(view)
            left -= len(view)
        self.finished = True
        return length

    def _chunked(self, write: Callable[[memoryview], object]) -> int:
        chunks, total = Chunks(), 0
        data = self._rest or self._wire.receive()
        try:
            while True:
                for piece in chunks.feed(data):
                    write(piece)
                    total += len(piece)
                if chunks.finished:
                    break
                data = self._wire.receive()
        except ChunkError as error:
            raise CutError(str(error)) from error
        self._rest, self.finished = chunks.rest, True
        return total


def _answer_head(answer: Answer, *, keep: bool) -> bytes:
    """Status line and headers; values are ours or checked by the grammar, so none can hold a line break."""
    reason = HTTPStatus(answer.status).phrase
    headers = {**API_VERSION, **answer.headers, "X-Content-Type-Options": "nosniff"}
    if answer.status not in (204, 304):
        headers["Content-Length"] = str(answer.length)
    if not keep:
        headers["Connection"] = "close"
    lines = [f"HTTP/1.1 {answer.status} {reason}", *(f"{name}: {value}" for name, value in headers.items())]
    text = "\r\n".join(lines)
    assert text.count("\n") == len(headers)
    return f"{text}\r\n\r\n".encode("latin-1", "replace")


def _joined(headers: object) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for name, value in headers:  # type: ignore[attr-defined]  # h11's own list type
        key, text = name.decode("ascii"), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


def _parameters(query: str) -> Mapping[str, tuple[str, ...]]:
    try:
        return {name: tuple(values) for name, values in parse_qs(query, True, max_num_fields=100).items()}
    except ValueError as error:
        raise BadRequest(414, "too many parameters") from error


def _keeps_alive(request: Request) -> bool:
    return "close" not in request.headers.get("connection", "").lower()

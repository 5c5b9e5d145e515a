"""Accepts connections and gives each a thread, up to a bound; ends them in order when asked to."""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from trainload.destinations.server.messages import Answer, CutError, Request
from trainload.destinations.server.wire import STALL, BadRequest, Wire

MOST = 256
"""Connections at once; others wait in the kernel's queue."""
_TICK = 30.0
_CUT = 499
"""How the log says that the client went away (nginx's number)."""


@dataclass(frozen=True, slots=True)
class Served:
    """One request that was answered, for the log."""

    client: str
    method: str
    target: str
    status: int
    size: int
    """Bytes of the answer's body, or of what was sent to us if that was more."""
    seconds: float


class Listener:
    """Listens on a socket from :meth:`start` to :meth:`stop`."""

    def __init__(
        self,
        sock: socket.socket,
        tls: ssl.SSLContext | None,
        answer: Callable[[Request], Answer],
        log: Callable[[Served], object],
        tick: Callable[[], object],
    ) -> None:
        self._sock = sock
        self._tls = tls
        self._answer = answer
        self._log = log
        self._tick = tick
        self._room = threading.BoundedSemaphore(MOST)
        self._guard = threading.Lock()
        self._wires: dict[Wire, threading.Thread] = {}
        self._stopping = threading.Event()
        self._wake, self._waker = socket.socketpair()
        self._thread = threading.Thread(target=self._accept, name="registry", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, grace: float) -> None:
        """Take no more connections, give requests ``grace`` seconds to finish, then cut them."""
        self._stopping.set()
        self._waker.send(b"x")
        self._thread.join()
        self._sock.close()
        end = time.monotonic() + grace
        with self._guard:
            open_now = dict(self._wires)
        for wire in open_now:
            if wire.idle:
                wire.cut()
        for thread in open_now.values():
            thread.join(max(0.0, end - time.monotonic()))
        for wire in open_now:
            wire.cut()
        for thread in open_now.values():
            thread.join(STALL)
        self._wake.close()
        self._waker.close()

    def _accept(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._sock, selectors.EVENT_READ)
            selector.register(self._wake, selectors.EVENT_READ)
            while not self._stopping.is_set():
                if not selector.select(_TICK):
                    self._tick()
                    continue
                if self._stopping.is_set() or not self._room.acquire(timeout=1):
                    continue
                try:
                    sock, address = self._sock.accept()
                except OSError:  # the client is gone again, or no descriptor is free
                    self._room.release()
                    time.sleep(0.01)
                    continue
                threading.Thread(target=self._serve, args=(sock, str(address[0])), daemon=True).start()

    def _serve(self, sock: socket.socket, client: str) -> None:
        """One connection, from its handshake to its end."""
        try:
            with contextlib.suppress(OSError), contextlib.closing(self._secured(sock)) as secured:
                wire = Wire(secured)
                with self._guard:
                    self._wires[wire] = threading.current_thread()
                try:
                    self._requests(wire, client)
                finally:
                    with self._guard:
                        del self._wires[wire]
        finally:
            sock.close()
            self._room.release()

    def _secured(self, sock: socket.socket) -> socket.socket:
        sock.settimeout(STALL)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock if self._tls is None else self._tls.wrap_socket(sock, server_side=True)

    def _requests(self, wire: Wire, client: str) -> None:
        while not self._stopping.is_set():
            try:
                request = wire.next_request()
            except BadRequest as error:
                self._log(Served(client, "-", f"({error})", error.status, 0, 0.0))
                wire.refuse(error)
                return
            if request is None or not self._one(wire, client, request):
                return

    def _one(self, wire: Wire, client: str, request: Request) -> bool:
        """Answer one request; returns whether another one may follow."""
        began = time.monotonic()
        answer: Answer | None = None
        status = 500
        try:
            answer = self._answer(request)
            more = wire.answer(request, answer, last=self._stopping.is_set())
            status = answer.status
        except (CutError, OSError):
            status = _CUT
            return False
        else:
            return more
        finally:
            size = max(answer.length if answer and request.method != "HEAD" else 0, request.body.length or 0)
            self._log(Served(client, request.method, _target(request), status, size, time.monotonic() - began))


def _target(request: Request) -> str:
    query = "&".join(f"{name}={value}" for name, values in request.query.items() for value in values)
    return f"{request.path}?{query}" if query else request.path

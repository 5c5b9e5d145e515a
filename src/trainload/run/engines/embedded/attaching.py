"""Those who are attached to a detached run: they hear what the program says, and it reads what they say.

On each connection one line of JSON comes first: ``{"do": "attach"}``, and from then on bytes both ways in the form
of Docker's attach (Engine API, ContainerAttach), or ``{"do": "resize", "rows": …, "columns": …}`` for the terminal.
Everything happens in the thread that writes the log, so nothing here may wait: what a guest does not take in time
is kept up to a bound, and while the program does not read, guests are not read either.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import selectors
import struct
import termios
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainload.limits import MiB
from trainload.system.nearby import listen

NAME = "attach"
"""Of the socket in the run's folder."""
_MOST = 16 * MiB
"""Bytes a guest may be behind; then it is shown out."""
_PIECE = 1 << 16
_LINE = 1024
_FAREWELL = 2.0
"""Seconds in which guests take the rest at the end."""


@dataclass(slots=True)
class Guest:
    sock: Any
    """A socket, which does not block."""
    attached: bool = False
    waiting: bytearray = field(default_factory=bytearray)
    """For it."""
    said: bytes = b""
    """Of its first line, so far."""
    silent: bool = False
    """It says no more; it may still listen."""


@dataclass(slots=True)
class Switchboard:
    """``master``: of the program's terminal, or None; ``into``: what it reads from, or None."""

    folder: Path
    selector: selectors.BaseSelector
    master: int | None
    into: int | None
    _guests: dict[int, Guest] = field(default_factory=dict)
    _unread: bytearray = field(default_factory=bytearray)
    """What the program has not read yet."""
    _listener: Any = None

    def open(self) -> None:
        self._listener = listen(self.folder, NAME)
        self.selector.register(self._listener, selectors.EVENT_READ, self._come)
        if self.into is not None:
            os.set_blocking(self.into, False)

    def heard(self, data: bytes, *, stderr: bool) -> None:
        """The program said something."""
        head = (
            b"" if self.master is not None else bytes([2 if stderr else 1, 0, 0, 0]) + len(data).to_bytes(4, "big")
        )
        for guest in list(self._guests.values()):
            if guest.attached:
                guest.waiting += head + data
                self._send(guest)

    def close(self) -> None:
        """Guests get the rest."""
        end = time.monotonic() + _FAREWELL
        self.selector.unregister(self._listener)
        self._listener.close()
        (self.folder / NAME).unlink(missing_ok=True)
        for guest in list(self._guests.values()):
            guest.sock.settimeout(max(0.01, end - time.monotonic()))
            with contextlib.suppress(OSError):
                guest.sock.sendall(guest.waiting)
            self._leave(guest)

    def turn(self, events: int) -> None:
        """The program's standard input takes more."""
        if events & selectors.EVENT_WRITE:
            self._feed()

    def _come(self, _: int) -> None:
        with contextlib.suppress(OSError):
            sock, _address = self._listener.accept()
            sock.setblocking(False)
            guest = self._guests[sock.fileno()] = Guest(sock)
            self.selector.register(sock, selectors.EVENT_READ, lambda events: self._serve(guest, events))

    def _serve(self, guest: Guest, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._send(guest)
        if not events & selectors.EVENT_READ or guest.sock.fileno() < 0:
            return
        try:
            data = guest.sock.recv(_PIECE)
        except BlockingIOError:
            return
        except OSError:
            self._leave(guest)
            return
        if not data:
            self._ends(guest)
        elif guest.attached:
            self._unread += data
            self._feed()
        else:
            self._first(guest, data)

    def _first(self, guest: Guest, data: bytes) -> None:
        line, found, rest = (guest.said + data).partition(b"\n")
        guest.said = line
        if not found:
            if len(line) > _LINE:
                self._leave(guest)
            return
        wish = json.loads(line)
        if wish["do"] == "resize":
            self._resize(wish["rows"], wish["columns"])
            self._leave(guest)
            return
        guest.attached = True
        self._unread += rest
        self._feed()

    def _ends(self, guest: Guest) -> None:
        if not guest.attached:
            self._leave(guest)
            return
        guest.silent = True
        self._listen_to(guest)

    def _resize(self, rows: int, columns: int) -> None:
        if self.master is not None:
            with contextlib.suppress(OSError):
                fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def _feed(self) -> None:
        if self.into is None:
            self._unread.clear()
            return
        try:
            while self._unread:
                del self._unread[: os.write(self.into, self._unread)]
        except BlockingIOError:
            pass
        except OSError:  # the program closed it
            self._unread.clear()
        self._watch(waits=bool(self._unread))

    def _watch(self, *, waits: bool) -> None:
        """While the program does not read, neither do we."""
        assert self.into is not None
        if self.into == self.master:
            both = selectors.EVENT_READ | selectors.EVENT_WRITE
            key = self.selector.get_map().get(self.into)
            if key is not None:
                self.selector.modify(self.into, both if waits else selectors.EVENT_READ, key.data)
        elif waits and self.into not in self.selector.get_map():
            self.selector.register(self.into, selectors.EVENT_WRITE, self.turn)
        elif not waits and self.into in self.selector.get_map():
            self.selector.unregister(self.into)
        for guest in self._guests.values():
            self._listen_to(guest)

    def _listen_to(self, guest: Guest) -> None:
        heard = not guest.silent and not (guest.attached and self._unread)
        wanted = (selectors.EVENT_READ if heard else 0) | (selectors.EVENT_WRITE if guest.waiting else 0)
        key = self.selector.get_map().get(guest.sock)
        if key is not None and wanted == 0:
            self.selector.unregister(guest.sock)
        elif key is not None:
            self.selector.modify(guest.sock, wanted, key.data)
        elif wanted:
            self.selector.register(guest.sock, wanted, lambda events: self._serve(guest, events))

    def _send(self, guest: Guest) -> None:
        try:
            while guest.waiting:
                del guest.waiting[: guest.sock.send(guest.waiting)]
        except BlockingIOError:
            if len(guest.waiting) > _MOST:
                self._leave(guest)
                return
        except OSError:
            self._leave(guest)
            return
        self._listen_to(guest)

    def _leave(self, guest: Guest) -> None:
        self._guests.pop(guest.sock.fileno(), None)
        with contextlib.suppress(KeyError, ValueError):
            self.selector.unregister(guest.sock)
        guest.sock.close()

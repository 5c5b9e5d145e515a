"""Those who are attached to a run: they hear what the program says, and it reads what they say.

On each connection one line of JSON comes first: ``{"do": "attach"}``, and from then on bytes both ways in the form
of Docker's attach (Engine API, ContainerAttach), or ``{"do": "resize"}`` for the terminal; both may name ``rows``
and ``columns``. It serves runs of this machine and, where it travels along, those on servers.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from trainload.runner.nearby import listen

NAME = "attach"
"""Of the socket in the run's folder."""
_MOST = 16 << 20
"""Bytes a guest may be behind; then it is waited for, or shown out."""
_PIECE = 1 << 16
_LINE = 1024
_FAREWELL = 2.0
"""Seconds in which guests take the rest at the end."""


def said(out: int, events: int) -> bytes | None:
    """What the program says on ``out``, of which a selector told ``events``: empty at its end, None if nothing."""
    if not events & selectors.EVENT_READ:
        return None
    try:
        return os.read(out, _PIECE)
    except BlockingIOError:
        return None
    except OSError:  # EIO: nobody has the terminal any more
        return b""


class Guest:
    """One connection."""

    def __init__(self, sock: Any) -> None:  # noqa: ANN401 - a socket, which does not block
        self.sock = sock
        self.attached = False
        self.waiting = bytearray()
        """For it."""
        self.said = b""
        """Of its first line, so far."""
        self.silent = False
        """It says no more; it may still listen."""
        self.took = time.monotonic()
        """When it took something last."""


class Manners(NamedTuple):
    """How guests are treated."""

    patience: float | None = None
    """Seconds in which one that is far behind may take nothing; None: it is shown out at once."""
    once: bool = False
    """The program's input ends with a guest's."""
    met: Callable[[], object] = lambda: None
    """Called when a guest is attached."""


class Switchboard:
    """Between guests and one program."""

    def __init__(
        self, folder: Path, selector: selectors.BaseSelector, master: int | None, into: int | None,
        manners: Manners = Manners(),  # noqa: B008 - a value
    ) -> None:  # fmt: skip
        """``master``: of the program's terminal, or None; ``into``: what it reads from, or None."""
        self.folder = folder
        self.selector = selector
        self.master = master
        self.into = into
        self._patience, self._once, self._met = manners
        self._guests: dict[int, Guest] = {}
        self._unread = bytearray()
        """What the program has not read yet."""
        self._ending = False
        """Its input ends when it has read that."""
        self._listener: Any = None

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

    def behind(self) -> bool:
        """Whether a guest is, so far that the program should wait for it; one that takes nothing is shown out."""
        latest = time.monotonic() - (self._patience or 0)
        late = [guest for guest in self._guests.values() if len(guest.waiting) > _MOST]
        for guest in late:
            if guest.took < latest:
                self._leave(guest)
        return any(guest.took >= latest for guest in late)

    def resume(self) -> None:
        """The program's terminal is in the selector again."""
        if self.into is not None:
            self._watch(waits=bool(self._unread))

    def close(self) -> None:
        """Guests get the rest."""
        end = time.monotonic() + _FAREWELL
        self.selector.unregister(self._listener)
        self._listener.close()
        with contextlib.suppress(FileNotFoundError):
            (self.folder / NAME).unlink()
        for guest in list(self._guests.values()):
            with contextlib.suppress(OSError):
                while guest.waiting:
                    guest.sock.settimeout(self._patience or max(0.01, end - time.monotonic()))
                    del guest.waiting[: guest.sock.send(guest.waiting[:_PIECE])]
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
        wish = json.loads(line.decode())
        if "rows" in wish:
            self._resize(wish["rows"], wish["columns"])
        if wish["do"] == "resize":
            self._leave(guest)
            return
        guest.attached = True
        self._met()
        self._unread += rest
        self._feed()

    def _ends(self, guest: Guest) -> None:
        if not guest.attached:
            self._leave(guest)
            return
        guest.silent = True
        if self._once and self.into is not None and self.into != self.master:
            self._ending = True
            self._feed()
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
        if self._ending and not self._unread:
            os.close(self.into)
            self.into, self._ending = None, False

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
                del guest.waiting[: guest.sock.send(guest.waiting[:_PIECE])]
                guest.took = time.monotonic()
        except BlockingIOError:
            if len(guest.waiting) > _MOST and self._patience is None:
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

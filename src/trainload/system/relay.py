"""A Unix socket of our own that leads to another one: for programs that may not touch the other one's file."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PIECE = 1 << 16


@contextmanager
def relayed(target: str, place: Path) -> Iterator[Path]:
    """``place``, a socket, for as long as the context lasts; each connection becomes one to ``target``.

    Raises :class:`OSError` when nothing listens there.
    """
    with socket.socket(socket.AF_UNIX) as asked:
        asked.connect(target)
    with _listening(place) as server:
        waiting = threading.Thread(target=_accept, args=(server, target), name="relay", daemon=True)
        waiting.start()
        try:
            yield place
        finally:
            server.shutdown(socket.SHUT_RDWR)  # wakes who waits in accept(2)
            waiting.join()


def _listening(place: Path) -> socket.socket:
    """Bound by way of its folder's descriptor: a socket's path has at most 107 bytes."""
    import os

    server = socket.socket(socket.AF_UNIX)
    folder = os.open(place.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        server.bind(f"/proc/self/fd/{folder}/{place.name}")
        server.listen()
    except BaseException:
        server.close()
        raise
    finally:
        os.close(folder)
    return server


def _accept(server: socket.socket, target: str) -> None:
    with contextlib.suppress(OSError):
        while True:
            near, _ = server.accept()
            threading.Thread(target=_carry, args=(near, target), daemon=True).start()


def _carry(near: socket.socket, target: str) -> None:
    with near, contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as far:
        far.connect(target)
        back = threading.Thread(target=_pass, args=(far, near), daemon=True)
        back.start()
        _pass(near, far)
        back.join()


def _pass(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := one.recv(_PIECE):
            other.sendall(data)
    with contextlib.suppress(OSError):
        other.shutdown(socket.SHUT_WR)

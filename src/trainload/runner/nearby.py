"""A socket in a folder of ours, however long the folder's path is: only who may enter the folder reaches it."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

_WAITING = 16


def listen(folder: Path, name: str) -> socket.socket:
    """Whoever comes is met by ``accept``; nothing blocks. A socket that is left of an earlier one is replaced."""
    with contextlib.suppress(FileNotFoundError):
        (folder / name).unlink()
    listener = socket.socket(socket.AF_UNIX)
    _at(folder, name, listener.bind)
    listener.listen(_WAITING)
    listener.setblocking(False)
    return listener


def meet(folder: Path, name: str, first: bytes) -> socket.socket:
    """A connection on which ``first`` was said. Raises :class:`OSError` when nobody listens there."""
    sock = socket.socket(socket.AF_UNIX)
    try:
        _at(folder, name, sock.connect)
        sock.sendall(first)
    except OSError:
        sock.close()
        raise
    return sock


def _at(folder: Path, name: str, act: Callable[[str], object]) -> None:
    """unix(7): a path has at most 107 bytes; that of an open folder is short."""
    opened = os.open(str(folder), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        act(f"/proc/self/fd/{opened}/{name}")
    finally:
        os.close(opened)

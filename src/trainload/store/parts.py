"""What came of a large file before a process was ended: kept under ``incoming/``, and gone on from by the next one.

Whoever writes a part holds its lock, so gc leaves it alone; one that nobody is at is rubbish like any other.
Nothing of it counts before the hash of the whole is right.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from trainload.store.layout import Layout
from trainload.store.locks import against_gc, open_lock, still_there, try_lock
from trainload.store.trouble import told
from trainload.values import dataclass

WORTH = 1 << 20
"""Bytes from which a part is kept: fewer come again as quickly."""
LEAST = 8_000_000
"""Bytes of a file from which its parts are kept."""
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Part:
    """A file under ``incoming/`` that is ours while ``fd`` is open."""

    path: Path
    fd: int
    size: int
    """Bytes that an earlier process left."""


def take_up(layout: Layout, name: str) -> Part | None:
    """The part called ``name``, made when there is none; None while somebody else writes it."""
    path = layout.incoming / name
    with against_gc(layout), told(layout.home):
        fd = open_lock(path)
        # its writer may have committed it between our open and our lock: then it is a blob, and not to be touched
        if try_lock(fd) and still_there(path, fd):
            return Part(path, fd, os.fstat(fd).st_size)
        os.close(fd)
    return None


class Earlier:
    """The first bytes of a file, as long as nobody changes them; a context manager with ``read``."""

    def __init__(self, path: Path, size: int) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._left = size

    def read(self, size: int, /) -> bytes:
        data = os.read(self._fd, min(size, self._left, _PIECE))
        self._left -= len(data)
        return data

    def close(self) -> None:
        os.close(self._fd)


@dataclass(frozen=True, slots=True)
class Tags:
    """Which version of a file a server began to send: its ETag, so that it sends the rest of no other one."""

    layout: Layout

    def find(self, sha256: str, url: str) -> str | None:
        """The tag that ``url`` gave for the file ``sha256``."""
        try:
            at, _, tag = self._path(sha256).read_text("utf-8").partition("\n")
        except (OSError, ValueError):
            return None
        return tag if tag and at == _hidden(url) else None

    def note(self, sha256: str, url: str, tag: str) -> None:
        """Only a help, so a disk that refuses it is no trouble."""
        with contextlib.suppress(OSError):
            self._path(sha256).write_text(f"{_hidden(url)}\n{tag}", "utf-8")

    def forget(self, sha256: str) -> None:
        with contextlib.suppress(OSError):
            self._path(sha256).unlink(missing_ok=True)

    def _path(self, sha256: str) -> Path:
        return self.layout.incoming / f"tag-{sha256}"


def _hidden(url: str) -> str:
    """An address may have a password in it."""
    return hashlib.sha256(url.encode()).hexdigest()

"""What a container says, passed on to our streams, and the rest of it from its log.

Podman hears a program over a socket of its monitor. Where the program left some of its input unread, that socket
fails when the monitor ends, before what was said is read (SEQPACKET of unix(7): ECONNRESET comes first), and Podman
takes that for the end: what it had not read by then is lost. Its log has all of it. On a busy machine short
programs said nothing at all that way.
"""

from __future__ import annotations

import contextlib
import os
import select
import selectors
import stat
import subprocess
import threading
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

_PIECE = 1 << 16
_SOON = 1.0
"""Seconds within which Podman ends after a complaint of its own."""


@dataclass(frozen=True, slots=True)
class Passed:
    """What came of one stream."""

    count: int = 0
    """Bytes."""
    check: int = 0
    """Their CRC-32."""

    def then(self, data: bytes) -> Passed:
        return Passed(self.count + len(data), zlib.crc32(data, self.check))


class Relay(threading.Thread):
    """One of Podman's streams passed on to ours.

    What begins with ``held`` is held back until the end, or until it goes on for longer than Podman would after it.
    """

    def __init__(self, to: int, held: bytes = b"") -> None:
        super().__init__(daemon=True)
        self.to = to
        self.passed = Passed()
        """With what is held back."""
        self.complaint = b""
        """What began so."""
        self._held, self._waits = held, False
        self._out, self.into = os.pipe()
        """``into`` is for the child."""

    def run(self) -> None:
        try:
            while True:
                if self._waits and not select.select([self._out], [], [], _SOON)[0]:
                    self.release()
                data = os.read(self._out, _PIECE)
                if not data:
                    return
                begins = not self.passed.count and self._held and data.startswith(self._held)
                self.passed = self.passed.then(data)
                if begins or self._waits:
                    self._waits = True
                    self.complaint += data
                else:
                    write(self.to, data)
        except OSError:
            pass  # nobody reads ours any more; Podman is to learn that
        finally:
            os.close(self._out)

    def release(self) -> None:
        """Pass on what is held back: it was the program's."""
        if self._waits:
            self._waits = False
            write(self.to, self.complaint)


def write(to: int, data: bytes) -> None:
    """All of it."""
    while data:
        data = data[os.write(to, data) :]


def fed() -> bool:
    """Whether there may be something to read on our standard input that is not typed."""
    try:
        found = os.fstat(0)
    except OSError:
        return False
    if stat.S_ISREG(found.st_mode):
        return found.st_size > 0
    return not stat.S_ISCHR(found.st_mode)


def complete(logs: subprocess.Popen[bytes], passed: Mapping[int, Passed]) -> None:
    """Write what a log has beyond what was passed on of each stream, as far as it begins with that."""
    assert logs.stdout is not None
    assert logs.stderr is not None
    with selectors.DefaultSelector() as selector, contextlib.suppress(BrokenPipeError):
        for stream, to in ((logs.stdout, 1), (logs.stderr, 2)):
            selector.register(stream, selectors.EVENT_READ, _Rest(to, passed[to]))
        while selector.get_map():
            for key, _ in selector.select():
                data = os.read(key.fd, _PIECE)
                if not data:
                    selector.unregister(key.fileobj)
                key.data.take(data)


class _Rest:
    """One stream of a log."""

    def __init__(self, to: int, passed: Passed) -> None:
        self._to, self._passed, self._seen = to, passed, Passed()

    def take(self, data: bytes) -> None:
        known = self._passed.count - self._seen.count
        self._seen = self._seen.then(data[:known])
        if self._seen == self._passed:
            write(self._to, data[known:])

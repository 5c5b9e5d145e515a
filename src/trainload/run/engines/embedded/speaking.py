"""A supervisor's own standard streams, and so its program's: to the log, and to those who are attached."""

from __future__ import annotations

import fcntl
import os
import selectors
import signal
import struct
import termios
import threading
from dataclasses import dataclass

from trainload.run.engines.embedded.kept import Kept
from trainload.run.engines.embedded.logfile import LogWriter
from trainload.run.engines.interface import LogLine
from trainload.run.engines.logs import Latest, Splitter
from trainload.run.model import RunSpec
from trainload.runner.attaching import Switchboard, said
from trainload.system.host import now

_BAR = 1.0  # seconds a progress frame stays before the next is worth a line of the log
_ROWS, _COLUMNS = 24, 80
"""Of a terminal that nobody has looked at yet."""


@dataclass(frozen=True, slots=True)
class _Streams:
    out: tuple[int, ...]
    """What is read; the second one, if there are two, is standard error."""
    master: int | None
    into: int | None


def speaking(kept: Kept, spec: RunSpec) -> Speech:
    """From now on; call it once, in the process that starts the program."""
    speech = Speech(kept, _terminal(spec) if spec.tty else _pipes(spec))
    speech.start()
    return speech


def _terminal(spec: RunSpec) -> _Streams:
    """A terminal of our session's own, as the user's is in the foreground."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for number in (0, 1, 2):
        os.dup2(slave, number)
    os.close(slave)
    os.set_blocking(master, False)
    return _Streams((master,), master, master if spec.open else None)


def _pipes(spec: RunSpec) -> _Streams:
    into = None
    if spec.open:
        take, into = os.pipe()
    else:
        take = os.open(os.devnull, os.O_RDONLY)
    os.dup2(take, 0)
    os.close(take)
    outs = []
    for number in (1, 2):
        out, end = os.pipe()
        os.dup2(end, number)
        os.close(end)
        outs.append(out)
    return _Streams(tuple(outs), None, into)


class Speech:
    """A thread that hears the program."""

    def __init__(self, kept: Kept, streams: _Streams) -> None:
        self._writer = LogWriter(kept.log)
        self._latest = Latest(_BAR)
        self._streams = streams
        self._splitters = {out: Splitter() for out in streams.out}
        self._selector = selectors.DefaultSelector()
        self._board = Switchboard(kept.folder, self._selector, streams.master, streams.into)
        self._thread = threading.Thread(target=self._pump, daemon=True)

    def start(self) -> None:
        self._board.open()
        for out in self._streams.out:
            self._selector.register(out, selectors.EVENT_READ, self._hears(out))
        self._thread.start()

    def close(self) -> None:
        """Write what is left; whoever still has our streams writes into the void."""
        void = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(void, number)
        self._thread.join(5)
        self._writer.close()

    def _pump(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))  # they are the main thread's
        while self._splitters:
            for key, events in self._selector.select():
                key.data(events)
        for line in self._latest.rest():
            self._writer.write(line)
        self._board.close()
        self._selector.close()

    def _hears(self, out: int) -> object:
        def hears(events: int) -> None:
            self._board.turn(events)
            data = said(out, events)
            if data is None:
                return
            if not data:
                self._selector.unregister(out)
            self._take(out, data)

        return hears

    def _take(self, out: int, data: bytes) -> None:
        splitter = self._splitters[out]
        stderr = out != self._streams.out[0]
        found = splitter.feed(data)
        if data:
            self._board.heard(data, stderr=stderr)
        else:
            del self._splitters[out]
            if splitter.rest:
                found.append((splitter.rest.rstrip(b"\r"), False))
        for text, frame in found:
            for line in self._latest.take(LogLine(now(), text, stderr=stderr, frame=frame)):
                self._writer.write(line)

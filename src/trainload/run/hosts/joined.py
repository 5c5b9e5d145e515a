"""Our streams joined with a program's on a host, over one connection: its terminal is made there, ours is raw."""

from __future__ import annotations

import base64
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from trainload.errors import HostError, Text, TrainloadError
from trainload.run.engines.session import Control, Session
from trainload.run.hosts.line import Line
from trainload.runner import wire
from trainload.system.daemon import Raw, pair

_PIECE = 1 << 15
_FAREWELL = 10.0
"""Seconds for what is on its way when the user leaves; a connection that hangs takes nothing."""
_USUAL_SIZE = (24, 80)


@dataclass(slots=True)
class Joint:
    """One program's streams and ours."""

    line: Line
    run: str
    tty: bool
    reads: bool
    """It gets our standard input."""
    leaves: bool = False
    """Ctrl-P Ctrl-Q, and without a terminal any signal, leaves it alone."""
    held_back: bytes = b""
    """As :class:`Session` has it."""
    left: bool = False
    """The user did."""
    kept: bytes = b""
    exit_code: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _over: bool = False
    _trouble: TrainloadError | None = None

    def go(self, what: Mapping[str, object]) -> int:
        """Until its end; its exit code. Raises :class:`HostError`, :class:`RunError`."""
        ours, theirs = pair()
        terminal = _size() if self.tty else None
        self.line.begin("join", run=self.run, terminal=terminal, interactive=self.reads,
                        term=os.environ.get("TERM"), **what)  # fmt: skip
        control = Control(
            send=None if self.leaves else lambda number: self._say(do="signal", number=number),
            resize=lambda rows, columns: self._say(do="size", size=[rows, columns]),
        )
        session = Session(ours, control, self.tty, self.reads, self.held_back, leaves=self.leaves)
        threads = [threading.Thread(target=work, args=(theirs,), daemon=True) for work in (self._out, self._back)]
        try:
            for thread in threads:
                thread.start()
            session.run()
            self.left, self.kept = session.left, session.kept
            if session.left:
                ours.finish()
                threads[0].join(_FAREWELL)  # the last keys before the user left are the program's
                return 0
            ours.end()
            for thread in threads:
                thread.join()
        finally:
            ours.close()
            theirs.close()
        if self._trouble is not None:
            raise self._trouble
        return self.exit_code

    def _out(self, end: Raw) -> None:
        """What we say, to there."""
        try:
            while data := end.sock.recv(_PIECE):
                self._write(wire.frame(wire.DATA, data))
            self._say(do="eof")
        except (OSError, HostError):
            return  # whoever reads is told why

    def _back(self, end: Raw) -> None:
        """What it says, to us."""
        try:
            for value in self.line.answers("join"):
                if "said" in value:
                    data = base64.b64decode(value["said"])
                    head = bytes([2 if value["stderr"] else 1, 0, 0, 0]) + len(data).to_bytes(4, "big")
                    end.sock.sendall(data if self.tty else head + data)
                elif value.get("ended"):
                    self._write(wire.request(do="end"), last=True)
                elif "exit_code" in value:
                    self.exit_code = int(value["exit_code"])
        except OSError:
            return  # the user left
        except TrainloadError as error:
            self._trouble = _explained(error)
        finally:
            self._over = True
            end.end()

    def _say(self, **what: object) -> None:
        self._write(wire.request(**what))

    def _write(self, data: bytes, *, last: bool = False) -> None:
        """Nothing comes after the last: the far side would take it for a question."""
        with self._lock:
            if not self._over:
                self._over = last
                self.line.write(data)


def _explained(error: TrainloadError) -> TrainloadError:
    if isinstance(error, HostError) and error.retryable:
        error.hints = (Text("the run goes on there; what was started in it has ended, or goes on without us"),)
    return error


def _size() -> tuple[int, int]:
    """Rows and columns of our terminal."""
    try:
        columns, rows = os.get_terminal_size(1)
    except OSError:
        return _USUAL_SIZE
    return rows, columns

"""What a program says and hears that no engine looks after: its terminal or pipes, its log, who is attached."""

from __future__ import annotations

import fcntl
import os
import selectors
import struct
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainload.runner.attaching import Manners, Switchboard, said
from trainload.runner.lines import Log

_PIECE = 1 << 16
_ROWS, _COLUMNS = 24, 80
"""Of a terminal that nobody has looked at yet."""
_PATIENCE = 60.0
"""Seconds in which somebody attached may take nothing of 16 MiB; the program waits so long, not for ever."""


class Speech:
    """Our ends of a program's streams."""

    def __init__(self, folder: Path, charge: dict[str, Any], met: Callable[[], object]) -> None:
        """``met``: called when somebody is attached."""
        self._folder = folder
        self._selector = selectors.DefaultSelector()
        self._outputs: dict[int, Callable[[int], object]] = {}
        self._held = False
        self._status: int | None = None
        self._log: Log | None = None
        self._board: Switchboard | None = None
        if charge["terminal"]:
            master = self._terminal()
            into = master if charge["open"] else None
        else:
            master, into = None, self._pipes(reads=bool(charge["open"]))
        if charge["terminal"] or charge["open"]:
            manners = Manners(_PATIENCE, once=bool(charge["waits"]), met=met)
            self._board = Switchboard(folder, self._selector, master, into, manners)

    def _terminal(self) -> int:
        """Of our session, so that the program is no leader of one, whose end would hang up the others."""
        master, far = os.openpty()
        fcntl.ioctl(far, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
        os.setsid()
        fcntl.ioctl(far, termios.TIOCSCTTY, 0)
        os.set_blocking(master, False)
        self._far: tuple[int, ...] = (far, far, far)
        self._outputs[master] = self._hears(master, 0)
        return master

    def _pipes(self, *, reads: bool) -> int | None:
        take, into = os.pipe() if reads else (os.open(os.devnull, os.O_RDONLY), None)
        outs = [os.pipe() for _ in range(2)]
        self._far = (take, outs[0][1], outs[1][1])
        for number, (out, _) in enumerate(outs):
            self._outputs[out] = self._hears(out, number)
        return into

    def become(self) -> None:
        """In the child: its streams are the program's ends; ours are closed on exec."""
        for number, far in enumerate(self._far):
            os.dup2(far, number)

    def open(self) -> None:
        """In the parent, once the child has its ends: whoever comes is met."""
        for far in set(self._far):
            os.close(far)
        for out, hears in self._outputs.items():
            self._selector.register(out, selectors.EVENT_READ, hears)
        if self._board is not None:
            self._board.open()

    def complaint(self) -> str:
        """What was said by something that ended before it was a program."""
        data = b""
        for out in self._outputs:
            os.set_blocking(out, False)
            try:
                data += os.read(out, 4096)
            except OSError:
                continue
        return data.decode("utf-8", "replace").strip()

    def begin(self, log: Log, status: int, reports: bytearray) -> None:
        """From now on, into ``log``; what comes over ``status`` goes to ``reports``."""
        self._log, self._status = log, status

        def told(events: int) -> None:
            data = os.read(status, _PIECE)
            reports.extend(data)
            if not data:
                self._selector.unregister(status)
                self._status = None

        self._selector.register(status, selectors.EVENT_READ, told)

    @property
    def is_over(self) -> bool:
        """Nobody has an end of it any more."""
        return not self._outputs and self._status is None

    def turn(self, seconds: float) -> bool:
        """What happens now, or the first that happens within ``seconds``; whether anything did."""
        if self._board is not None:
            self._hold(self._board, held=self._board.behind())
        happened = self._selector.select(seconds)
        for key, events in happened:
            key.data(events)
        return bool(happened)

    def close(self) -> None:
        """Whoever is attached gets the rest."""
        if self._board is not None:
            self._board.close()
        self._selector.close()

    def _hold(self, board: Switchboard, *, held: bool) -> None:
        """Let the program wait for those who listen."""
        if held == self._held:
            return
        self._held = held
        for out, hears in self._outputs.items():
            if held:
                self._selector.unregister(out)
            else:
                self._selector.register(out, selectors.EVENT_READ, hears)
        if not held:
            board.resume()

    def _hears(self, out: int, stderr: int) -> Callable[[int], object]:
        def hears(events: int) -> None:
            if self._board is not None:
                self._board.turn(events)
            data = said(out, events)
            if data is None:
                return
            if not data:
                self._selector.unregister(out)
                del self._outputs[out]
            assert self._log is not None
            self._log.take(data, stderr)
            if data and self._board is not None:
                self._board.heard(data, stderr=bool(stderr))

        return hears

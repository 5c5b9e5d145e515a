"""Our standard streams joined with a container's: terminal, signals, window size, end of input.

One loop over descriptors; signals arrive through a pipe. SIGTERM becomes the run's stop signal; whatever asks the
program to end gives it the grace and then SIGKILL, as on every engine.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from trainload.run.words import signal_number
from trainload.system.daemon import Raw

_FORWARDED = (
    signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH,
)  # fmt: skip
_ENDING = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
_PIECE = 1 << 16
_HEADER = 8
_SHUT_WR = 1  # socket.SHUT_WR
_LEAVE = b"\x10\x11"  # ctrl-p ctrl-q, as in Docker


@dataclass(frozen=True, slots=True)
class Control:
    """What can be done to the program meanwhile."""

    send: Callable[[int], object] | None
    """A signal, by number; None: it means that the user leaves, and the program goes on."""
    resize: Callable[[int, int], object]
    """Rows and columns."""
    stop_signal: str = "SIGTERM"
    grace: float | None = None
    """None: no force after it."""


@dataclass(slots=True)
class Session:
    """One conversation."""

    raw: Raw
    control: Control
    tty: bool
    stdin: bool
    held_back: bytes = b""
    """Output that begins so is kept for the caller instead of being written."""
    kept: bytes = b""
    killed: bool = False
    """The grace was over."""
    leaves: bool = False
    """Ctrl-P Ctrl-Q on our terminal is for us: the user leaves, and the program goes on."""
    left: bool = False
    """The user did."""
    _held: bytes = b""
    """A Ctrl-P that may be the first half."""
    _deadline: float | None = None
    _buffer: bytes = b""
    _begun: bool = field(default=False)

    def run(self) -> None:
        """Until the program's output ends."""
        with _signals() as signals, _raw_terminal(enabled=self.tty and self.stdin):
            self._resize()
            with selectors.DefaultSelector() as selector:
                selector.register(self.raw.sock, selectors.EVENT_READ)
                selector.register(signals, selectors.EVENT_READ)
                if self.stdin:
                    self._register_stdin(selector)
                self._output(self.raw.ahead)
                while not self.left and self._turn(selector, signals):
                    pass

    def _turn(self, selector: selectors.BaseSelector, signals: int) -> bool:
        timeout = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
        ready = selector.select(timeout)
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self._deadline, self.killed = None, True
            self._tell(signal.SIGKILL)
        for key, _ in ready:
            if key.fileobj is self.raw.sock:
                data = self._heard()
                self._output(data)
                if not data:
                    return False
            elif key.fd == signals:
                for number in os.read(signals, 64):
                    self._signal(number)
            else:
                self._input(selector)
        return True

    def _heard(self) -> bytes:
        try:
            return self.raw.sock.recv(_PIECE)
        except ConnectionResetError:  # it ended before it read all that we said
            return b""

    def _register_stdin(self, selector: selectors.BaseSelector) -> None:
        try:
            selector.register(0, selectors.EVENT_READ)
        except PermissionError:  # epoll(7): a regular file is always ready
            threading.Thread(target=self._whole_input, daemon=True).start()

    def _input(self, selector: selectors.BaseSelector) -> None:
        data = os.read(0, _PIECE)
        if data:
            data = self._without_keys(data)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.raw.sock.sendall(data)
            return
        selector.unregister(0)
        self._end_of_input()

    def _without_keys(self, data: bytes) -> bytes:
        if not (self.leaves and self.tty and os.isatty(0)):
            return data
        data, self._held = self._held + data, b""
        before, found, _ = data.partition(_LEAVE)
        if found:
            self.left = True
            return before
        if data.endswith(_LEAVE[:1]):
            self._held = _LEAVE[:1]
            return data[:-1]
        return data

    def _whole_input(self) -> None:
        with contextlib.suppress(OSError):
            while data := os.read(0, _PIECE):
                self.raw.sock.sendall(data)
        self._end_of_input()

    def _end_of_input(self) -> None:
        with contextlib.suppress(OSError):
            self.raw.sock.shutdown(_SHUT_WR)

    def _output(self, data: bytes) -> None:
        if self.tty:
            self._write(1, data)
            return
        self._buffer += data
        while len(self._buffer) >= _HEADER:
            size = int.from_bytes(self._buffer[4:_HEADER], "big")
            if len(self._buffer) < _HEADER + size:
                return
            descriptor = 2 if self._buffer[0] == 2 else 1
            piece, self._buffer = self._buffer[_HEADER : _HEADER + size], self._buffer[_HEADER + size :]
            self._write(descriptor, piece)

    def _write(self, descriptor: int, data: bytes) -> None:
        if not data:
            return
        if self.kept or (not self._begun and self.held_back and data.startswith(self.held_back)):
            self.kept += data
            return
        self._begun = True
        while data:
            data = data[os.write(descriptor, data) :]

    def _signal(self, number: int) -> None:
        if number == signal.SIGWINCH:
            self._resize()
            return
        if number in _ENDING and self._deadline is None and self.control.grace is not None:
            self._deadline = time.monotonic() + self.control.grace
        if number == signal.SIGTERM:
            number = signal_number(self.control.stop_signal) or number
        self._tell(number)

    def _tell(self, number: int) -> None:
        send = self.control.send
        if send is None:
            self.left = True
        else:
            self._told(lambda: send(number))

    def _resize(self) -> None:
        if self.tty:
            with contextlib.suppress(OSError):
                columns, rows = os.get_terminal_size(1)
                self._told(lambda: self.control.resize(rows, columns))

    def _told(self, tell: Callable[[], object]) -> None:
        """The program may be gone, or not there yet."""
        from trainload.errors import TrainloadError

        with contextlib.suppress(TrainloadError):
            tell()


@contextlib.contextmanager
def _signals() -> Iterator[int]:
    """A descriptor from which the numbers of signals can be read; none come where we are not the main thread."""
    out, into = os.pipe()
    os.set_blocking(into, False)
    ours = threading.current_thread() is threading.main_thread()
    before = {}
    wakeup = -1
    if ours:
        wakeup = signal.set_wakeup_fd(into, warn_on_full_buffer=False)
        before = {
            number: signal.signal(number, lambda *_: None)
            for number in _FORWARDED
            if signal.getsignal(number) is not signal.SIG_IGN
        }
    try:
        yield out
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if ours:
            signal.set_wakeup_fd(wakeup)
        os.close(out)
        os.close(into)


@contextlib.contextmanager
def _raw_terminal(*, enabled: bool) -> Iterator[None]:
    """Keys go to the program as they are; the terminal is as before at the end."""
    if not enabled or not os.isatty(0):
        yield
        return
    look = termios.tcgetattr(0)
    tty.setraw(0, termios.TCSANOW)  # what was typed already is for the program
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, look)

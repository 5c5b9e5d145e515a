"""A program whose streams go over the connection, both ways: with a terminal of its own, or with pipes.

While it runs the near side sends its input as data, and says ``size``, ``signal``, ``eof``; after ``ended`` it says
``end``, so that whoever reads its frames knows when to stop.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import selectors
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trainload.runner import wire
from trainload.runner.trouble import Trouble

_PIECE = 1 << 15
_LAST_WORDS = 1.0
"""Seconds of silence after its end: something it started may have its output still."""
_MOMENT = 0.5
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126


class Terminal:
    """A new one; ``far`` is the program's end."""

    def __init__(self, size: Sequence[int]) -> None:
        self.near, self.far = os.openpty()
        self.resize(size)

    def resize(self, size: Sequence[int]) -> None:
        rows, columns = (max(0, min(int(one), 0xFFFF)) for one in size)
        fcntl.ioctl(self.near, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class Joined:
    """One program, begun."""

    gone: int = signal.SIGHUP
    """What it gets when the near side goes away."""

    def __init__(
        self, argv: Sequence[str], terminal: Sequence[int] | None, *, reads: bool,
        env: Mapping[str, str] | None = None, before: Callable[[], object] | None = None, keep: Sequence[int] = (),
    ) -> None:  # fmt: skip
        """``terminal``: its rows and columns; ``reads``: it gets our input; ``before``: what the child does first.

        Raises :class:`Trouble` when it cannot be executed.
        """
        self._terminal = None if terminal is None else Terminal(terminal)
        pipe, null = subprocess.PIPE, subprocess.DEVNULL
        own = None if self._terminal is None else self._terminal.far
        streams = (pipe if reads else null, pipe, pipe) if own is None else (own, own, own)

        def prepare() -> None:
            if before is not None:
                before()
            if own is not None:
                fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        try:
            self._child = subprocess.Popen(
                list(argv), stdin=streams[0], stdout=streams[1], stderr=streams[2], env=env, bufsize=0,
                start_new_session=True, preexec_fn=prepare, pass_fds=tuple(keep),  # noqa: PLW1509 - no thread yet
            )  # fmt: skip
        except (FileNotFoundError, NotADirectoryError):
            raise Trouble("command", said=argv[0], exit_code=_NOT_FOUND) from None
        except OSError:
            raise Trouble("command", said=argv[0], exit_code=_NOT_EXECUTABLE) from None
        finally:
            if own is not None:
                os.close(own)
        self._outputs, self._input = self._ends()
        self._ended = False

    def _ends(self) -> tuple[dict[int, bool], int | None]:
        """Where its words come from (and whether they are errors), and where ours go."""
        if self._terminal is not None:
            os.set_blocking(self._terminal.near, False)
            return {self._terminal.near: False}, self._terminal.near
        assert self._child.stdout is not None
        assert self._child.stderr is not None
        outputs = {self._child.stdout.fileno(): False, self._child.stderr.fileno(): True}
        if self._child.stdin is None:
            return outputs, None
        os.set_blocking(self._child.stdin.fileno(), False)
        return outputs, self._child.stdin.fileno()

    def run(
        self, say: Callable[[dict[str, Any]], None], receive: Callable[[], tuple[int, bytes]], pulse: float
    ) -> int:
        """Until its end; its exit code. When the near side goes away it is hung up, as by any terminal."""
        listener = threading.Thread(target=self._listen, args=(receive,), daemon=True)
        listener.start()
        try:
            self._pass_on(say, pulse)
            code = self._child.wait()
            say({"ended": True})
        finally:
            self._ended = True
            if self._child.poll() is None:
                self._hang_up()
        listener.join()
        return 128 - code if code < 0 else code

    def _pass_on(self, say: Callable[[dict[str, Any]], None], pulse: float) -> None:
        over, wake = os.pipe()
        threading.Thread(target=self._until_end, args=(wake,), daemon=True).start()
        with selectors.DefaultSelector() as selector:
            for number in (over, *self._outputs):
                selector.register(number, selectors.EVENT_READ)
            patience = pulse
            while len(selector.get_map()) > (over in selector.get_map()):
                ready = selector.select(patience)
                if not ready and patience < pulse:
                    break
                if not ready:
                    say({"alive": True})
                for key, _ in ready:
                    if key.fd == over:
                        selector.unregister(over)
                        patience = _LAST_WORDS
                        continue
                    data = _read(key.fd)
                    if data:
                        text = base64.b64encode(data).decode("ascii")
                        say({"said": text, "stderr": self._outputs[key.fd]})
                    elif data is not None:
                        selector.unregister(key.fd)
        os.close(over)

    def _until_end(self, wake: int) -> None:
        self._child.wait()
        os.close(wake)

    def _listen(self, receive: Callable[[], tuple[int, bytes]]) -> None:
        try:
            while True:
                kind, data = receive()
                if kind == wire.DATA:
                    self._feed(data)
                    continue
                word = json.loads(data.decode())
                if word["do"] == "end":
                    return
                self._obey(word)
        except (wire.Gone, ValueError):
            self._hang_up()

    def _obey(self, word: dict[str, Any]) -> None:
        if word["do"] == "eof" and self._terminal is None and self._child.stdin is not None:
            self._input = None
            self._child.stdin.close()
        elif word["do"] == "size" and self._terminal is not None:
            self._terminal.resize(word["size"])
        elif word["do"] == "signal" and not self._ended:
            self._child.send_signal(int(word["number"]))

    def _feed(self, data: bytes) -> None:
        """As fast as it reads; what comes after its end is nobody's."""
        with selectors.DefaultSelector() as selector:
            if self._input is None:
                return
            selector.register(self._input, selectors.EVENT_WRITE)
            while data and not self._ended and self._child.returncode is None:
                try:
                    data = data[os.write(self._input, data) :] if selector.select(_MOMENT) else data
                except BlockingIOError:
                    continue
                except OSError:
                    return

    def _hang_up(self) -> None:
        if self._child.returncode is None:
            self._child.send_signal(self.gone)


def _read(number: int) -> bytes | None:
    """Empty at the end, which a terminal tells by an error; None: nothing yet."""
    try:
        return os.read(number, _PIECE)
    except BlockingIOError:
        return None
    except OSError:
        return b""

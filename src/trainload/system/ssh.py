"""One session of the system's ssh program: its configuration, keys, agent and jump hosts are the user's own.

Nobody is asked anything, no key is accepted that is not known yet, and nothing of ours is lent to the far side: no
agent, no display, no shared connection (THREATS S01, S02, S08).
"""

from __future__ import annotations

import os
import re
import select
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType

from trainload.address import Address
from trainload.errors import HostError, Text
from trainload.system.process import ProcessError, run
from trainload.system.ssh_trouble import explain, fingerprint_in, is_unknown_key

PROGRAM = "ssh"
_OPTIONS = {
    "BatchMode": "yes", "StrictHostKeyChecking": "yes", "ForwardAgent": "no", "ForwardX11": "no",
    "ControlMaster": "no", "ControlPath": "none", "PermitLocalCommand": "no", "RemoteCommand": "none",
    "ExitOnForwardFailure": "no", "LogLevel": "INFO", "ConnectTimeout": "20", "ServerAliveInterval": "15",
    "ServerAliveCountMax": "4",
}  # fmt: skip
"""A far side that is gone is noticed after a minute."""
_KEPT = 400
"""Lines of ssh's own words that are kept."""
_PIECE = 1 << 16
_SHORT, _PATIENCE = 0.5, 20.0
"""Seconds for ssh to end once its input is closed, and to say whether it could forward."""


def command(address: Address, *words: str, forward: int | None = None, options: Sequence[str] = ()) -> list[str]:
    """The argument list of a session that runs ``words`` there.

    ``forward``: a port of this machine's loopback that is to be reached from there; the far side picks its own.
    """
    argv = [PROGRAM, "-T", "-a", "-x"]
    for name, value in _OPTIONS.items():
        argv += ["-o", f"{name}={value}"]
    argv += options
    if address.port is not None:
        argv += ["-p", str(address.port)]
    if forward is not None:
        argv += ["-R", f"127.0.0.1:0:127.0.0.1:{forward}"]
    return [*argv, "--", address.login, *words]


class Session:
    """A program on the far side, with pipes to it; a context manager. One thread writes, one reads."""

    def __init__(
        self, address: Address, *words: str, forward: int | None = None, environ: Mapping[str, str] | None = None,
        apart: bool = False, connect: float | None = None,
    ) -> None:  # fmt: skip
        """``apart``: in a session of its own, where no key of our terminal reaches it. ``connect``: seconds."""
        self.address = address
        self._apart = apart
        self._argv = command(address, *words, forward=forward)
        if connect is not None:
            usual = f"ConnectTimeout={_OPTIONS['ConnectTimeout']}"
            self._argv[self._argv.index(usual)] = f"ConnectTimeout={max(1, round(connect))}"
        self._words = words
        self._environ = dict(environ) if environ is not None else None
        self._forward = forward
        self._lines: deque[str] = deque(maxlen=_KEPT)
        self._told = threading.Condition()
        self._port: int | None = None
        self._refused = False
        self.sent = 0
        """Bytes written so far."""

    def __enter__(self) -> Session:
        try:
            self._process = subprocess.Popen(
                self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                env=self._environ, start_new_session=self._apart,
            )  # fmt: skip
        except FileNotFoundError as error:
            raise ProcessError(
                Text("{program} is not installed", program=PROGRAM), hints=[Text("install openssh-client")]
            ) from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        self._listener = threading.Thread(target=self._listen, name="ssh", daemon=True)
        self._listener.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish(hurry=error is not None)
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()

    def write(self, data: bytes | memoryview) -> None:
        """Raises :class:`HostError` when the far side is gone."""
        view = memoryview(data)
        try:
            while view:
                done = os.write(self._in, view)
                self.sent += done
                view = view[done:]
        except (BrokenPipeError, ConnectionResetError) as error:
            raise self.lost() from error

    def read(self, timeout: float | None = None) -> bytes:
        """The next bytes, empty at the end. Raises :class:`HostError` after ``timeout`` seconds without any."""
        if timeout is not None and not select.select([self._out], [], [], timeout)[0]:
            raise HostError(
                Text("{host} does not answer", host=self.address),
                got=Text("nothing in {seconds} s", seconds=timeout),
                retryable=True,
            )
        return os.read(self._out, _PIECE)

    def forwarded(self) -> int | None:
        """The port there that leads to ours; None when the server forbids it."""
        end = time.monotonic() + _PATIENCE
        with self._told:
            while self._port is None and not self._refused and self._process.poll() is None:
                if not self._told.wait(max(0.0, end - time.monotonic())):
                    break
            return self._port

    def finish(self, *, hurry: bool = False) -> None:
        """Let the far program see the end of its input, and wait for its own; for the thread that writes."""
        self.end_input()
        self._wait(_SHORT if hurry else _PATIENCE)

    def end_input(self) -> None:
        """Let the far program see the end of its input, and go on reading what it says."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()

    def lost(self) -> HostError:
        """Why the session is over, told as what to do about it; from any thread."""
        code = self._wait(_PATIENCE)
        said = "\n".join(self._lines)
        fingerprint = fingerprint_in(said)
        if code == 255 and fingerprint is None and is_unknown_key(said):
            fingerprint = self._ask_fingerprint()
        return explain(self.address, code, said, fingerprint)

    def _ask_fingerprint(self) -> str | None:
        """ssh tells the key it refuses only when it is talkative; it goes the same way, by the same jump hosts."""
        argv = command(self.address, *self._words, options=["-v"])
        argv[argv.index("LogLevel=INFO")] = "LogLevel=DEBUG1"
        try:
            return fingerprint_in(run(argv, env=self._environ, timeout=_PATIENCE).complaint)
        except ProcessError:
            return None

    def _listen(self) -> None:
        assert self._process.stderr is not None
        mine = re.compile(rf"Allocated port (\d+) for remote forward to 127\.0\.0\.1:{self._forward}\b")
        for raw in self._process.stderr:
            line = raw.decode("utf-8", "replace").rstrip("\r\n")
            self._lines.append(line)
            allocated = mine.match(line)
            with self._told:
                if allocated:
                    self._port = int(allocated[1])
                elif "remote port forwarding failed" in line:
                    self._refused = True
                self._told.notify_all()
        with self._told:
            self._refused = True
            self._told.notify_all()

    def _wait(self, patience: float) -> int:
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.terminate()
            self._process.wait()
        self._listener.join(_PATIENCE)
        return self._process.returncode

"""A program that runs beside us with our standard streams, and in our group: a terminal's Ctrl-C reaches it."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO


class Child:
    """One running program."""

    def __init__(
        self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, stdout: TextIO | None = None
    ) -> None:
        """``stdout``: takes what it says there, instead of ours. Raises :class:`OSError` when it cannot start."""
        self._process = subprocess.Popen(list(argv), env=dict(env), cwd=cwd, stdout=stdout)

    @property
    def exit_code(self) -> int | None:
        """As a shell sees it; None while it runs."""
        code = self._process.poll()
        return 128 - code if code is not None and code < 0 else code

    def tell(self, number: int) -> None:
        """Send a signal, unless it ended."""
        self._process.send_signal(number)

    def wait(self, seconds: float | None = None) -> int | None:
        """Its exit code; None when it still runs after ``seconds``."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        return self.exit_code

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end, by a signal that it may take its time for; its exit code."""
        self.tell(number)
        code = self.wait()
        assert code is not None
        return code

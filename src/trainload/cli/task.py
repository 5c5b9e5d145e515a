"""One task of a verb as a line of progress: begun, moved, ended, or failed."""

from __future__ import annotations

from types import TracebackType
from typing import BinaryIO

from trainload.events import Began, Ended, How, Moved, Reporter

_STEP = 4 << 20
"""Bytes between two reports."""


class Task:
    """A context manager; ``how``: how it ends if nothing fails."""

    def __init__(self, reporter: Reporter, key: str, label: str, how: How, total: int | None = None) -> None:
        self._reporter = reporter
        self._key = key
        self._label = label
        self._how = how
        self._total = total
        self._told = 0
        self.done = 0
        """Bytes so far."""

    def __enter__(self) -> Task:
        self.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(failed=error is not None)

    def begin(self) -> None:
        self._reporter.report(Began(self._key, self._label, self._total))

    def end(self, *, failed: bool) -> None:
        how, size = (How.FAILED, None) if failed else (self._how, self.done)
        self._reporter.report(Ended(self._key, self._label, how, size))

    def moved(self, done: int) -> None:
        """``done`` bytes so far, in all."""
        self.done = done
        if done - self._told >= _STEP:
            self._told = done
            self._reporter.report(Moved(self._key, done))

    def reading(self, stream: BinaryIO) -> Reading:
        """``stream``, whose bytes count as they are read."""
        return Reading(stream, self)


class Reading:
    """A stream that moves a task."""

    def __init__(self, stream: BinaryIO, task: Task) -> None:
        self._stream = stream
        self._task = task

    def read(self, size: int, /) -> bytes:
        data = self._stream.read(size)
        self._task.moved(self._task.done + len(data))
        return data

"""Listeners to progress: bars on a terminal, plain lines in a log, warnings only when quiet.

All three write the same sentence when a task ends, so a log and a terminal tell the same story.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TextIO

from trainload.cli.render import colours, label
from trainload.cli.texts import Catalogue
from trainload.cli.units import cells, duration, pad, rate, shorten, size
from trainload.errors import Text, printable
from trainload.events import Began, Ended, Event, How, Level, Moved, Said
from trainload.values import dataclass, replace

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_LABEL = 44  # cells
_BESIDE = 45  # cells of a line beside its label: how it ended, size, time and rate
_LEAST_LABEL = 16
_SMALL = 1_000_000  # bytes; a base has seventy packages below it, and their names tell nobody anything
_LOG_EVERY = 10.0  # seconds between two lines about one long task in a log
_PATIENCE = 0.3  # seconds before a bar is drawn: what is over sooner needs none, and rich takes 70 ms to import


@dataclass(slots=True)
class _Task:
    label: str
    total: int | None
    began: float
    told: float
    done: int = 0


class Lines:
    """One plain line per task when it ends, and one every ten seconds while it runs."""

    def __init__(
        self, stream: TextIO, catalogue: Catalogue, *, colour: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._catalogue = catalogue
        self._colour = colour
        self._clock = clock
        self._tasks: dict[str, _Task] = {}
        self._small: list[int] = []
        """Sizes of the small files fetched since the last line."""
        self._present: list[tuple[int, str]] = []
        """Sizes and labels of what was already there and is still to be told: one line for all of it."""
        self._lock = threading.RLock()
        self._width = label_width(stream)

    def report(self, event: Event, /) -> None:
        with self._lock:
            match event:
                case Said(text, level):
                    self._tell_kept()
                    self._said(self._catalogue.text(text), level)
                case Began(task, name, total):
                    now = self._clock()
                    self._tasks[task] = _Task(printable(self._catalogue.template(name)), total, now, now)
                    self._began(task)
                case Moved(task, done) if task in self._tasks:
                    self._tasks[task].done = done
                    self._moved(task)
                case Ended():
                    self._ended(self._timed(event))
                    self._tasks.pop(event.task, None)
                case _:
                    pass

    def close(self) -> None:
        """Tells what is untold; nothing that moves is left on the terminal."""
        with self._lock:
            self._tell_kept()

    def _timed(self, event: Ended) -> Ended:
        """``event`` with the time it took, where only we know it."""
        began = self._tasks.get(event.task)
        if event.seconds is not None or began is None:
            return event
        return replace(event, seconds=self._clock() - began.began)

    def _tell_kept(self) -> None:
        self._tell_small()
        if self._present:
            names = [name for _, name in sorted(self._present, key=lambda item: -item[0])]
            if len(names) > 1:
                name = shorten(names[0], self._width - 12)  # so that the count still stands behind it
                text = Text("{name} and {count} more", name=name, count=len(names) - 1)
                names = [self._catalogue.text(text)]
            event = Ended("", names[0], How.PRESENT, sum(size for size, _ in self._present))
            self._present = []
            self._write(ended_line(event, self._catalogue, self._width))

    def _tell_small(self) -> None:
        if self._small:
            count = len(self._small)
            text = Text("{count} smaller files", count=count) if count > 1 else Text("a smaller file")
            event = Ended("", self._catalogue.text(text), How.FETCHED, sum(self._small))
            self._small = []
            self._write(ended_line(event, self._catalogue, self._width))

    def _said(self, sentence: str, level: Level) -> None:
        mark = label("warning", self._catalogue, colour=self._colour) if level is Level.WARNING else ""
        self._write(mark + sentence)

    def _began(self, task: str) -> None:
        """Nothing: a task is told when it ends or takes long."""

    def _moved(self, task: str) -> None:
        known, now = self._tasks[task], self._clock()
        if now - known.told >= _LOG_EVERY:
            known.told = now
            self._write(f"  {known.label}: {amount(known.done, known.total)}")

    def _ended(self, event: Ended) -> None:
        if event.how is How.FETCHED and event.size is not None and event.size < _SMALL:
            self._small.append(event.size)
            return
        if event.how is How.PRESENT:
            self._present.append((event.size or 0, printable(self._catalogue.template(event.label))))
            return
        if event.how is not How.FETCHED and self._tasks.keys() <= {event.task}:
            self._tell_small()
        self._write(ended_line(event, self._catalogue, self._width))

    def _write(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()


class Bars(Lines):
    """Bars while something takes its time; the lines stay, the bars go."""

    _progress: Progress | None = None
    _timer: threading.Timer | None = None

    def __init__(self, stream: TextIO, catalogue: Catalogue, *, colour: bool) -> None:
        super().__init__(stream, catalogue, colour=colour)
        self._bars: dict[str, TaskID] = {}

    def close(self) -> None:
        with self._lock:
            self._tasks.clear()
            self._hide()
        super().close()

    def _began(self, task: str) -> None:
        if self._progress is not None:
            self._add(task)
        elif self._timer is None:
            self._timer = threading.Timer(_PATIENCE, self._show)
            self._timer.daemon = True
            self._timer.start()

    def _moved(self, task: str) -> None:
        if self._progress is not None and task in self._bars:
            known = self._tasks[task]
            self._progress.update(
                self._bars[task],
                completed=known.done,
                amount=amount(known.done, known.total),
                rate=self._rate(known),
            )

    def _ended(self, event: Ended) -> None:
        bar = self._bars.pop(event.task, None)
        if self._progress is not None and bar is not None:
            self._progress.remove_task(bar)
        super()._ended(event)
        if self._tasks.keys() <= {event.task}:
            self._hide()

    def _write(self, line: str) -> None:
        if self._progress is None:
            super()._write(line)
        else:
            from rich.text import Text as Line

            self._progress.console.print(Line.from_ansi(line), soft_wrap=True)

    def _show(self) -> None:
        """Called by the timer: draws a bar for each task that still runs."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        with self._lock:
            self._timer = None
            if not self._tasks:
                return
            self._progress = Progress(
                TextColumn("  {task.description}", markup=False),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[amount]}", markup=False),
                TextColumn("{task.fields[rate]}", markup=False),
                console=Console(file=self._stream, no_color=not self._colour),
                transient=True,
            )
            for task in self._tasks:
                self._add(task)
            self._progress.start()

    def _add(self, task: str) -> None:
        assert self._progress is not None
        known = self._tasks[task]
        self._bars[task] = self._progress.add_task(
            shorten(known.label, self._width),
            total=known.total,
            completed=known.done,
            amount=amount(known.done, known.total),
            rate=self._rate(known),
        )

    def _rate(self, known: _Task) -> str:
        """Beside the bar; nothing where no bytes are counted."""
        return rate(known.done, self._clock() - known.began) if known.done else ""

    def _hide(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
            self._bars.clear()


class Warnings(Lines):
    """Only warnings: what ``--quiet`` leaves."""

    def report(self, event: Event, /) -> None:
        if isinstance(event, Said) and event.level is Level.WARNING:
            super().report(event)


def label_width(stream: TextIO) -> int:
    """Cells for the label, so that a whole line fits the terminal; a log has room for all of it."""
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):  # no terminal
        return _LABEL
    return max(_LEAST_LABEL, min(_LABEL, columns - _BESIDE)) if columns else _LABEL


def amount(done: int, total: int | None) -> str:
    """``45 MB / 192 MB``, ``45 MB``, or nothing when no byte has come yet."""
    if total is not None:
        return f"{size(done)} / {size(total)}"
    return size(done) if done else ""


def ended_line(event: Ended, catalogue: Catalogue, width: int = _LABEL) -> str:
    """``  fetched        torch 2.13.0+cpu    192 MB  2.1 s  91 MB/s``."""
    how = pad(catalogue.template(event.how.value), max(cells(catalogue.template(h.value)) for h in How))
    parts = [how, pad(shorten(printable(catalogue.template(event.label)), width), width)]
    parts.append(pad(size(event.size) if event.size is not None else "", 8, right=True))
    if event.seconds is not None and event.how is not How.PRESENT:
        parts.append(pad(duration(event.seconds), 6, right=True))
        parts.append(rate(event.size, event.seconds) if event.size else "")
    return ("  " + "  ".join(parts)).rstrip()


def reporter_for(stream: TextIO, catalogue: Catalogue, *, quiet: bool, environ: Mapping[str, str]) -> Lines:
    """The listener that suits ``stream``."""
    colour = colours(stream, environ)
    if quiet:
        return Warnings(stream, catalogue, colour=colour)
    if stream.isatty() and environ.get("TERM") != "dumb" and not environ.get("CI"):
        return Bars(stream, catalogue, colour=colour)
    return Lines(stream, catalogue, colour=colour)

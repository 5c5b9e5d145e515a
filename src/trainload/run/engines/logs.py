"""What programs say, as lines; progress bars, which end in a carriage return, as frames that replace each other."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from trainload.errors import Text, UsageError
from trainload.run.engines.interface import LogLine, LogQuery
from trainload.values import dataclass, field

_LONGEST = 1 << 20  # bytes of a line; one without an end would otherwise grow in memory
_ENDS = re.compile(rb"\r?\n|\r(?!\n)")
_SPAN = re.compile(r"(?:(\d+(?:\.\d+)?)(h|m|s))")
_UNITS = {"h": 3600, "m": 60, "s": 1}


@dataclass(slots=True)
class Splitter:
    """Bytes as they come, to lines and frames."""

    rest: bytes = b""
    """What has no end yet."""

    def feed(self, data: bytes) -> list[tuple[bytes, bool]]:
        """(text, whether it is a frame), in order."""
        found = []
        text = self.rest + data
        start = 0
        for end in _ENDS.finditer(text):
            frame = end[0] == b"\r"
            if frame and end.end() == len(text):
                break  # the line feed of this one may be on its way
            if not frame or end.start() > start:
                found.append((text[start : end.start()], frame))
            start = end.end()
        self.rest = text[start:]
        if len(self.rest) > _LONGEST:
            found.append((self.rest, False))
            self.rest = b""
        return found


def visible(text: bytes) -> bytes:
    """The last frame of a line that holds several, as a terminal would show it."""
    return next((frame for frame in reversed(text.split(b"\r")) if frame), b"")


def collapsed(lines: Iterable[LogLine]) -> Iterator[LogLine]:
    """Without frames that were written over; the last one stays when nothing follows."""
    held: dict[bool, LogLine] = {}
    for line in lines:
        held.pop(line.stderr, None)
        if line.frame:
            held[line.stderr] = line
        else:
            yield line
    yield from sorted(held.values(), key=lambda line: line.at)


def chosen(lines: Iterable[LogLine], query: LogQuery) -> Iterator[LogLine]:
    """Those of ``lines`` that ``query`` asks for; ``follow`` is the caller's business."""
    asked = (
        line
        for line in lines
        if (query.since is None or line.at >= query.since) and (query.until is None or line.at <= query.until)
    )
    return asked if query.tail is None else iter(deque(asked, maxlen=query.tail))


def moment(text: str, now: datetime, option: str) -> datetime:
    """``--since``: a time (``2026-11-27T10:00:00``), seconds since the epoch, or a span back from now (``1h30m``).

    A time without a zone is local, as in Docker. Raises :class:`UsageError`.
    """
    spans = _SPAN.findall(text)
    if spans and "".join(f"{number}{unit}" for number, unit in spans) == text:
        return now - timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in spans))
    try:
        if re.fullmatch(r"\d+(\.\d+)?", text):
            return datetime.fromtimestamp(float(text), UTC)
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            Text("{option} is not a time", option=option), got=text, want="10m, 1h30m or 2026-11-27T10:00:00"
        ) from error


@dataclass(slots=True)
class Latest:
    """Keeps a frame back until it has been the latest for a while, so that a bar does not fill the log."""

    seconds: float
    frames: dict[bool, LogLine] = field(default_factory=dict)
    told: dict[bool, datetime] = field(default_factory=dict)

    def take(self, line: LogLine) -> list[LogLine]:
        """What of it is to be written now."""
        if not line.frame:
            self.frames.pop(line.stderr, None)
            return [line]
        last = self.told.get(line.stderr)
        if last is not None and (line.at - last).total_seconds() < self.seconds:
            self.frames[line.stderr] = line
            return []
        self.frames.pop(line.stderr, None)
        self.told[line.stderr] = line.at
        return [line]

    def rest(self) -> list[LogLine]:
        """At the end: the frames nothing was written over."""
        found = sorted(self.frames.values(), key=lambda line: line.at)
        self.frames.clear()
        return found

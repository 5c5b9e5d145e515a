"""What a program says, as lines of a bounded log: in the form of ``trainload.run.engines.embedded.logfile``."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

SIZE, FILES = 10 << 20, 3
"""Bytes of one file, and how many there are."""
_LONGEST = 1 << 20
_BATCH = 500
_MOMENT = 0.1
_BAR = 1.0
"""Seconds a progress frame stays before the next is worth a line."""
_ENDS = re.compile(rb"\r?\n|\r(?!\n)")


class Splitter:
    """Bytes as they come, to lines and to frames, which end in a carriage return."""

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, data: bytes) -> list[tuple[bytes, bool]]:
        found, start = [], 0
        text = self.rest + data
        for end in _ENDS.finditer(text):
            frame = end.group() == b"\r"
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


class Log:
    """Both streams of a program on their way into its log; of a progress bar one frame a second."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = open(str(path), "ab", buffering=0)  # noqa: PTH123, SIM115
        self._splitters = (Splitter(), Splitter())
        self._held: dict[int, dict[str, Any]] = {}
        self._told: dict[int, float] = {}

    def take(self, data: bytes, stderr: int) -> None:
        """``data`` empty: the stream's end."""
        splitter = self._splitters[stderr]
        found = splitter.feed(data)
        if not data and splitter.rest:
            found.append((splitter.rest.rstrip(b"\r"), False))
            splitter.rest = b""
        for text, frame in found:
            self._line(_record(text, stderr, frame=frame), stderr, frame=frame)

    def close(self) -> None:
        for _, record in sorted(self._held.items()):
            self._write(record)
        self._file.close()

    def _line(self, record: dict[str, Any], stderr: int, *, frame: bool) -> None:
        if frame and time.monotonic() - self._told.get(stderr, -_BAR) < _BAR:
            self._held[stderr] = record
            return
        self._held.pop(stderr, None)
        if frame:
            self._told[stderr] = time.monotonic()
        self._write(record)

    def _write(self, record: dict[str, Any]) -> None:
        data = (json.dumps(record) + "\n").encode("ascii")
        try:
            if self._file.tell() and self._file.tell() + len(data) > SIZE:
                self._turn()
            self._file.write(data)
        except OSError:
            return  # a full disk ends the log, not the run

    def _turn(self) -> None:
        self._file.close()
        for number in range(FILES - 1, 0, -1):
            older = numbered(self._path, number - 1)
            if older.exists():
                older.replace(numbered(self._path, number))
        self._file = open(str(self._path), "ab", buffering=0)  # noqa: PTH123, SIM115


def _record(text: bytes, stderr: int, *, frame: bool) -> dict[str, Any]:
    at = datetime.now(timezone.utc).isoformat()  # noqa: UP017 - Python 3.8
    record: dict[str, Any] = {"at": at, "text": text.decode("utf-8", "surrogateescape")}
    if stderr:
        record["stderr"] = True
    if frame:
        record["frame"] = True
    return record


def numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}") if number else path


def follow(path: Path, lives: Callable[[], bool] | None, pulse: float) -> Iterator[list[dict[str, Any]]]:
    """Lines in batches; an empty one after ``pulse`` seconds of silence. ``lives`` None: only what is there."""
    for number in range(FILES - 1, 0, -1):
        if numbered(path, number).exists():
            with numbered(path, number).open("rb") as file:
                yield from _batches(file)
    if not path.exists():
        return
    told = time.monotonic()
    file = path.open("rb")
    try:
        while True:
            living = lives is not None and lives()  # asked first: what is written before the end is read after it
            for batch in _batches(file):
                yield batch
                told = time.monotonic()
            if _was_turned(path, file):
                yield from _batches(file)
                file.close()
                file = path.open("rb")
            elif not living:
                return
            else:
                if time.monotonic() - told > pulse:
                    yield []
                    told = time.monotonic()
                time.sleep(_MOMENT)
    finally:
        file.close()


def _was_turned(path: Path, file: IO[bytes]) -> bool:
    try:
        return not os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _batches(file: IO[bytes]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    while True:
        start = file.tell()
        data = file.readline()
        if not data.endswith(b"\n"):
            file.seek(start)  # being written, or the end
            break
        batch.append(json.loads(data.decode("ascii")))
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch

"""The log of a detached run: JSON lines in a few files of bounded size, the oldest thrown away."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import IO

from trainload.limits import MiB
from trainload.run.engines.interface import LogLine

SIZE = 10 * MiB
"""Of one file."""
FILES = 3
_MOMENT = 0.05  # seconds between looks for new lines


class LogWriter:
    """Appends; whoever reads meanwhile sees whole lines only."""

    def __init__(self, path: Path, size: int = SIZE, files: int = FILES) -> None:
        self._path, self._size, self._files = path, size, files
        self._file = path.open("ab", buffering=0)

    def write(self, line: LogLine) -> None:
        record = (json.dumps(_record(line)) + "\n").encode("ascii")
        if self._file.tell() + len(record) > self._size and self._file.tell():
            self._turn()
        self._file.write(record)

    def close(self) -> None:
        self._file.close()

    def _turn(self) -> None:
        self._file.close()
        for number in range(self._files - 1, 0, -1):
            older = _numbered(self._path, number - 1)
            if older.exists():
                older.replace(_numbered(self._path, number))
        self._file = self._path.open("ab", buffering=0)


def read(path: Path, files: int = FILES) -> Iterator[LogLine]:
    """Every line that is there, oldest first."""
    for number in range(files - 1, -1, -1):
        try:
            with _numbered(path, number).open("rb") as file:
                yield from _lines(file)
        except FileNotFoundError:
            continue


def follow(path: Path, lives: Callable[[], bool], files: int = FILES) -> Iterator[LogLine]:
    """As :func:`read`, and then what is added as long as ``lives`` says so."""
    for number in range(files - 1, 0, -1):
        if _numbered(path, number).exists():
            with _numbered(path, number).open("rb") as file:
                yield from _lines(file)
    while not path.exists():
        if not lives():
            return
        time.sleep(_MOMENT)
    file = path.open("rb")
    try:
        while True:
            living = lives()  # asked first: what is written before the end is read after it
            yield from _lines(file)
            if _was_turned(path, file):
                yield from _lines(file)
                file.close()
                file = path.open("rb")
            elif not living:
                return
            else:
                time.sleep(_MOMENT)
    finally:
        file.close()


def _was_turned(path: Path, file: IO[bytes]) -> bool:
    import os

    try:
        return not os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _lines(file: IO[bytes]) -> Iterator[LogLine]:
    while True:
        start = file.tell()
        data = file.readline()
        if not data.endswith(b"\n"):
            file.seek(start)  # being written
            return
        yield line_of(json.loads(data))


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}") if number else path


def _record(line: LogLine) -> dict[str, object]:
    record: dict[str, object] = {"at": line.at.isoformat(), "text": line.text.decode("utf-8", "surrogateescape")}
    if line.stderr:
        record["stderr"] = True
    if line.frame:
        record["frame"] = True
    return record


def line_of(record: dict[str, object]) -> LogLine:
    """What a record of the log says."""
    text = str(record["text"]).encode("utf-8", "surrogateescape")
    at = datetime.fromisoformat(str(record["at"]))
    return LogLine(at, text, stderr=bool(record.get("stderr")), frame=bool(record.get("frame")))

"""TOML documents from outside as typed tables: bounded before they are parsed, every problem with its key path."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping

from trainload.errors import LockError, Place, Problems, Text
from trainload.limits import DEFAULT, Limits
from trainload.values import dataclass

_BOM = b"\xef\xbb\xbf"
_PIECES = re.compile(rb"[\"'=\[\]{},#]")


def parse(data: bytes, file: str, limits: Limits = DEFAULT) -> dict[str, object]:
    """The document's tables; a byte order mark and CRLF change nothing (THREATS F07).

    Raises :class:`LockError` for what is not UTF-8 or not TOML, too large or too deep (THREATS F06).
    """
    place = Place(file)
    if len(data) > limits.document:
        raise LockError(
            "the file is too large", place=place, got=f"{len(data)} bytes", want=f"at most {limits.document} bytes"
        )
    try:
        text = data.removeprefix(_BOM).decode()
    except UnicodeDecodeError as error:
        raise LockError("the file is not UTF-8", place=place, got=f"a bad byte at {error.start}") from error
    if _too_deep(data, limits.nesting):
        raise LockError("the file is nested too deeply", place=place, want=f"at most {limits.nesting} levels")
    try:
        return tomllib.loads(text)
    except ValueError as error:  # tomllib's own, and int() for a number of 4,300 digits
        raise LockError(Text("the file is not valid TOML: {reason}", reason=str(error)), place=place) from error


def _too_deep(data: bytes, levels: int) -> bool:
    """A cheap upper bound: brackets and dots in strings count too, but nothing real has a hundred in a row."""
    depth = 0
    for bracket in re.findall(rb"[\[\]{}]", data):
        depth = depth + 1 if bracket in b"[{" else max(0, depth - 1)
        if depth > levels:
            return True
    return any(
        piece.count(b".") >= levels
        for line in data.split(b"\n")
        if line.count(b".") >= levels
        for piece in _PIECES.split(line)
    )


@dataclass(slots=True)
class Table:
    """One table of a document: takes values by type and notes every problem with its key path.

    A wrong or missing value is noted and read as a neutral one; :meth:`Problems.check` tells them all.
    """

    values: Mapping[str, object]
    file: str
    problems: Problems
    path: str = ""

    def key(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def wrong(self, name: str, text: Text | str, *, got: object = None, want: object = None) -> None:
        """Note that the value at ``name`` is wrong."""
        place = Place(self.file, self.key(name) if name else self.path)
        self.problems.add(LockError(text, place=place, got=got, want=want))

    def text(self, name: str, pattern: re.Pattern[str] | None = None, *, want: str = "a text") -> str:
        """A mandatory string that matches ``pattern`` as a whole."""
        value = self.values.get(name)
        if isinstance(value, str) and (pattern is None or pattern.fullmatch(value)):
            return value
        if value is None:
            self.wrong(name, "is missing", want=want)
        else:
            self.wrong(name, "has a wrong value", got=repr(value)[:200], want=want)
        return ""

    def optional_text(
        self, name: str, pattern: re.Pattern[str] | None = None, *, want: str = "a text"
    ) -> str | None:
        return self.text(name, pattern, want=want) if name in self.values else None

    def number(self, name: str, *, most: int = 1 << 53) -> int:
        """A mandatory whole number, not negative."""
        value = self.values.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most:
            return value
        if value is None:
            self.wrong(name, "is missing", want="a number")
        else:
            self.wrong(name, "has a wrong value", got=repr(value)[:200], want=f"a number between 0 and {most}")
        return 0

    def optional_number(self, name: str) -> int | None:
        return self.number(name) if name in self.values else None

    def flag(self, name: str) -> bool:
        """True or false; a missing one is false."""
        value = self.values.get(name, False)
        if isinstance(value, bool):
            return value
        self.wrong(name, "has a wrong value", got=repr(value)[:200], want="true or false")
        return False

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings; a missing one is empty."""
        value = self.values.get(name, [])
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        self.wrong(name, "has a wrong value", got=repr(value)[:200], want="a list of texts")
        return ()

    def table(self, name: str, *, required: bool = True) -> Table:
        """A table inside this one; a missing one is empty."""
        value = self.values.get(name)
        if not isinstance(value, dict):
            if required or value is not None:
                self.wrong(name, "is missing" if value is None else "has a wrong value", want="a table")
            value = {}
        return Table(value, self.file, self.problems, self.key(name))

    def tables(self, name: str) -> Iterator[Table]:
        """A list of tables; a missing one is empty."""
        value = self.values.get(name, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            self.wrong(name, "has a wrong value", got=repr(value)[:200], want="a list of tables")
            return
        for index, item in enumerate(value):
            yield Table(item, self.file, self.problems, f"{self.key(name)}[{index}]")

    def only(self, known: Collection[str]) -> None:
        """Note every key that is not known."""
        for name in self.values:
            if name not in known:
                self.wrong(name, "is not known here", want=", ".join(sorted(known)))

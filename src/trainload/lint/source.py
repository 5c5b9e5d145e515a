"""A file's lines with their own ends, and edits to them that leave every other byte as it is."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from trainload.lint.model import Edit

YAML = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""YAML 1.1's line breaks, as PyYAML counts lines."""
PLAIN = re.compile("\r?\n")
"""A Dockerfile's."""


@dataclass(frozen=True, slots=True)
class Source:
    """A text by lines. ``ends[i]`` is the line end of ``lines[i]``; the last line's may be empty."""

    lines: tuple[str, ...]
    ends: tuple[str, ...]

    @classmethod
    def of(cls, text: str, breaks: re.Pattern[str] = YAML) -> Source:
        lines, ends, at = [], [], 0
        for match in breaks.finditer(text):
            lines.append(text[at : match.start()])
            ends.append(match[0])
            at = match.end()
        if at < len(text):
            lines.append(text[at:])
            ends.append("")
        return cls(tuple(lines), tuple(ends))

    def line(self, number: int) -> str:
        """The line ``number``, from 1, without its end."""
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""

    def part(self, first: int, last: int) -> tuple[str, ...]:
        return self.lines[first - 1 : last]

    def indent(self, number: int) -> str:
        line = self.line(number)
        return line[: len(line) - len(line.lstrip(" \t"))]

    @property
    def text(self) -> str:
        return "".join(line + end for line, end in zip(self.lines, self.ends, strict=True))

    def edited(self, edits: Iterable[Edit]) -> Source:
        """With ``edits``, which do not overlap."""
        lines, ends = list(self.lines), list(self.ends)
        usual = next((end for end in self.ends if end), "\n")
        # from the end, so that numbers hold; of two insertions at one place the first one comes first
        order = sorted(enumerate(edits), key=lambda one: (one[1].first, one[1].last, one[0]), reverse=True)
        for _, edit in order:
            if edit.lines and edit.first > len(lines) and ends and not ends[-1]:
                ends[-1] = usual  # the file had no end of its last line
            kept_end = ends[edit.last - 1] if edit.last >= edit.first else usual
            new = [usual] * len(edit.lines)
            if new and edit.last == len(lines) and edit.last >= edit.first:
                new[-1] = kept_end
            lines[edit.first - 1 : edit.last] = edit.lines
            ends[edit.first - 1 : edit.last] = new
        return Source(tuple(lines), tuple(ends))


def apart(taken: Iterable[Edit], wanted: Iterable[Edit]) -> bool:
    """Whether ``wanted`` can be applied together with ``taken``: no line is touched twice."""
    lines = {(edit.file, number) for edit in taken for number in _touched(edit)}
    return not any((edit.file, number) in lines for edit in wanted for number in _touched(edit))


def _touched(edit: Edit) -> range:
    return range(edit.first, max(edit.last, edit.first) + 1)

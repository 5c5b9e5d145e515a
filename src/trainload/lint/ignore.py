"""``# trainload: ignore[rule]``: on the line itself, or in the comments above it."""

from __future__ import annotations

import re

from trainload.lint.model import Flaw
from trainload.lint.source import Source

_COMMENT = re.compile(r"#\s*trainload:\s*ignore(?:\[(?P<rules>[a-z0-9, :_-]*)\])?", re.IGNORECASE)


def ignored(source: Source, flaw: Flaw, rule: str) -> bool:
    """Whether the file's author has said that this is meant."""
    numbers = list(range(flaw.line, max(flaw.last, flaw.line) + 1))
    above = flaw.line - 1
    while above > 0 and source.line(above).lstrip().startswith("#"):
        numbers.append(above)
        above -= 1
    return any(_names(source.line(number), rule) for number in numbers)


def _names(line: str, rule: str) -> bool:
    for match in _COMMENT.finditer(line):
        rules = match["rules"]
        if rules is None or rule in [one.strip() for one in rules.split(",")]:
            return True
    return False

"""Ignore patterns as ``.gitignore`` writes them, matched in time linear in the name (THREATS P11).

The grammar: https://git-scm.com/docs/gitignore. No pattern can make matching slow: inside a name each ``*`` is
an atomic group that takes the shortest fit, and over folders ``**`` keeps one point to come back to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from trainload.errors import ConfigError, Place, Text
from trainload.values import dataclass

_POSIX = {
    "alnum": "a-zA-Z0-9", "alpha": "a-zA-Z", "blank": r" \t", "cntrl": r"\x00-\x1f\x7f", "digit": "0-9",
    "lower": "a-z", "punct": r"!-/:-@\[-`{-~", "space": r"\s", "upper": "A-Z", "xdigit": "0-9A-Fa-f",
}  # fmt: skip
LONGEST = 4_096
MOST = 2_000
"""Patterns of one ignore file."""


@dataclass(frozen=True, slots=True)
class Wild:
    """A name with wildcards; compiled when a name first comes near it."""

    expression: str

    def match(self, name: str) -> bool:
        return _compiled(self.expression).match(name) is not None


@lru_cache(maxsize=8_192)
def _compiled(expression: str) -> re.Pattern[str]:
    return re.compile(expression + r"\Z", re.DOTALL)


Segment = str | Wild | None
"""A name of a path: as it stands, with wildcards, or None for ``**``."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One pattern."""

    text: str
    segments: tuple[Segment, ...]
    negated: bool = False
    folders_only: bool = False

    def matches(self, parts: Sequence[str], *, folder: bool) -> bool:
        return (folder or not self.folders_only) and _match(self.segments, parts)

    def may_match_below(self, parts: Sequence[str]) -> bool:
        """Something inside the folder ``parts`` can match, judged by the leading names without wildcards."""
        for part, segment in zip(parts, self.segments, strict=False):
            if not isinstance(segment, str):
                return True
            if part != segment:
                return False
        return len(parts) < len(self.segments)


class Rules:
    """The rules of one ignore file, the last match decides."""

    __slots__ = ("_literal", "_open", "_suffixes", "_wild", "rules")

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        numbered = tuple(reversed(tuple(enumerate(self.rules))))
        self._open = tuple(pair for pair in numbered if pair[1].segments[-1] is None)
        lasts = [rule.segments[-1] for rule in self.rules]
        self._literal = frozenset(last for last in lasts if isinstance(last, str))
        wild = dict.fromkeys(last.expression for last in lasts if isinstance(last, Wild))
        self._suffixes = tuple(suffix for text in wild if (suffix := _suffix(text)))
        self._wild = "|".join(text for text in wild if not _suffix(text))

    def find(self, parts: Sequence[str], *, folder: bool) -> Rule | None:
        """The rule that decides about the path, or None."""
        if not self.rules:
            return None
        found = self._find(parts, folder=folder)
        return None if found is None else found[1]

    def _find(self, parts: Sequence[str], *, folder: bool) -> tuple[int, Rule] | None:
        numbered: Iterable[tuple[int, Rule]] = self._open
        if self.near(parts[-1]):
            numbered = reversed(tuple(enumerate(self.rules)))
        for number, rule in numbered:
            if rule.matches(parts, folder=folder):
                return number, rule
        return None

    def near(self, name: str) -> bool:
        """Some rule's last segment matches; for most names none does, and this is all that is asked."""
        return (
            name in self._literal
            or name.endswith(self._suffixes)
            or (self._wild != "" and _compiled(f"(?:{self._wild})").match(name) is not None)
        )

    def find_within(self, parts: Sequence[str]) -> Rule | None:
        """As :meth:`find`, where a match of a folder holds for everything in it; the last rule still decides."""
        if not self.rules:
            return None
        found = [
            hit
            for length in range(1, len(parts) + 1)
            if (hit := self._find(parts[:length], folder=length < len(parts)))
        ]
        return max(found, key=lambda hit: hit[0])[1] if found else None

    def negation_below(self, parts: Sequence[str]) -> bool:
        """A rule may take back something inside the folder ``parts``."""
        return any(rule.negated and rule.may_match_below(parts) for rule in self.rules)


def _suffix(expression: str) -> str | None:
    """``.pyc`` for the expression of ``*.pyc``."""
    literal = expression.removeprefix(".*")
    plain = literal.replace("\\", "")
    return plain if expression.startswith(".*") and re.escape(plain) == literal else None


def parse(lines: Iterable[str], *, file: str = "", rooted: bool = False) -> Rules:
    """Rules of an ignore file's lines. ``rooted``: a pattern without ``/`` matches at the top only, as Docker's do.

    Raises :class:`ConfigError` when there are too many of them or one is too long.
    """
    rules: list[Rule] = []
    for number, line in enumerate(lines, 1):
        if len(line) > LONGEST or len(rules) >= MOST:
            raise ConfigError(
                Text("there are too many patterns, or this one is too long"),
                place=Place(file, line=number), want=f"at most {MOST} patterns of {LONGEST} characters",
            )  # fmt: skip
        rule = parse_rule(line, rooted=rooted)
        if rule is not None:
            rules.append(rule)
    return Rules(rules)


def parse_rule(line: str, *, rooted: bool = False) -> Rule | None:
    """The rule a line stands for; None for blank lines, comments and patterns that can match nothing."""
    text = line.rstrip("\r\n")
    if not text.strip() or text.startswith("#"):
        return None
    while text.endswith(" ") and not _escaped(text, len(text) - 1):
        text = text[:-1]
    negated = text.startswith("!")
    pattern = text[1:] if negated else text
    folders_only = pattern.endswith("/") and not rooted
    pattern = pattern.removesuffix("/")
    names = pattern.removeprefix("/").split("/")
    if rooted:
        names = [name for name in names if name not in ("", ".")]
    elif "/" not in pattern:
        names = ["**", *names]
    segments: list[Segment] = []
    for name in names:
        if name == "**":
            if not segments or segments[-1] is not None:
                segments.append(None)
            continue
        expression = _translate(name)
        if not expression:
            return None
        plain = expression.replace("\\", "") if "\\" in expression else expression
        segments.append(plain if re.escape(plain) == expression else Wild(expression))
    return Rule(text, tuple(segments), negated, folders_only) if segments else None


def _escaped(text: str, at: int) -> bool:
    backslashes = len(text[:at]) - len(text[:at].rstrip("\\"))
    return backslashes % 2 == 1


def _translate(name: str) -> str:
    """A regular expression for one name; "" when the pattern is broken (git: it matches nothing)."""
    pieces: list[list[str]] = [[]]
    at = 0
    while at < len(name):
        char = name[at]
        at += 1
        if char == "*":
            if pieces[-1] or len(pieces) == 1:
                pieces.append([])
        elif char == "?":
            pieces[-1].append(".")
        elif char == "[":
            charset, at = _charset(name, at)
            if not charset:
                return ""
            pieces[-1].append(charset)
        elif char == "\\":
            if at == len(name):
                return ""
            pieces[-1].append(re.escape(name[at]))
            at += 1
        else:
            pieces[-1].append(re.escape(char))
    first, *rest = ["".join(piece) for piece in pieces]
    if not rest:
        return first
    *middle, end = rest
    # the shortest fit of each middle piece is enough, so nothing has to be tried again
    return first + "".join(f"(?>.*?{piece})" for piece in middle) + (f".*{end}" if end else ".*")


def _charset(name: str, at: int) -> tuple[str, int]:
    """(expression, position after ``]``); an empty expression when ``[`` is never closed."""
    negated = at < len(name) and name[at] in "!^"
    at += negated
    out: list[str] = []
    first = True
    while at < len(name) and (name[at] != "]" or first):
        first = False
        if name.startswith("[:", at) and (end := name.find(":]", at)) > 0:
            word = _POSIX.get(name[at + 2 : end])
            if word is None:
                return "", at
            out.append(word)
            at = end + 2
            continue
        low, at = _member(name, at)
        if at + 1 < len(name) and name[at] == "-" and name[at + 1] != "]":
            high, at = _member(name, at + 1)
            if low <= high:
                out.append(f"{re.escape(low)}-{re.escape(high)}")
        else:
            out.append(re.escape(low))
    if at >= len(name):
        return "", at
    inside = "".join(out)
    if not inside:  # only empty ranges such as z-a
        return ("." if negated else "(?!)"), at + 1
    return f"[{'^' if negated else ''}{inside}]", at + 1


def _member(name: str, at: int) -> tuple[str, int]:
    if name[at] == "\\" and at + 1 < len(name):
        return name[at + 1], at + 2
    return name[at], at + 1


def _match(segments: Sequence[Segment], parts: Sequence[str]) -> bool:
    """A trailing ``**`` wants at least one name: ``a/**`` is everything in ``a``, but not ``a``."""
    if segments[-1] is not None or len(segments) == 1:
        return _fixed(segments, parts)
    if None in segments[:-1]:
        return any(_fixed(segments[:-1], parts[:length]) for length in range(len(parts) - 1, 0, -1))
    return len(parts) >= len(segments) and _fixed(segments[:-1], parts[: len(segments) - 1])


def _fixed(segments: Sequence[Segment], parts: Sequence[str]) -> bool:
    """``**`` takes as few names as it can, and one point to come back to is enough."""
    at = part = 0
    back_at, back_part = -1, 0
    while part < len(parts):
        segment = segments[at] if at < len(segments) else ""
        if segment is None:
            back_at, back_part = at, part
            at += 1
        elif segment and (segment == parts[part] if isinstance(segment, str) else segment.match(parts[part])):
            at += 1
            part += 1
        elif back_at >= 0:
            back_part += 1
            at, part = back_at + 1, back_part
        else:
            return False
    return all(rest is None for rest in segments[at:])

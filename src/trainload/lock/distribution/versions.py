"""Debian version numbers: ``[epoch:]upstream[-revision]`` and their order (deb-version(7))."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cmp_to_key, lru_cache

GRAMMAR = re.compile(r"(?:[0-9]+:)?[0-9A-Za-z][0-9A-Za-z.+~:-]*", re.ASCII)
"""Nothing in it can leave a folder or a line (THREATS D09)."""


@lru_cache(maxsize=1 << 16)
def compare(one: str, other: str) -> int:
    """Negative, zero or positive: ``one`` is older than, as old as or newer than ``other``."""
    if one == other:
        return 0
    left, right = _split(one), _split(other)
    return (left[0] - right[0]) or _compare_part(left[1], right[1]) or _compare_part(left[2], right[2])


def _split(version: str) -> tuple[int, str, str]:
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, _, revision = rest.rpartition("-")
    return (int(epoch) if _EPOCH.fullmatch(epoch) else 0, upstream or revision, revision if upstream else "")


def _order(character: str) -> int:
    """``~`` before the end, the end before letters, letters before everything else."""
    if character == "~":
        return -1
    return ord(character) if character.isalpha() else ord(character) + 256


_RUNS = re.compile(r"(\D*)(\d*)", re.ASCII)
_EPOCH = re.compile("[0-9]{1,10}")


def _compare_part(one: str, other: str) -> int:
    left, right = _RUNS.findall(one), _RUNS.findall(other)
    for index in range(max(len(left), len(right))):
        words, digits = left[index] if index < len(left) else ("", "")
        other_words, other_digits = right[index] if index < len(right) else ("", "")
        for place in range(max(len(words), len(other_words))):
            a = _order(words[place]) if place < len(words) else 0
            b = _order(other_words[place]) if place < len(other_words) else 0
            if a != b:
                return a - b
        number, other_number = (
            digits.lstrip("0"),
            other_digits.lstrip("0"),
        )  # of any length: int() refuses long ones
        if number != other_number:
            return -1 if (len(number), number) < (len(other_number), other_number) else 1
    return 0


_SATISFIES: dict[str, Callable[[int], bool]] = {
    "<<": lambda order: order < 0,
    "<=": lambda order: order <= 0,
    "=": lambda order: order == 0,
    ">=": lambda order: order >= 0,
    ">>": lambda order: order > 0,
    "<": lambda order: order <= 0,  # deb-control's obsolete spellings mean "or equal"
    ">": lambda order: order >= 0,
}
OPERATORS = frozenset(_SATISFIES)


def satisfies(version: str, operator: str, wanted: str) -> bool:
    """Whether ``version operator wanted`` holds (Debian policy 7.1)."""
    return _SATISFIES[operator](compare(version, wanted))


by_version = cmp_to_key(compare)
"""For ``sorted`` and ``max``."""

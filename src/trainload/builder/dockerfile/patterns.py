"""Patterns of COPY and ADD (Go: path/filepath.Match): a star takes no slash; two do, where folders are kept.

``COPY --parents src/**/*.py /app/`` is BuildKit's: ``**`` stands for any number of folders, also none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

WILD = re.compile(r"[*?\[]")
_SPECIAL = re.compile(r"[*?\[\\]")
_CHARACTER = r"(?:\\.|[^\\\]])"
_CLASS = re.compile(rf"(?P<negated>\^?)(?P<chars>{_CHARACTER}+)\]", re.DOTALL)
_RANGE = re.compile(rf"({_CHARACTER})(?:-({_CHARACTER}))?", re.DOTALL)
_DEEP = "**"


def literal(pattern: str) -> str:
    """The folders of a pattern before its first wildcard."""
    parts = pattern.split("/")
    wild = next((at for at, part in enumerate(parts) if _SPECIAL.search(part)), len(parts))
    return "/".join(parts[:wild])


def matches(pattern: str, paths: Sequence[str], *, deep: bool = False) -> list[str]:
    """The ``paths``, sorted, that fit; of a folder that fits not also what is in it. ``deep``: ``**`` is known."""
    if not _SPECIAL.search(pattern):
        return []
    parts = pattern.split("/")
    if deep and _DEEP in parts:
        return _outermost(path for path in paths if path and _fits(parts, path.split("/")))
    fits, depth = [segment(part) for part in parts], len(parts) - 1
    return [
        path
        for path in paths
        if path.count("/") == depth
        and all(part.fullmatch(name) for part, name in zip(fits, path.split("/"), strict=True))
    ]


Names = Callable[[str], Iterable[str]]


def within(pattern: str, folder: Names, deep: Names | None = None) -> list[str]:
    """The same where ``folder`` tells a folder's names; ``deep``: without following a link. None: no ``**``."""
    found, parts = [""], pattern.split("/")
    for at, part in enumerate(parts):
        if deep is not None and part == _DEEP:
            inner = [one for above in found for one in _below(above, deep)]
            found = inner if at == len(parts) - 1 else [*found, *inner]
            continue
        fits = segment(part)
        found = [_join(above, name) for above in found for name in folder(above) if fits.fullmatch(name)]
    return _outermost(sorted(set(found))) if deep is not None and _DEEP in parts else found


def segment(pattern: str) -> re.Pattern[str]:
    """One name of a pattern."""
    out, at = "", 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*":
            out += ".*" if not out.endswith(".*") else ""
        elif char == "?":
            out += "."
        elif char == "[" and (found := _CLASS.match(pattern, at)) is not None:
            out += _one_of(found["chars"], negated=bool(found["negated"]))
            at = found.end()
        elif char == "\\" and at < len(pattern):
            out += re.escape(pattern[at])
            at += 1
        else:
            out += re.escape(char)
    return re.compile(out, re.DOTALL)


def _one_of(chars: str, *, negated: bool) -> str:
    """A class of characters; a range that ends before it begins holds none, as in Go."""
    ranges = []
    for low, high in _RANGE.findall(chars):
        first, last = low[-1], (high or low)[-1]
        ranges += [f"{re.escape(first)}-{re.escape(last)}"] if first <= last else []
    if not ranges:
        return "." if negated else "(?!)"
    return f"[{'^' if negated else ''}{''.join(ranges)}]"


def _fits(parts: Sequence[str], names: Sequence[str]) -> bool:
    """All ways of reading are followed side by side, so many ``**`` cost no more than their number."""
    fits = [None if part == _DEEP else segment(part) for part in parts]
    last = len(parts) - 1
    at = _open(fits, {0})
    for name in names:
        here = {one for one in at if one <= last}
        stays = {one for one in here if fits[one] is None}
        goes = {one + 1 for one in here if (fit := fits[one]) is not None and fit.fullmatch(name)}
        # `**` at the end wants a name at least
        at = _open(fits, stays | goes | ({last + 1} if last in stays else set()))
    return last + 1 in at


def _open(fits: Sequence[re.Pattern[str] | None], at: set[int]) -> set[int]:
    """``at``, and what may come next where a ``**`` before the end stands for no folder."""
    todo, found = list(at), set(at)
    while todo:
        one = todo.pop()
        if one < len(fits) - 1 and fits[one] is None and one + 1 not in found:
            found.add(one + 1)
            todo.append(one + 1)
    return found


def _outermost(paths: Iterable[str]) -> list[str]:
    found: set[str] = set()
    kept = []
    for path in paths:
        above = [path[:at] for at, char in enumerate(path) if char == "/"]
        if not found.intersection(above):
            found.add(path)
            kept.append(path)
    return kept


def _below(path: str, folder: Names) -> list[str]:
    found = []
    for name in folder(path):
        inner = _join(path, name)
        found += [inner, *_below(inner, folder)]
    return found


def _join(above: str, name: str) -> str:
    return f"{above}/{name}" if above else name

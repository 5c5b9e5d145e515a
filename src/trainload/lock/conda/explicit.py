"""``conda list --explicit``: a line for each package, its hash behind a ``#``."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from trainload.errors import LockError, Place, Problems, Text
from trainload.lock.conda.entries import SUBDIRS, CondaEntry, Entries, located

_MARK = "@EXPLICIT"
_PLATFORM = re.compile(r"#\s*platform:\s*(\S+)")
_HASH = re.compile(r"(?:(?P<md5>[0-9a-f]{32})|(?:sha256:)?(?P<sha256>[0-9a-f]{64}))")


def explicit(text: str, file: str) -> Mapping[str, Entries]:
    """Subdir → its packages; there is one. Raises :class:`LockError`, or several with their lines."""
    problems = Problems()
    entries: list[CondaEntry] = []
    subdir, begun = "", False
    for number, raw in enumerate(text.splitlines(), 1):
        line, place = raw.strip(), Place(file, line=number)
        if match := _PLATFORM.match(line):
            subdir = match[1]
            if subdir not in SUBDIRS:
                raise _elsewhere(file, {subdir})
        if line == _MARK:
            begun = True
        elif line and not line.startswith("#"):
            try:
                entries.append(_entry(line, place, begun=begun))
            except LockError as error:
                problems.add(error)
    problems.check()
    found = {entry.location.path.partition("/")[0] for entry in entries} - {"noarch"}
    subdir = subdir or min(found, default="")
    if not entries or found - {subdir} or subdir not in SUBDIRS:
        raise _elsewhere(file, found | {subdir} - {""})
    return {subdir: Entries(tuple(entries))}


def _elsewhere(file: str, platforms: Collection[str]) -> LockError:
    return LockError(
        "the list is not of one platform that images have", place=Place(file),
        got=", ".join(sorted(platforms)) or "nothing", want=", ".join(SUBDIRS),
    )  # fmt: skip


def _entry(line: str, place: Place, *, begun: bool) -> CondaEntry:
    if not begun:
        raise LockError(Text("the line stands before {mark}", mark=_MARK), place=place)
    url, _, digest = line.partition("#")
    location = located(url, place)
    match = _HASH.fullmatch(digest.lower()) if digest else None
    if digest and match is None:
        raise LockError("this is no hash", place=place, got=digest[:80], want="64 hexadecimal digits (sha256)")
    return CondaEntry(location, (match["sha256"] or "") if match else "", (match["md5"] or "") if match else "")

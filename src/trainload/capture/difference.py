"""A proposal as a unified diff, as git shows one; what is no text is named by its size."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from trainload.capture.model import Edit
from trainload.errors import printable
from trainload.layers.tarread import MemberKind
from trainload.run.changed import Found

_LARGEST = 1 << 20
"""Bytes of a file that is compared line by line."""


def diff(edits: Sequence[Edit]) -> str:
    """The whole, ready to be shown; control characters in lines are escaped (THREATS W05)."""
    return "".join(f"{line}\n" for edit in edits for line in _one(edit))


def _one(edit: Edit) -> Iterator[str]:
    old, new = edit.old, edit.new
    name = printable(edit.path)
    before, after = (f"a/{name}" if old else "/dev/null"), (f"b/{name}" if new else "/dev/null")
    if old is not None and new is not None and old.mode != new.mode and old.kind is new.kind:
        yield f"{name}: mode {old.mode:03o} -> {new.mode:03o}"
    lines = _lines(old), _lines(new)
    if lines[0] is None or lines[1] is None:
        yield f"--- {before}"
        yield f"+++ {after}"
        yield f"Binary files differ: {old.size if old else 0} -> {new.size if new else 0} bytes"
        return
    found = difflib.unified_diff(lines[0], lines[1], before, after, lineterm="")
    started = False
    for line in found:
        started = True
        yield printable(line.replace("\t", "    ")) if line[:1] in "+- " else line
    if not started and (old is None or new is None):
        yield f"--- {before}"
        yield f"+++ {after}"


def _lines(found: Found | None) -> list[str] | None:
    """None: not to be shown as lines."""
    if found is None or found.kind is MemberKind.DIRECTORY:
        return []
    if found.kind is MemberKind.SYMLINK:
        return [f"-> {found.target}"]
    data = found.data
    if data is None or len(data) > _LARGEST or b"\0" in data:
        return None
    try:
        return data.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        return None

"""Which image a user means: a name, a digest, or the first digits of one. Pure."""

from __future__ import annotations

import re

from trainload.errors import ImageError, StoreError, Text
from trainload.reference import Reference
from trainload.store.index import Entry, Names
from trainload.store.trouble import MissingError

_DIGITS = re.compile(r"(?:sha256:)?([0-9a-f]{4,64})", re.ASCII)


def look_up(names: Names, text: str) -> Entry:
    """The entry ``text`` means: its name as it stands, as Docker would complete it, or a digest's first digits.

    Raises :class:`MissingError` with what there is, :class:`StoreError` when several images are meant.
    """
    found = find_name(names, text) or _by_digest(names, text)
    if found is None:
        raise not_found(names, text)
    return found


def find_name(names: Names, text: str) -> Entry | None:
    """The entry with that name, also when one of the two is written with ``docker.io/library/``."""
    exact = names.find(text)
    if exact is not None:
        return exact
    wanted = canonical(text)
    return next((e for e in names.entries if e.name and wanted and canonical(e.name) == wanted), None)


def canonical(text: str) -> str | None:
    """The full form of a name; None for what is no reference or has a digest."""
    try:
        reference = Reference.parse(text)
    except ImageError:
        return None
    return None if reference.digest else reference.full


def not_found(names: Names, text: str) -> MissingError:
    """There is no such image; close names are told."""
    import difflib

    known = sorted({entry.name for entry in names.entries if entry.name})
    close = difflib.get_close_matches(text, known, n=3, cutoff=0.6)
    close += [name for name in known if name.partition(":")[0] == text.partition(":")[0] and name not in close]
    hints = [Text("did you mean {names}?", names=", ".join(close[:3]))] if close else []
    return MissingError(
        Text("there is no image {name} in the store", name=text[:300]),
        hints=[*hints, Text("`trainload images` lists what there is")],
    )


def _by_digest(names: Names, text: str) -> Entry | None:
    _, at, digest = text.rpartition("@")
    match = _DIGITS.fullmatch(digest if at else text)
    if match is None:
        return None
    found = {e.digest: e for e in names.entries if e.digest.hex.startswith(match[1])}
    if len(found) > 1:
        raise StoreError(
            Text("{digits} is the beginning of several images", digits=match[1]),
            got=", ".join(digest.hex[:16] for digest in sorted(found)),
            hints=[Text("write more digits")],
        )
    return next(iter(found.values()), None)

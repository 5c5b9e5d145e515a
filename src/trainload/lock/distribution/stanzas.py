"""A Packages index as compact records: what choosing and locking needs, one line per package.

An index is 50 to 70 MB of deb822(5) text with descriptions; the records are a fifth of it and are kept
in the cache, so that a second lock reads no index at all. Relations stand in the order in which apt
enters them into its cache, because ties between providers are broken by who was mentioned first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from trainload.errors import LockError, Place, Text, printable
from trainload.limits import MiB
from trainload.lock.distribution.versions import GRAMMAR

FORMAT = 1
"""Part of the cache key: raise it when the records change."""
STANZA_LIMIT = MiB
"""The longest real stanza is under 200 KB (THREATS D09)."""
_PLAIN = (
    "Package", "Version", "Architecture", "Multi-Arch", "Priority", "Essential", "Protected", "Important",
    "Filename", "Size", "SHA256", "Installed-Size",
)  # fmt: skip
RELATIONS = (
    "Pre-Depends", "Depends", "Conflicts", "Breaks", "Recommends", "Suggests", "Replaces", "Enhances", "Provides",
)  # fmt: skip
FIELDS = _PLAIN + RELATIONS
_PLACE = {name.lower().encode(): index for index, name in enumerate(FIELDS)}
_FIELD = re.compile(
    rb"^(" + b"|".join(name.encode() for name in FIELDS) + rb"):[ \t]*([^\n]*(?:\n[ \t][^\n]*)*)",
    re.MULTILINE | re.IGNORECASE,
)
_NAME = re.compile(rb"[a-z0-9][a-z0-9+.-]+")
_VERSION = re.compile(GRAMMAR.pattern.encode())
_ARCHITECTURE = re.compile(rb"[a-z0-9][a-z0-9-]*")
_PATH = re.compile(rb"(?:[A-Za-z0-9_][A-Za-z0-9_.+~:%=-]*/)*[A-Za-z0-9_][A-Za-z0-9_.+~:%=-]*")
_SHA256 = re.compile(rb"[0-9a-f]{64}")
_NUMBER = re.compile(rb"[0-9]{1,15}")
_FOLDED = re.compile(rb"\s*\n[ \t]+")


def compact(blocks: Iterable[bytes], file: str) -> Iterator[bytes]:
    """The records of a Packages index given as blocks of any size, each ending in a line feed.

    Raises :class:`LockError` for a stanza that breaks the grammar; ``file`` names the index (THREATS D09).
    """
    rest = b""
    for block in blocks:
        whole, gap, tail = (rest + block).rpartition(b"\n\n")
        if gap:
            yield _records(whole, file)
        rest = tail
        if len(rest) > STANZA_LIMIT:
            raise LockError("a stanza is too long", place=Place(file), want=f"at most {STANZA_LIMIT} bytes")
    if rest.strip():
        yield _records(rest, file)


def _records(text: bytes, file: str) -> bytes:
    if b"\r" in text or b"\0" in text or b"\t" in text.replace(b"\n\t", b""):
        raise LockError("an index holds carriage returns, tabs or NUL bytes", place=Place(file))
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise LockError("an index is not UTF-8", place=Place(file)) from error
    return b"".join(_record(stanza, file) for stanza in text.split(b"\n\n") if stanza.strip())


def _record(stanza: bytes, file: str) -> bytes:
    if len(stanza) > STANZA_LIMIT:
        raise LockError("a stanza is too long", place=Place(file), want=f"at most {STANZA_LIMIT} bytes")
    values = [b""] * len(FIELDS)
    seen = 0
    for name, value in _FIELD.findall(stanza):
        place = _PLACE[name.lower()]
        if seen >> place & 1:
            raise LockError(
                Text("{field} stands twice in a stanza", field=name), place=Place(file, printable(stanza[:60]))
            )
        seen |= 1 << place
        values[place] = _FOLDED.sub(b" ", value).strip() if b"\n" in value else value.rstrip()
    _check(values, file)
    return b"\t".join(values) + b"\n"


def field_values(stanza: bytes) -> tuple[str, ...]:
    """The :data:`FIELDS` of one stanza of a trusted file, such as dpkg's status; absent ones are empty."""
    values = [""] * len(FIELDS)
    for name, value in _FIELD.findall(stanza):
        values[_PLACE[name.lower()]] = _FOLDED.sub(b" ", value).strip().decode("utf-8", "replace")
    return tuple(values)


def _check(values: list[bytes], file: str) -> None:
    for place, grammar in _GRAMMARS:
        if grammar.fullmatch(values[place]) is None:
            if place == _PLACE[b"sha256"] and not values[place]:
                raise LockError(
                    Text("{package} has no SHA256 in the index", package=values[0]),
                    place=Place(file),
                    hints=["weaker hashes are not accepted; use another mirror"],
                )
            raise LockError(
                Text("{field} of {package} is malformed", field=FIELDS[place], package=values[0][:100]),
                place=Place(file),
                got=values[place][:200],
            )


_GRAMMARS = [
    (_PLACE[b"package"], _NAME),
    (_PLACE[b"version"], _VERSION),
    (_PLACE[b"architecture"], _ARCHITECTURE),
    (_PLACE[b"filename"], _PATH),
    (_PLACE[b"size"], _NUMBER),
    (_PLACE[b"sha256"], _SHA256),
    (_PLACE[b"installed-size"], re.compile(rb"[0-9]{0,15}")),
]

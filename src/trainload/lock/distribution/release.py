"""A signed Release file: what an archive says it holds, when, and until when (Debian's RepositoryFormat)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from trainload.errors import Place, SignatureError, Text
from trainload.values import dataclass

_HASHED = re.compile(r"\s([0-9a-f]{64})\s+([0-9]{1,15})\s+(\S+)", re.ASCII)
_FIELD = re.compile(r"([A-Za-z0-9-]+):[ \t]*(.*)")


@dataclass(frozen=True, slots=True)
class Hashed:
    """A file below the suite's folder."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Release:
    """The signed part of an InRelease file."""

    fields: Mapping[str, str]
    files: Mapping[str, Hashed]
    """By path; SHA256 only (THREATS D11)."""
    date: datetime
    valid_until: datetime | None

    @property
    def by_hash(self) -> bool:
        return self.fields.get("acquire-by-hash") == "yes"

    @property
    def separate_all(self) -> bool:
        """Packages of architecture ``all`` stand in an index of their own only."""
        listed = "all" in self.fields.get("architectures", "").split()
        return listed and "Packages" not in self.fields.get("no-support-for-architecture-all", "")

    def is_of(self, suite: str) -> bool:
        return suite in (self.fields.get("suite"), self.fields.get("codename"))


def parse(text: bytes, file: str) -> Release:
    """The fields of a Release file. Raises :class:`SignatureError` where it breaks the format."""
    fields: dict[str, str] = {}
    files: dict[str, Hashed] = {}
    current = ""
    try:
        lines = text.decode().splitlines()
    except UnicodeDecodeError as error:
        raise SignatureError("the index of an archive is not UTF-8", place=Place(file)) from error
    for number, line in enumerate(lines, 1):
        if line[:1] in (" ", "\t"):
            if current == "sha256" and (match := _HASHED.fullmatch(line)):
                files[match[3]] = Hashed(match[3], match[1], int(match[2]))
            continue
        match = _FIELD.fullmatch(line)
        if match is None or match[1].lower() in fields:
            raise SignatureError(
                "the index of an archive is malformed", place=Place(file, line=number), got=line[:80]
            )
        current = match[1].lower()
        fields[current] = match[2].strip()
    if not files:
        raise SignatureError(
            Text("the index of an archive has no SHA256 hashes"),
            place=Place(file),
            hints=["weaker hashes are not accepted; use another mirror"],
        )
    until = _date(fields["valid-until"], file) if "valid-until" in fields else None
    return Release(fields, files, _date(fields.get("date", ""), file), until)


def _date(text: str, file: str) -> datetime:
    try:
        date = parsedate_to_datetime(text)
    except ValueError as error:
        raise SignatureError(
            "the index of an archive has no readable date", place=Place(file), got=text[:80] or None
        ) from error
    return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)

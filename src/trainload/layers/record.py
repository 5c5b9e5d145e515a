"""RECORD: what a wheel says its files are, and what the image says is installed (PEP 376, PEP 427)."""

from __future__ import annotations

import base64
import binascii
import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass

from trainload.errors import Text
from trainload.layers.zipend import refuse

SIGNATURES = ("RECORD.jws", "RECORD.p7s")
"""Files that cannot state their own hash (PEP 427), besides RECORD."""

_STANDARD = str.maketrans("-_", "+/")
_LENGTHS = {"sha256": 32, "sha384": 48, "sha512": 64}


@dataclass(frozen=True, slots=True)
class Row:
    """A line of RECORD as it stands: ``hash`` is ``algorithm=base64``, empty fields are empty or None."""

    path: str
    hash: str
    size: int | None

    def order(self) -> tuple[str, bool, str, bool, int]:
        """What installers sort by; nothing comes before something."""
        return self.path, bool(self.hash), self.hash, self.size is not None, self.size or 0


@dataclass(frozen=True, slots=True)
class Hash:
    """A row's hash, read."""

    algorithm: str
    digest: bytes


def read_record(data: bytes, archive: str, path: str) -> tuple[Row, ...]:
    """The rows. Raises :class:`LayerError` when it is not a table of paths, hashes and sizes (THREATS W21)."""
    try:
        with io.TextIOWrapper(io.BytesIO(data), "utf-8", newline="") as text:
            rows: dict[str, Row] = {}
            for fields in csv.reader(text, strict=True):
                if fields:
                    row = _row(fields, archive, path)
                    if rows.setdefault(row.path, row) is not row:
                        refuse(archive, path, Text("it lists {path} twice", path=row.path))
    except (UnicodeDecodeError, csv.Error) as error:
        refuse(archive, path, Text("it is not a CSV file in UTF-8 ({reason})", reason=error))
    return tuple(rows.values())


def _row(fields: list[str], archive: str, path: str) -> Row:
    if len(fields) != 3 or not (fields[2] == "" or (fields[2].isascii() and fields[2].isdecimal())):
        refuse(archive, path, Text("a line is not path, hash and size: {line}", line=",".join(fields)[:300]))
    name = fields[0].lstrip("/")  # some wheels write absolute paths; installers read them so
    if not name or ".." in name.split("/"):
        refuse(archive, path, Text("it lists a path that leads elsewhere: {path}", path=fields[0][:300]))
    if len(fields[2]) > 18:
        refuse(archive, path, Text("a line is not path, hash and size: {line}", line=name[:300]))
    return Row(name, fields[1], int(fields[2]) if fields[2] else None)


def read_hash(row: Row, archive: str) -> Hash:
    """The row's hash. Raises :class:`LayerError` when there is none, or only one that proves nothing (W21)."""
    algorithm, _, text = row.hash.partition("=")
    if not row.hash:
        refuse(archive, row.path, Text("RECORD has no hash for it"), want="sha256")
    if algorithm not in _LENGTHS:
        refuse(archive, row.path, Text("RECORD has only {algorithm} for it", algorithm=algorithm), want="sha256")
    try:
        bare = text.rstrip("=").translate(_STANDARD)
        digest = binascii.a2b_base64(bare + "=" * (-len(bare) % 4), strict_mode=True)
    except ValueError:  # binascii.Error is one
        digest = b""
    if len(digest) != _LENGTHS[algorithm]:
        refuse(archive, row.path, Text("its hash in RECORD is not one: {hash}", hash=row.hash[:100]))
    return Hash(algorithm, digest)


def encode_hash(sha256: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(sha256).rstrip(b"=").decode()


def write_record(rows: Iterable[Row]) -> bytes:
    """The file, sorted, as uv writes it: line feeds, quotes only where they are needed."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    for row in sorted(rows, key=Row.order):
        writer.writerow((row.path, row.hash, "" if row.size is None else row.size))
    return out.getvalue().encode()

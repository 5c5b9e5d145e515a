"""What was released when: ``releases.json`` (made by ``collect.py``) as values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from trainload.lock.model import File, Found, PythonFile

DATA = Path(__file__).with_name("releases.json")


Release = tuple[date, PythonFile, tuple[PythonFile, ...]]
"""When it came, its wheel, and what it brings."""


@dataclass(frozen=True, slots=True)
class History:
    first: date
    last: date
    source: str
    read: str
    """The day it was read."""
    names: tuple[str, ...]
    """What a project can ask for."""
    _releases: Mapping[str, tuple[Release, ...]]

    def newest(self, name: str, day: date) -> tuple[PythonFile, ...]:
        """The last release of ``name`` that was there on ``day``, and what it brings."""
        rows = self._releases[name]
        _, file, brought = next((row for row in reversed(rows) if row[0] < day), rows[0])
        return file, *brought

    def count(self, name: str) -> int:
        return len(self._releases[name])


def read(path: Path = DATA) -> History:
    document = json.loads(path.read_text(encoding="utf-8"))
    first, last = date.fromisoformat(document["first"]), date.fromisoformat(document["last"])
    sizes = {(name, row["version"]): row["size"] for name, rows in document["packages"].items() for row in rows}

    def package(name: str, version: str) -> PythonFile:
        digest = hashlib.sha256(f"{name} {version}".encode()).hexdigest()
        whole = f"{name}-{version}.whl"
        return PythonFile(name, version, File(whole, digest, sizes[name, version], Found(whole)))

    def releases(name: str, rows: list[dict[str, Any]]) -> tuple[Release, ...]:
        return tuple(
            (
                date.fromisoformat(row["date"]),
                package(name, row["version"]),
                tuple(package(one, version) for one, version in row.get("brings", {}).items()),
            )
            for row in rows
        )

    asked = {name: rows for name, rows in document["packages"].items() if rows and "date" in rows[0]}
    return History(
        first, last, document["source"], document["read"], tuple(asked),
        {name: releases(name, rows) for name, rows in asked.items()},
    )  # fmt: skip

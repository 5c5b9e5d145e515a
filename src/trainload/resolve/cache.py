"""A folder of things that can be made again, such as records of a distribution's indexes.

It is no part of the store: losing it costs seconds. Entries are written whole or not at all; a folder that
cannot be written means no cache, not an error.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

_KEY = re.compile(r"[a-z0-9][a-z0-9-]{0,150}")
KEPT = 40
"""Entries; a lock of one suite for two architectures needs nine to fifteen, some 30 MB."""


class FolderCache:
    """Values by key below ``folder``, which is made when something is first put."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str) -> bytes | None:
        """What was put under ``key`` last, if it is still there; callers check what they read."""
        try:
            return self._path(key).read_bytes()
        except OSError:
            return None

    def put(self, key: str, data: bytes) -> None:
        temporary = self._folder / f".{os.urandom(8).hex()}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(data)
            temporary.replace(self._path(key))
            self._prune()
        except OSError:
            with suppress(OSError):
                temporary.unlink()

    def _path(self, key: str) -> Path:
        assert _KEY.fullmatch(key), key
        return self._folder / key

    def _prune(self) -> None:
        """Keep the newest entries; what a killed process left behind is old some day too."""
        with os.scandir(self._folder) as found:
            entries = sorted(found, key=lambda entry: entry.stat().st_mtime_ns, reverse=True)
        for entry in entries[KEPT:]:
            Path(entry.path).unlink(missing_ok=True)

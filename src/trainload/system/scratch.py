"""Folders for other programs' files, gone when the work is done."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def folder(purpose: str) -> Iterator[Path]:
    """An empty folder only this user may enter, removed at the end whatever happens."""
    with tempfile.TemporaryDirectory(prefix=f"trainload-{purpose}-", ignore_cleanup_errors=True) as name:
        yield Path(name).resolve()


def file() -> IO[bytes]:
    """An empty file without a name: nobody else can open it, and it is gone when it is closed or we end."""
    return tempfile.TemporaryFile()

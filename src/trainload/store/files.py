"""Fetched input files by the sha256 of their bytes: wheels, distribution packages, interpreters."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

from trainload.digest import Digest
from trainload.store.content import Content
from trainload.store.ingest import Ingest
from trainload.store.parts import Tags


class FileCache:
    """``files/sha256``; committed as blobs are. A file is an input, so gc may take it: it can be fetched again."""

    def __init__(self, content: Content, writing: Callable[[], bool]) -> None:
        self._content = content
        self._writing = writing
        self.tags = Tags(content.layout)

    def find(self, sha256: str, size: int | None = None) -> Path | None:
        """Where the file lies, if it is here, has ``size`` bytes and was not touched since it was committed."""
        digest = Digest("sha256", sha256)
        check = self._content.held if self._writing() else self._content.sound
        return self._content.path(digest) if check(digest, size) else None

    def open(self, sha256: str, size: int | None = None) -> BinaryIO | None:
        """As :meth:`find`, opened for reading; the caller closes it."""
        digest = Digest("sha256", sha256)
        return None if self.find(sha256, size) is None else self._content.open(digest)

    def ingest(self, size: int | None = None, sha256: str = "") -> AbstractContextManager[Ingest]:
        """A new file: write its bytes, then ``commit(Digest("sha256", …), size)``.

        ``sha256``: of one that is known by it; what comes of it is kept for the next try, if it is large.
        """
        return self._content.ingest(size, f"file-{sha256}" if sha256 else "")

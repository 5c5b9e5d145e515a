"""Which wheel came of which build: recipe key → file, one small record each beside those of layers.

A record is a cache, as those are: torn or changed it is no record, and the wheel is built again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from trainload.digest import Digest, canonical_json
from trainload.errors import ImageError
from trainload.image.parse import Node
from trainload.image.strict_json import parse_object
from trainload.store.files import FileCache
from trainload.store.layout import Layout
from trainload.store.session import Session
from trainload.store.trouble import told
from trainload.values import dataclass

SUFFIX = ".wheel"


@dataclass(frozen=True, slots=True)
class BuiltWheel:
    """A wheel among the store's files."""

    name: str
    digest: Digest
    size: int
    """Bytes."""


class Built:
    """The map from recipe keys to wheels that lie among the store's files."""

    def __init__(self, layout: Layout, files: FileCache, session: Callable[[], Session]) -> None:
        self._layout = layout
        self._files = files
        self._session = session

    def path(self, key: Digest) -> Path:
        return self._layout.recipes / f"{key.hex}{SUFFIX}"

    def find(self, key: Digest) -> BuiltWheel | None:
        """The wheel that was built of these inputs, if it is here, whole and untouched."""
        where = self.path(key)
        try:
            root = Node(parse_object(where.read_bytes(), str(where)), str(where))
            name, digest, size = root.get("name").text(), root.get("wheel").digest(), root.get("size").integer()
            if root.get("sum").text() != _sum(key, name, digest, size):
                return None
        except (OSError, ImageError):
            return None
        if self._files.find(digest.hex, size) is None:
            return None
        return BuiltWheel(name, digest, size)

    def record(self, key: Digest, name: str, digest: Digest, size: int) -> BuiltWheel:
        """Remember the wheel, which is committed to the store's files already."""
        record = {
            "name": name, "recipe": str(key), "size": size, "sum": _sum(key, name, digest, size),
            "wheel": str(digest),
        }  # fmt: skip
        temporary = self._session().temporary()
        with told(self._layout.home):
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            try:
                os.write(fd, canonical_json(record))
            finally:
                os.close(fd)
            temporary.replace(self.path(key))
        return BuiltWheel(name, digest, size)


def _sum(key: Digest, name: str, digest: Digest, size: int) -> str:
    return str(Digest.sha256(canonical_json([str(key), name, str(digest), size])))

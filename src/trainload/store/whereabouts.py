"""Which repositories are known to have which blobs: a hint that saves uploads, never believed without asking.

One file per repository, one digest a line. A record that is lost costs one upload; so nobody waits for the disk.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from trainload.digest import Digest
from trainload.reference import Reference
from trainload.store.layout import Layout

_LARGEST = 1 << 22  # bytes of one record: some 58,000 blobs
_SLASH = ","
"""Stands for "/" in a file's name; no repository has one in its own."""


class Whereabouts:
    """The records of one store."""

    def __init__(self, layout: Layout, start: Callable[[], object]) -> None:
        self._folder = layout.home / "whereabouts"
        self._start = start

    def learn(self, repository: Reference, digests: Iterable[Digest]) -> None:
        """Remember that ``repository`` has these blobs; a store that cannot be written forgets it."""
        path = self._path(repository)
        new = dict.fromkeys(str(digest) for digest in digests)
        for known in _lines(path):
            new.pop(known, None)
        if not new:
            return
        with suppress(OSError):
            self._start()
            self._folder.mkdir(exist_ok=True)
            with path.open("ab") as file:  # one write of whole lines: two processes do not mix theirs
                if file.tell() < _LARGEST:
                    file.write("".join(f"{digest}\n" for digest in new).encode())

    def of(self, registry: str) -> dict[str, frozenset[str]]:
        """Repository → digests, for all repositories of ``registry`` (as references write it)."""
        try:
            names = sorted(os.listdir(self._folder))  # names are all we need
        except OSError:
            return {}
        prefix = registry + _SLASH
        return {
            name.removeprefix(prefix).replace(_SLASH, "/"): frozenset(_lines(self._folder / name))
            for name in names
            if name.startswith(prefix)
        }

    def _path(self, repository: Reference) -> Path:
        return self._folder / f"{repository.domain}/{repository.path}".replace("/", _SLASH)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_bytes()[:_LARGEST].decode("ascii", "replace").split("\n")[:-1]
    except OSError:
        return []

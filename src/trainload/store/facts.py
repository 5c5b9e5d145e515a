"""Facts found out once that stay true, for they are about digests or a named version of a file: one file each.

A fact that is lost is found out again; so nobody waits for the disk. One that says more than "it holds" begins with
the hash of what it says, so that a torn or changed file is no fact.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from trainload.digest import Digest
from trainload.store.layout import Layout
from trainload.store.session import Session
from trainload.store.trouble import told

SUFFIX = ".fact"
_HASH = hashlib.sha256().digest_size


class Facts:
    """Which digests of statements are known to hold, and what some of them say."""

    def __init__(self, layout: Layout, session: Callable[[], Session]) -> None:
        self._layout = layout
        self._session = session

    def path(self, statement: Digest) -> Path:
        return self._layout.recipes / f"{statement.hex}{SUFFIX}"

    def known(self, statement: Digest) -> bool:
        return self.path(statement).exists()

    def learn(self, statement: Digest) -> None:
        """Remember that ``statement`` was found to hold. Raises :class:`StoreError`."""
        self._session()
        with told(self._layout.home):
            os.close(os.open(self.path(statement), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))

    def said(self, statement: Digest) -> bytes | None:
        """What was found out about ``statement``; None when nothing was, or the file is not what was written."""
        try:
            data = self.path(statement).read_bytes()
        except OSError:
            return None
        told, content = data[:_HASH], data[_HASH:]
        return content if told == hashlib.sha256(content).digest() else None

    def note(self, statement: Digest, content: bytes) -> None:
        """Remember what was found out about ``statement``, whole or not at all. Raises :class:`StoreError`."""
        temporary = self._session().temporary()
        with told(self._layout.home, need=len(content)):
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            with os.fdopen(fd, "wb") as file:
                file.write(hashlib.sha256(content).digest() + content)
            temporary.replace(self.path(statement))

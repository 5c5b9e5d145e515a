"""Facts that were checked once and stay true because they are about digests only: one empty file each.

A fact that is lost is checked again; so nobody waits for the disk.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from trainload.digest import Digest
from trainload.store.layout import Layout
from trainload.store.session import Session
from trainload.store.trouble import told

SUFFIX = ".fact"


class Facts:
    """Which digests of statements are known to hold."""

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

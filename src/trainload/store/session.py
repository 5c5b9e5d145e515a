"""A lease: what a writing process holds, so that gc takes nothing it needs and knows what nobody needs.

The lease is a file under ``leases/`` that its holder keeps locked; the kernel frees it on ``kill -9``, so there
is no clock and no expiry. Its lines are the digests in use; its name begins the names of its files in ``tmp/``.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import shutil
import threading
from pathlib import Path

from trainload.digest import Digest
from trainload.store.layout import Layout, make_folders
from trainload.store.locks import against_gc, check_locks_work, is_free, open_lock, try_lock
from trainload.store.trouble import told


class Session:
    """Write access to a store, from :meth:`start` to :meth:`end`; safe for threads."""

    def __init__(self, layout: Layout, name: str, fd: int) -> None:
        self._layout = layout
        self._name = name
        self._fd = fd
        self._numbers = itertools.count()
        self._held: set[Digest] = set()
        self._guard = threading.Lock()

    @classmethod
    def start(cls, layout: Layout) -> Session:
        """Make the folders that are missing and take a lease.

        Raises :class:`StoreError` when the store may not be written, is another user's, or its locks do not hold.
        """
        make_folders(layout)
        check_locks_work(layout)
        clear_abandoned(layout)
        name = os.urandom(8).hex()
        with against_gc(layout), told(layout.home):
            fd = open_lock(layout.leases / name)
            fcntl.flock(fd, fcntl.LOCK_EX)
        return cls(layout, name, fd)

    def end(self) -> None:
        """Give the lease back; unfinished files of ours are removed."""
        remove_temporary(self._layout, self._name)
        with contextlib.suppress(OSError):
            (self._layout.leases / self._name).unlink(missing_ok=True)
        os.close(self._fd)

    def temporary(self) -> Path:
        """A new name in ``tmp/`` that gc leaves alone while this lease lives."""
        return self._layout.temporary / f"{self._name}-{next(self._numbers)}"

    def hold(self, digest: Digest) -> None:
        """Write down that we need ``digest``; call it inside :func:`against_gc`."""
        with self._guard:
            if digest not in self._held:
                with told(self._layout.home):
                    os.write(self._fd, f"{digest}\n".encode())
                self._held.add(digest)


def clear_abandoned(layout: Layout) -> int:
    """Remove leases of dead processes and their unfinished files (I6); returns how many leases there were."""
    if not any(_leases(layout)):
        return 0
    with told(layout.home):
        gate = open_lock(layout.locks / "gc")
    try:
        # whoever starts now has its lease file but not yet its lock: then somebody else clears, or we do next time
        return len(remove_dead(layout)) if try_lock(gate) else 0
    finally:
        os.close(gate)


def remove_dead(layout: Layout) -> list[str]:
    """As :func:`clear_abandoned`, while the caller holds the gc lock; returns the leases' names."""
    dead = [lease.name for lease in _leases(layout) if _is_dead(lease)]
    for name in dead:
        remove_temporary(layout, name)
        with told(layout.home):
            (layout.leases / name).unlink(missing_ok=True)
    if dead:
        for lock in layout.locks.glob("work-*"):
            is_free(lock, remove=True)
    return dead


def live_leases(layout: Layout) -> dict[str, frozenset[Digest]]:
    """Which digests each living process needs; the caller holds the gc lock."""
    found: dict[str, frozenset[Digest]] = {}
    for lease in _leases(layout):
        if not _is_dead(lease):
            with told(layout.home):
                try:
                    lines = lease.read_text("ascii").split("\n")[:-1]
                except FileNotFoundError:  # its session has just ended: what it named, it named before we looked
                    continue
            found[lease.name] = frozenset(Digest.parse(line) for line in lines)
    return found


def remove_temporary(layout: Layout, lease: str) -> None:
    """Remove what ``lease`` left in ``tmp/``."""
    with told(layout.home):
        left = [path for path in layout.temporary.iterdir() if path.name.startswith(f"{lease}-")]
    for path in left:
        remove_tree(path)


def remove_tree(path: Path) -> None:
    """Remove a file or folder that may be gone already; what cannot be removed stays for the next gc."""
    if path.is_symlink() or not path.is_dir():
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        return
    with contextlib.suppress(OSError):
        for folder, _, _ in os.walk(path):  # an unpacked layer may hold folders without permissions
            Path(folder).chmod(0o700)
    shutil.rmtree(path, ignore_errors=True)


def _leases(layout: Layout) -> list[Path]:
    try:
        return sorted(layout.leases.iterdir())
    except FileNotFoundError:
        return []


def _is_dead(lease: Path) -> bool:
    return lease.exists() and is_free(lease)

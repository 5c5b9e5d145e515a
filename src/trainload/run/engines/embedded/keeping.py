"""What a run in the foreground changed, kept as a detached run that ended: ``ps -a``, ``cp`` and ``rm`` know it.

The overlay is mounted ``volatile``: the kernel does not write it to the disk when it is unmounted, and its work
folder forbids a second mount. So the disk is waited for before the changes get their place; the work folder goes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path

from trainload.digest import Digest
from trainload.run import rundir
from trainload.run.capture import ENGINES
from trainload.run.engines.embedded.kept import Kept, Note, all_kept
from trainload.run.engines.interface import Phase
from trainload.run.unpack import sync
from trainload.system.host import now

MOST = 20
"""Kept runs of the foreground in one store; the oldest goes when there is one more."""


def keeping(kept: Kept, image: Digest) -> Callable[[Path, str], AbstractContextManager[Path]]:
    """As ``rundir.run_folder``, but what was changed moves to ``kept`` before the rest is removed."""

    @contextmanager
    def place(rootfs: Path, name: str) -> Iterator[Path]:
        with rundir.run_folder(rootfs, name) as folder:
            try:
                yield folder
            finally:
                if _something(folder / "upper"):
                    _move(folder / "upper", kept, image)

    return place


def _something(upper: Path) -> bool:
    """Whether anything but folders and what the engine makes lies there."""
    for above, folders, files in os.walk(upper):
        inside = os.path.relpath(above, upper)
        if any(os.path.normpath(f"{inside}/{name}") not in ENGINES for name in files):
            return True
        folders[:] = [name for name in folders if os.path.normpath(f"{inside}/{name}") not in ENGINES]
    return False


def _move(upper: Path, kept: Kept, image: Digest) -> None:
    sync(upper)
    kept.make()
    kept.root.mkdir()
    kept.write(Note(Phase.ENDED, ended=now().isoformat(), image=str(image), front=True))
    upper.rename(kept.root / "upper")
    for part in ("work", "merged", "etc"):
        (kept.root / part).mkdir()
    for older in in_front(kept.folder.parent)[:-MOST]:
        older.remove()


def in_front(folder: Path) -> tuple[Kept, ...]:
    """The kept runs of the foreground, the oldest first; ``folder``: that of all runs."""
    found = [(note.ended or "", kept.id, kept) for kept in all_kept(folder) if (note := kept.note()) and note.front]
    return tuple(kept for _, _, kept in sorted(found, key=lambda one: one[:2]))


def prune(folder: Path, before: datetime, *, dry_run: bool = False) -> int:
    """Forget what was kept of runs in the foreground that ended earlier; how many."""
    old = [kept for kept in in_front(folder) if (note := kept.note()) and (note.ended or "") < before.isoformat()]
    for kept in old:
        if not dry_run:
            kept.remove()
    return len(old)

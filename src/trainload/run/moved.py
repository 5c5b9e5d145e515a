"""The files of a layer that was just written, moved to where it would be unpacked, so that nothing is unpacked.

The folder that took a run's changes has them already. What is moved looks as :mod:`trainload.run.placing` would
leave it: times zero, no set-id bits, no attributes, owners for root only; what is not in the layer stays behind.
It is a cache under the layer's lock as any unpacked layer is: what cannot be moved is unpacked when it is needed.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from trainload.digest import Digest
from trainload.layers.tarread import MemberKind
from trainload.run.capture import Change, Changes
from trainload.run.unpack import lay_down, write_done

_TIMES = (0, 0)  # nanoseconds, as LayerWriter writes by default


def move_unpacked(changes: Changes, diff_id: Digest, rootfs: Path) -> bool:
    """``changes``, just what the layer ``diff_id`` was written of, become its folder below ``rootfs``.

    ``changes.deleted`` are the layer's whiteouts. False: it is there already, or cannot be moved. Call it when the
    layer is written: the sources are gone afterwards.
    """

    def fill(folder: Path) -> None:
        (folder / "fs").mkdir(parents=True, mode=0o755)
        moving = _Moving(folder / "fs")
        moving.run(changes.entries, changes.deleted)
        write_done(folder, sorted(moving.implicit), sorted(moving.dropped))

    with suppress(OSError):  # another file system, a file that may not be changed, a full disk
        return lay_down(diff_id, rootfs, fill)
    return False


class _Moving:
    def __init__(self, root: Path) -> None:
        self._root = root
        self._owner = os.geteuid() == 0
        self._folders: dict[str, int] = {"": -1}
        """path → its mode in the end; -1: as it was made."""
        self._moved: set[tuple[int, int]] = set()
        self.implicit: set[str] = set()
        self.dropped: set[str] = set()

    def run(self, entries: Collection[Change], deleted: Collection[str]) -> None:
        for entry in entries:
            self._parent(entry.path)
            self._place(entry, self._root / entry.path)
        for path in deleted:
            self._parent(path)
            os.mknod(self._root / path, stat.S_IFCHR | 0o600, os.makedev(0, 0))
        for path, mode in sorted(self._folders.items(), reverse=True):
            if mode >= 0:
                (self._root / path).chmod(mode)
                os.utime(self._root / path, ns=_TIMES)

    def _parent(self, path: str) -> None:
        """The folder above is there, although nothing may say how it looks."""
        above = path.rpartition("/")[0]
        if above not in self._folders:
            self._parent(above)
            (self._root / above).mkdir(mode=0o755)
            self._folders[above] = -1
            self.implicit.add(above)

    def _place(self, entry: Change, place: Path) -> None:
        mode = entry.looks.mode
        if entry.kind is not MemberKind.DIRECTORY and mode & (stat.S_ISUID | stat.S_ISGID):
            self.dropped.add("set-id")
        match entry.kind:
            case MemberKind.DIRECTORY:
                place.mkdir(mode=0o700)
                self._give(entry, place)
                self._folders[entry.path] = mode if self._owner else mode & 0o1777 | 0o700
            case MemberKind.SYMLINK:
                place.symlink_to(entry.target)
                self._give(entry, place)
                os.utime(place, ns=_TIMES, follow_symlinks=False)
            case MemberKind.HARDLINK:
                os.link(self._root / entry.target, place, follow_symlinks=False)
            case _:
                self._file(entry, place)
                self._give(entry, place)  # before the mode: it takes bits and capabilities away
                place.chmod(mode & 0o1777 if self._owner else mode & 0o1777 | 0o400)
                os.utime(place, ns=_TIMES)

    def _file(self, entry: Change, place: Path) -> None:
        if entry.content is not None:
            place.write_bytes(entry.content)
            return
        assert entry.source is not None, "a file's content lies somewhere"
        status = entry.source.lstat()
        file = (status.st_dev, status.st_ino)
        attributes = os.listxattr(entry.source, follow_symlinks=False)
        if file in self._moved or not self._without(attributes, entry.source):
            shutil.copyfile(entry.source, place, follow_symlinks=False)
        else:
            entry.source.rename(place)
            self._moved.add(file)

    def _without(self, attributes: Collection[str], place: Path) -> bool:
        """Take the attributes off, which no layer of ours has; False: they are not ours to take."""
        try:
            for name in attributes:
                os.removexattr(place, name, follow_symlinks=False)
        except OSError:
            return False
        return True

    def _give(self, entry: Change, place: Path) -> None:
        if self._owner:
            os.chown(place, entry.looks.owner.uid, entry.looks.owner.gid, follow_symlinks=False)

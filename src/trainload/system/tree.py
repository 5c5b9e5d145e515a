"""A real folder as a :class:`trainload.tree.Tree`, read through folder descriptors that never follow a link.

Every step is ``openat`` with ``O_NOFOLLOW`` from the folder above, so a component that is swapped for a link
while we read cannot lead outside (THREATS P01, P05), and nothing but a regular file is opened for reading,
without blocking (P03).
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import BinaryIO

from trainload.errors import ConfigError, Place, Text
from trainload.tree import Entry, EntryKind

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LINK_IN_THE_WAY = {errno.ELOOP, errno.ENOTDIR, errno.EMLINK}
_DEEPEST = 200  # open folders at once while walking; the usual RLIMIT_NOFILE is 1024


class DiskTree:
    """One folder of this machine. The folder itself may be reached through links; nothing below it may."""

    def __init__(self, root: str | Path) -> None:
        """Raises :class:`ConfigError` when ``root`` is not a folder that can be read."""
        self._name = Path(root).resolve().name or "root"
        try:
            self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise ConfigError(
                Text("the folder cannot be read: {reason}", reason=error.strerror), place=Place(str(root))
            ) from error
        self._user = os.geteuid()
        weakref.finalize(self, os.close, self._root)

    @property
    def name(self) -> str:
        return self._name

    def find(self, path: str) -> Entry | None:
        try:
            with self._folder_of(path) as (folder, name):
                return self._entry(path, os.stat(name, dir_fd=folder, follow_symlinks=False), folder, name)
        except OSError as error:
            if error.errno in _LINK_IN_THE_WAY | {errno.ENOENT, errno.ENAMETOOLONG}:
                return None
            raise _unreadable(path, error) from error

    def walk(self, enter: Callable[[Entry], bool]) -> Iterator[Entry]:
        yield from self._walk(os.dup(self._root), "", enter, 0)

    def _walk(self, folder: int, prefix: str, enter: Callable[[Entry], bool], depth: int) -> Iterator[Entry]:
        """Takes ``folder`` over. A folder's own entry comes at its name, its content at ``name/``: sorted paths."""
        try:
            if depth > _DEEPEST:
                raise ConfigError(
                    Text("folders are nested too deep"), place=Place(prefix), want=f"at most {_DEEPEST} levels"
                )
            for key, entry in self._sorted(folder, prefix):
                if not key.endswith("/"):
                    yield entry
                elif enter(entry):
                    below = self._descend(folder, entry.path.rpartition("/")[2], entry.path)
                    yield from self._walk(below, key, enter, depth + 1)
        finally:
            os.close(folder)

    def _sorted(self, folder: int, prefix: str) -> list[tuple[str, Entry]]:
        found: list[tuple[str, Entry]] = []
        try:
            with os.scandir(folder) as items:
                for item in items:
                    path = prefix + item.name
                    try:
                        entry = self._entry(path, item.stat(follow_symlinks=False), folder, item.name)
                    except FileNotFoundError:
                        continue  # removed since it was listed: as if it had never been there
                    found.append((path, entry))
                    if entry.kind is EntryKind.FOLDER:
                        found.append((path + "/", entry))
        except OSError as error:
            raise _unreadable(prefix.rstrip("/") or self._name, error) from error
        found.sort(key=lambda pair: pair[0])
        return found

    def _descend(self, folder: int, name: str, path: str) -> int:
        try:
            return os.open(name, _FOLDER, dir_fd=folder)
        except OSError as error:
            raise _unreadable(path, error) from error

    def _entry(self, path: str, status: os.stat_result, folder: int, name: str) -> Entry:
        mode = status.st_mode
        target = None
        if stat.S_ISREG(mode):
            kind = EntryKind.FILE
        elif stat.S_ISDIR(mode):
            kind = EntryKind.FOLDER
        elif stat.S_ISLNK(mode):
            kind = EntryKind.LINK
            target = os.readlink(name, dir_fd=folder)
        else:
            kind = EntryKind.OTHER
        private = bool(mode & stat.S_IWGRP) and is_private_group(status.st_gid, self._user)
        return Entry(
            path, kind, status.st_size, mode & 0o7777, target, status.st_mtime_ns,
            status.st_uid not in (self._user, 0), private,
        )  # fmt: skip

    @contextmanager
    def _folder_of(self, path: str) -> Iterator[tuple[int, str]]:
        *folders, name = _parts(path)
        current = os.dup(self._root)
        try:
            for part in folders:
                below = os.open(part, _FOLDER, dir_fd=current)
                os.close(current)
                current = below
            yield current, name
        finally:
            os.close(current)

    def open(self, path: str) -> BinaryIO:
        try:
            with self._folder_of(path) as (folder, name):
                descriptor = os.open(name, _FILE, dir_fd=folder)
        except OSError as error:
            raise _unreadable(path, error) from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise ConfigError(Text("this is not a regular file"), place=Place(path))
        return os.fdopen(descriptor, "rb")

    def read(self, path: str, *, limit: int) -> bytes:
        with self.open(path) as stream:
            before = os.fstat(stream.fileno())
            try:
                data = stream.read(limit + 1)
            except OSError as error:
                raise _unreadable(path, error) from error
            after = os.fstat(stream.fileno())
        if len(data) > limit:
            size = max(after.st_size, len(data))
            raise ConfigError(
                Text("the file is too large"),
                place=Place(path), got=f"{size} bytes", want=f"at most {limit} bytes",
            )  # fmt: skip
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or len(data) != after.st_size:
            raise ConfigError(  # THREATS P04
                Text("the file changed while it was read"), place=Place(path), retryable=True
            )
        return data


@cache
def is_private_group(gid: int, uid: int) -> bool:
    """Whether nobody but the user ``uid`` and root is in the group: a user's own, of the same name.

    Asked for groups that may write only: a directory service may take its time.
    """
    try:
        group = grp.getgrgid(gid)
        user = pwd.getpwuid(uid)
    except KeyError:
        return False
    own = gid == user.pw_gid and group.gr_name == user.pw_name
    return (own or gid == 0) and set(group.gr_mem) <= {user.pw_name, "root"}


def _parts(path: str) -> list[str]:
    parts = path.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise ConfigError(
            Text("this path does not stay inside the project"), place=Place(path), want="a/relative/path"
        )
    return parts


def _unreadable(path: str, error: OSError) -> ConfigError:
    if error.errno in _LINK_IN_THE_WAY:
        return ConfigError(
            Text("a symbolic link is in the way, and links are not followed"),
            place=Place(path),
            hints=[Text("put the file itself there, or mount its folder when the project runs")],
        )
    if error.errno == errno.ENOENT:
        return ConfigError(Text("the file does not exist"), place=Place(path))
    return ConfigError(Text("this cannot be read: {reason}", reason=error.strerror), place=Place(path))

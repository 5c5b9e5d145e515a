"""A folder that is filled from hostile names: every step is relative to an open folder and stays below it.

Parents are resolved by ``openat2(RESOLVE_IN_ROOT)`` (Linux 5.6), so a link inside the folder leads where it
would lead inside the container, whoever swaps it meanwhile (THREATS L06, L16; CVE-2018-15664). Where the
system call is missing, a parent that is a link is refused.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import stat
from pathlib import Path

from trainload.errors import LayerError, Text

_OPENAT2 = 437  # the same on every architecture
_RESOLVE_NO_XDEV, _RESOLVE_NO_MAGICLINKS, _RESOLVE_IN_ROOT = 0x01, 0x02, 0x10
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_TRIES = 100  # openat2 says EAGAIN while somebody renames; more often than this it is an attack


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_HOW = _How(_FOLDER, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS | _RESOLVE_NO_XDEV)
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long


_ACROSS = _How(_FOLDER, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)


def open_in_root(root: int, path: bytes, *, across_mounts: bool = False) -> int:
    """The folder ``path`` below the open folder ``root``, links resolved inside it; the caller closes it.

    Raises :class:`OSError`: ENOENT, ENOTDIR, ELOOP.
    """
    how = _ACROSS if across_mounts else _HOW
    for _ in range(_TRIES):
        found = int(
            _LIBC.syscall(_OPENAT2, root, path or b".", ctypes.byref(how), ctypes.c_size_t(ctypes.sizeof(how)))
        )
        if found >= 0:
            return found
        number = ctypes.get_errno()
        if number in (errno.ENOSYS, errno.EPERM):  # EPERM: an old container's seccomp filter
            return _open_stepwise(root, path)
        if number not in (errno.EAGAIN, errno.EINTR):
            raise OSError(number, os.strerror(number), os.fsdecode(path))
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), os.fsdecode(path))


def _open_stepwise(root: int, path: bytes) -> int:
    here = os.dup(root)
    for part in path.split(b"/") if path else ():
        try:
            there = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=here)
        finally:
            os.close(here)
        here = there
    return here


class RootDir:
    """An open folder; paths are bytes below it, without ``..`` (``layers.tarread.member_path`` made them)."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, _FOLDER | os.O_NOFOLLOW)
        self.implicit: set[bytes] = set()
        """Folders that no entry named so far: they exist because something lies in them."""
        self._parent: tuple[bytes, int] | None = None

    def close(self) -> None:
        self.forget()
        os.close(self.fd)

    def forget(self) -> None:
        """Drop the open parent; needed whenever a folder may have been replaced."""
        if self._parent is not None:
            os.close(self._parent[1])
            self._parent = None

    def parent(self, path: bytes) -> tuple[int, bytes]:
        """The open folder ``path`` goes into, made if it is missing, and its name there."""
        folder, _, name = path.rpartition(b"/")
        if not folder:
            return self.fd, name
        if self._parent is None or self._parent[0] != folder:
            self.forget()
            self._parent = folder, self._opened(folder)
        return self._parent[1], name

    def existing_parent(self, path: bytes) -> tuple[int, bytes]:
        """As :meth:`parent` for a folder that must be there; the caller closes it. Raises :class:`OSError`."""
        folder, _, name = path.rpartition(b"/")
        return open_in_root(self.fd, folder), name

    def _opened(self, folder: bytes) -> int:
        try:
            return open_in_root(self.fd, folder)
        except FileNotFoundError:
            pass
        above, _, name = folder.rpartition(b"/")
        outer = self._opened(above) if above else os.dup(self.fd)
        try:
            os.mkdir(name, 0o755, dir_fd=outer)
        except FileExistsError:
            raise LayerError(Text("the folder {folder} is a link that leads nowhere", folder=folder)) from None
        finally:
            os.close(outer)
        self.implicit.add(folder)
        return open_in_root(self.fd, folder)

    def clear(self, folder: int, name: bytes, *, keep_folder: bool = False) -> bool:
        """Remove what is called ``name`` in ``folder``, so that a later entry wins (THREATS L08).

        With ``keep_folder`` a folder stays; True if one stays.
        """
        try:
            mode = os.lstat(name, dir_fd=folder).st_mode
        except FileNotFoundError:
            return False
        if not stat.S_ISDIR(mode):
            os.unlink(name, dir_fd=folder)
            return False
        if keep_folder:
            return True
        shutil.rmtree(name, dir_fd=folder)
        if self._parent is not None and self._parent[1] != folder:
            self.forget()
        return False

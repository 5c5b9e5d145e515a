"""A tar of what lies in a container: a running one is read through its first process, an ended one is joined again.

Everything happens in a child whose namespaces are its own; a path is resolved inside the container, whoever swaps
links meanwhile (THREATS L16).
"""

from __future__ import annotations

import json
import os
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from trainload.errors import RunError, Text
from trainload.layers.tarread import Readable
from trainload.run import kernel
from trainload.run.overlay import Way, join
from trainload.run.rootdir import open_in_root
from trainload.run.unpack import remove

_HOPS = 40  # Linux MAXSYMLINKS


@dataclass(frozen=True, slots=True)
class Living:
    """A container that runs, by its first process."""

    pid: int

    def root(self) -> Path:
        return Path(f"/proc/{self.pid}/root")


@dataclass(frozen=True, slots=True)
class Ended:
    """What a run left: its own folder, and the layers below it, base first."""

    folder: Path
    layers: tuple[Path, ...]

    def root(self) -> Path:
        """The joined root; only this process sees it. Raises :class:`OSError`."""
        if os.geteuid() == 0:
            kernel.own_mount_namespace()
        else:
            kernel.own_user_namespace()
        remove(self.folder / "work")
        (self.folder / "work").mkdir()
        return join(Way.OVERLAY, self.layers, self.folder)


@contextmanager
def tar_of(place: Living | Ended, path: str) -> Iterator[Readable]:
    """A tar of ``path`` to be read. Raises :class:`RunError` when it is not there or cannot be read."""
    tar_out, tar_in = os.pipe()
    told_out, told_in = os.pipe()
    child = os.fork()
    if child == 0:
        _write(place, path, tar_in, told_in)
    os.close(tar_in)
    os.close(told_in)
    try:
        with os.fdopen(tar_out, "rb") as tar:
            yield tar
    finally:
        with os.fdopen(told_out, "rb") as told:
            trouble = told.read()
        os.waitpid(child, 0)
    if trouble:
        raise RunError(Text("{path} cannot be copied: {reason}", path=path, reason=json.loads(trouble)))


def _write(place: Living | Ended, path: str, tar: int, told: int) -> None:
    """In the child; never returns."""
    try:
        root = os.open(place.root(), os.O_RDONLY | os.O_DIRECTORY)
        with (
            os.fdopen(tar, "wb") as out,
            tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as archive,
        ):
            _Writer(archive).path(root, path)
    except (OSError, tarfile.TarError) as error:
        os.write(told, json.dumps(getattr(error, "strerror", None) or str(error)).encode())
    finally:
        os._exit(0)


class _Writer:
    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive

    def path(self, root: int, path: str) -> None:
        """``path`` inside; a link at its end is followed, as ``docker cp -L`` and people expect."""
        for _ in range(_HOPS):
            above, _, name = path.rstrip("/").rpartition("/")
            folder = open_in_root(root, os.fsencode(above.lstrip("/")), across_mounts=True)
            try:
                if not name or name in (".", ".."):
                    inner = open_in_root(root, os.fsencode(path.strip("/")), across_mounts=True)
                    self._folder(inner, ".", os.fstat(inner))
                    return
                if not stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                    self._entry(folder, name, name)
                    return
                target = os.readlink(name, dir_fd=folder)
                path = target if target.startswith("/") else f"{above}/{target}"
            finally:
                os.close(folder)
        raise OSError(40, "too many links")

    def _entry(self, folder: int, name: str, shown: str) -> None:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            self._folder(os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder), shown, status)
        elif stat.S_ISLNK(status.st_mode):
            info = _info(shown, tarfile.SYMTYPE, status)
            info.linkname = os.readlink(name, dir_fd=folder)
            self._archive.addfile(info)
        elif stat.S_ISREG(status.st_mode):
            with os.fdopen(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder), "rb") as file:
                info = _info(shown, tarfile.REGTYPE, status)
                info.size = os.fstat(file.fileno()).st_size
                self._archive.addfile(info, _Exactly(file, info.size))

    def _folder(self, opened: int, shown: str, status: os.stat_result) -> None:
        try:
            self._archive.addfile(_info(shown, tarfile.DIRTYPE, status))
            for name in sorted(os.listdir(opened)):
                with suppress(FileNotFoundError):  # removed since it was listed
                    self._entry(opened, name, f"{shown}/{name}")
        finally:
            os.close(opened)


class _Exactly:
    """A file that grows or shrinks while it is read gives what its header says."""

    def __init__(self, file: Readable, size: int) -> None:
        self._file, self._left = file, size

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(min(size, self._left)) or bytes(min(size, self._left))
        self._left -= len(data)
        return data


def _info(name: str, kind: bytes, status: os.stat_result) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.mode = stat.S_IMODE(status.st_mode)
    info.mtime = int(status.st_mtime)
    return info

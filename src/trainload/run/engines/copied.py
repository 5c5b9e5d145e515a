"""What comes out of a container, put into a folder: names, links and kinds are not trusted (THREATS L06, L16)."""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from trainload.errors import RunError, Text
from trainload.layers.tarread import Member, MemberKind, Readable, TarReader, member_path
from trainload.run.rootdir import RootDir, open_in_root

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Copied:
    """What was made."""

    place: Path
    files: int
    skipped: int
    """Devices, pipes and the like."""


def extract(stream: Readable, target: Path, source: str) -> Copied:
    """Put a tar of ``source`` at ``target``: into it, if it is a folder, else under its name (as ``docker cp``).

    A ``source`` that ends in ``/.`` gives the folder's content. Raises :class:`RunError` when it cannot be written,
    :class:`LayerError` for an archive that is broken or leads outside.
    """
    content = source.endswith("/.")
    above, name = target.parent, os.fsencode(target.name)
    if target.is_dir():
        base = source.rstrip("/").rpartition("/")[2]
        above, name = target, b"" if content or base in ("", ".") else os.fsencode(base)
    elif not above.is_dir():
        raise RunError(Text("there is no folder {folder}", folder=above))
    root = RootDir(above.resolve())
    writer = _Writer(root, name)
    try:
        for member in (reader := TarReader(stream, source)):
            writer.take(member, reader)
        writer.close_folders()
    except OSError as error:
        raise RunError(
            Text("{path} cannot be copied: {reason}", path=source, reason=error.strerror or error)
        ) from error
    finally:
        root.close()
    return Copied(above / os.fsdecode(name), writer.files, writer.skipped)


class _Writer:
    def __init__(self, root: RootDir, name: bytes) -> None:
        self._root, self._name = root, name
        self._modes: dict[bytes, int] = {}
        self.files = self.skipped = 0

    def take(self, member: Member, reader: TarReader) -> None:
        path = self._place(member.name)
        if not path:
            return
        folder, name = self._root.parent(path)
        if member.kind is MemberKind.DIRECTORY:
            if not _is_folder(folder, name):
                self._root.clear(folder, name)
                os.mkdir(name, 0o700, dir_fd=folder)
            self._modes[path] = member.mode
            return
        if member.kind not in (MemberKind.FILE, MemberKind.SYMLINK, MemberKind.HARDLINK):
            self.skipped += 1
            return
        self._root.clear(folder, name)
        if member.kind is MemberKind.SYMLINK:
            os.symlink(member.linkname, name, dir_fd=folder)
        elif member.kind is MemberKind.HARDLINK:
            self._link(self._place(member.linkname), folder, name)
        else:
            self._file(member, reader, folder, name)
        self.files += 1

    def close_folders(self) -> None:
        """Modes last: a folder may be closed even to us."""
        for path, mode in reversed(self._modes.items()):
            with contextlib.suppress(FileNotFoundError):
                opened = open_in_root(self._root.fd, path)
                try:
                    os.fchmod(opened, mode & 0o777)
                finally:
                    os.close(opened)

    def _place(self, name: bytes) -> bytes:
        """Below the target: the archive's one top name becomes ours."""
        _, _, below = member_path(name, "the container's archive").partition(b"/")
        return b"/".join(part for part in (self._name, below) if part)

    def _link(self, earlier: bytes, folder: int, name: bytes) -> None:
        above, first = self._root.existing_parent(earlier)
        try:
            os.link(first, name, src_dir_fd=above, dst_dir_fd=folder, follow_symlinks=False)
        finally:
            os.close(above)

    def _file(self, member: Member, reader: TarReader, folder: int, name: bytes) -> None:
        with os.fdopen(os.open(name, _NEW, 0o600, dir_fd=folder), "wb") as file:
            for piece in reader.chunks():
                file.write(piece)
            os.fchmod(file.fileno(), member.mode & 0o777)
            os.utime(file.fileno(), (member.mtime, member.mtime))


def _is_folder(folder: int, name: bytes) -> bool:
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False

"""Writing the user's own files: whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from trainload.errors import Place, Text, TrainloadError


class FileError(TrainloadError):
    """A file of the user's could not be written; it is as it was."""


def replace(path: Path, data: bytes, mode: int | None = None) -> None:
    """Make ``data`` the content of ``path`` in one step; a link is followed, an existing file keeps its mode.

    ``mode``: the permissions it has then, whatever it had.

    Raises :class:`FileError`; the old content is then untouched and nothing is left beside it.
    """
    with replacing(path, mode) as file:
        file.write(data)


@contextmanager
def replacing(path: Path, mode: int | None = None) -> Iterator[BinaryIO]:
    """As :func:`replace`, for content that comes piece by piece; what is no regular file is written to directly.

    An error inside leaves ``path`` as it was. Raises :class:`FileError` for errors of the operating system.
    """
    try:
        target = path.resolve()
        if target.exists() and not target.is_file() and not target.is_dir():
            with target.open("wb") as device:
                yield device
            return
        if mode is None:
            mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask()
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise FileError(
            Text("{file} could not be written", file=path.name),
            place=Place(str(path)),
            got=error.strerror or str(error),
            hints=[_WRITABLE] if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM) else [],
        ) from error


_WRITABLE = Text("make its folder writable, or work in a copy of it")


def _umask() -> int:
    """The process's umask; there is no way to read it but to set it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask

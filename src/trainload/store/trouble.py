"""Errors of the operating system, told as what happened to the store and what to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainload.errors import Place, StoreError, Text

_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EROFS, errno.EACCES, errno.EPERM}


class DamagedError(StoreError):
    """A blob's bytes are not the ones its name promises (THREATS L03); it is never used."""


class MissingError(StoreError):
    """Something is not in the store."""


@contextmanager
def told(home: Path, *, need: int | None = None) -> Iterator[None]:
    """Turn an :class:`OSError` of our own system calls into a :class:`StoreError`; ``need`` in bytes."""
    try:
        yield
    except OSError as error:
        raise explain(error, home, need=need) from error


def explain(error: OSError, home: Path, *, need: int | None = None) -> StoreError:
    """What ``error`` means for the store at ``home``."""
    place = Place(str(error.filename or home))
    if error.errno in _FULL:
        return full(home, need)
    if error.errno in _FORBIDDEN:
        return StoreError(
            Text("the store {home} may not be written", home=home),
            place=place,
            got=error.strerror,
            hints=[Text("set TRAINLOAD_HOME to a folder that is yours and can be written")],
        )
    if error.errno == errno.EIO:
        return StoreError(
            Text("the disk under the store {home} reports an input/output error", home=home),
            place=place,
            hints=[Text("check the disk (dmesg), or set TRAINLOAD_HOME to a folder on another one")],
        )
    return StoreError(Text("the store {home} could not be used", home=home), place=place, got=error.strerror)


def full(home: Path, need: int | None) -> StoreError:
    """The disk is full; ``need``: bytes of what was to be written, if known."""
    free = free_bytes(home)
    return StoreError(
        Text("the disk under the store {home} is full", home=home),
        got=None if free is None else f"{free:,} bytes free",
        want=None if need is None else f"{need:,} bytes",
        hints=[
            Text("`trainload gc` removes what no image needs"),
            Text("set TRAINLOAD_HOME to a folder on a larger disk"),
        ],
        retryable=True,
    )


def free_bytes(home: Path) -> int | None:
    """Bytes an ordinary user can still write under ``home``; None when the system does not say."""
    try:
        state = os.statvfs(home)
    except OSError:
        return None
    return state.f_bavail * state.f_frsize

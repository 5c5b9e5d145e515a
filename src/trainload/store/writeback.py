"""Asks the kernel to begin writing a file out, so that the fsync at its end finds little left to do.

Only a hint: the kernel keeps an error of such an early write for the fsync, and where there is no such call nothing
is lost but time.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable

_WRITE = 2  # linux/fs.h: SYNC_FILE_RANGE_WRITE


def begin_writeback(fd: int, start: int, length: int) -> None:
    """Begin to write out ``length`` bytes of the file from ``start``; does not wait."""
    call = _call()
    if call is not None:
        call(fd, start, length, _WRITE)


@functools.cache
def _call() -> Callable[[int, int, int, int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    import ctypes

    call = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if call is None:  # pragma: no cover  # a C library without it
        return None
    call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return call  # type: ignore[no-any-return]

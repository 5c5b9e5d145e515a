"""Locked files, and with the first one all that fetching needs: most builds ask for none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, BinaryIO

from trainload.lock.model import File

if TYPE_CHECKING:
    from trainload.resolve.fetch import Fetcher


class LateFetcher:
    """A :class:`Fetcher` that is made when it is first needed."""

    def __init__(self, make: Callable[[], Fetcher]) -> None:
        self._make = make

    @cached_property
    def _fetcher(self) -> Fetcher:
        return self._make()

    def open(self, file: File, /) -> BinaryIO:
        return self._fetcher.open(file)

    def pour(self, file: File, write: Callable[[bytes], object], earlier: Iterable[bytes] = (), /) -> None:
        self._fetcher.pour(file, write, earlier)

    def prefetch(self, files: Sequence[File]) -> None:
        if files:
            self._fetcher.prefetch(files)

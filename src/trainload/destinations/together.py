"""Several transfers at once: the first error ends the others, an interrupt ends all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

from trainload.errors import RegistryError
from trainload.values import dataclass, field

T = TypeVar("T")
R = TypeVar("R")

QUESTIONS = 8
"""Small requests at once."""
TRANSFERS = 4
"""Bodies at once: what registries and mirrors allow a client, and enough to fill a line."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Work that is under way ends at its next bytes once this is set."""

    event: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        if self.event.is_set():
            raise RegistryError("the transfer was stopped")


def together(work: Callable[[T], R], items: Sequence[T], stop: Stop, at_once: int = TRANSFERS) -> list[R]:
    """``work`` of each item, in their order. Raises the first error; the others have ended then."""
    if len(items) < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(at_once, "transfer") as pool:
        try:
            futures = [pool.submit(work, item) for item in items]
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            failed = next((one for one in futures if one in done and one.exception() is not None), None)
            if failed is not None:
                stop.event.set()
                pool.shutdown(wait=False, cancel_futures=True)
                failed.result()
        except BaseException:  # an interrupt: leaving waits for the threads, so they are told to end
            stop.event.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        return [future.result() for future in futures]

"""What a handler of signals tells the rest of the program."""

from __future__ import annotations

import time

_MOMENT = 0.05  # seconds


class Flag:
    """Is set once and stays set.

    A handler runs in the main thread, between any two steps of it, also in the middle of another handler.
    ``threading.Event`` has a lock: a handler that sets one waits for ever if what it interrupted, the same thread,
    holds it. Here is none.
    """

    def __init__(self) -> None:
        self._set = False

    def is_set(self) -> bool:
        """Whether it was set."""
        return self._set

    def set(self) -> None:
        """From now on it is set."""
        self._set = True

    def wait(self, seconds: float = float("inf")) -> bool:
        """Until it is set, at most so long; whether it is."""
        end = time.monotonic() + seconds
        while not self._set and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _MOMENT))
        return self._set

"""Time is given out beforehand: the whole ends when it was said to, whatever a peer does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

_T = TypeVar("_T")


class Deadline:
    """Until when further rounds may begin."""

    def __init__(self, seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._until = now() + seconds

    @property
    def left(self) -> float:
        """Seconds; negative when it is over."""
        return self._until - self._now()

    def fits(self, seconds: float) -> bool:
        """Whether something that took ``seconds`` before would probably be over in time."""
        return seconds <= self.left

    def rounds(self, most: int) -> Iterator[int]:
        """One round at least; none begins that would end too late, going by the longest one so far."""
        longest = 0.0
        for number in range(most):
            if number and not self.fits(longest):
                return
            began = self._now()
            yield number
            longest = max(longest, self._now() - began)

    def times(self, most: int, work: Callable[[], _T]) -> list[_T]:
        return [work() for _ in self.rounds(most)]

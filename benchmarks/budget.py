"""Time is given out beforehand: the whole ends when it was said to, whatever a peer does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

_T = TypeVar("_T")
_GRACE = 240.0
"""Seconds after the end in which first rounds may still begin, at least."""


@dataclass(frozen=True, slots=True)
class Share:
    """Seconds of half an hour on two cores."""

    seconds: float
    least: float
    """One round of everything takes so long: what comes before leaves that much."""


PLAN: Mapping[str, Share] = {
    "help": Share(3, 2), "year": Share(5, 4), "large": Share(800, 700), "small": Share(340, 260),
    "dockerfile": Share(1, 1), "splice": Share(22, 15), "scaling": Share(150, 90), "tiny-gpt": Share(65, 50),
    "registry": Share(50, 35), "engines": Share(100, 80), "throughput": Share(35, 25), "digits": Share(25, 15),
}  # fmt: skip
"""What tells most comes first. 27 minutes in all: a slow peer may take more."""
PARTS = tuple(PLAN)
QUICK: Mapping[str, Share] = {"help": Share(3, 2), "year": Share(5, 4), "small": Share(210, 150)}
MINUTES, QUICK_MINUTES = 30.0, 5.0


class Deadline:
    """Until when further rounds may begin."""

    def __init__(self, seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._seconds = now, seconds
        self._until = now() + seconds

    @property
    def left(self) -> float:
        """Seconds; negative when it is over."""
        return self._until - self._now()

    @property
    def late(self) -> bool:
        """So long over that nothing more begins, not even a first round."""
        return self.left < -max(self._seconds, _GRACE)

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

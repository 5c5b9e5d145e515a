"""Time is given out beforehand; a clock of our own says how it passes."""

from __future__ import annotations

from benchmarks.budget import MINUTES, PLAN, QUICK, QUICK_MINUTES, Deadline


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def passes(self, seconds: float) -> float:
        self.now += seconds
        return seconds


def test_one_round_is_made_even_when_it_is_too_long() -> None:
    clock = Clock()
    assert Deadline(5, clock).times(4, lambda: clock.passes(60)) == [60]


def test_no_round_begins_that_would_end_too_late() -> None:
    clock = Clock()
    assert len(Deadline(35, clock).times(9, lambda: clock.passes(10))) == 3


def test_all_rounds_are_made_when_there_is_time() -> None:
    clock = Clock()
    until = Deadline(100, clock)
    assert list(until.rounds(4)) == [0, 1, 2, 3]
    clock.passes(101)
    assert until.left < 0
    assert not until.fits(0.1)


def test_nothing_more_begins_when_it_is_long_over() -> None:
    clock = Clock()
    until = Deadline(400, clock)
    clock.passes(700)
    assert until.left < 0
    assert not until.late  # what has no round yet may still have its one
    clock.passes(200)
    assert until.late


def test_the_plan_leaves_a_tenth_of_the_time_and_each_part_its_least() -> None:
    for plan, minutes in ((PLAN, MINUTES), (QUICK, QUICK_MINUTES)):
        assert sum(share.seconds for share in plan.values()) <= minutes * 60 * 0.9
        assert all(share.least <= share.seconds for share in plan.values())

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainload.cli.units import cells, duration, pad, rate, shorten, size


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (20_480, "20 kB"), (191_800_000, "192 MB"),
        (1_400_000, "1.4 MB"), (9_960_000, "10 MB"), (999_600, "1.0 MB"), (2_140_000_000, "2.1 GB"),
        (-41_000_000, "-41 MB"),
    ],
)  # fmt: skip
def test_sizes_are_decimal_and_short(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (0.42, "0.4 s"), (9.96, "10 s"), (59.4, "59 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")],
)
def test_durations_name_their_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_rate_over_no_time_is_not_told() -> None:
    assert rate(10**9, 0.0) == ""
    assert rate(91_000_000, 1.0) == "91 MB/s"


def test_wide_characters_take_two_cells() -> None:
    assert cells("层 a") == 4
    assert pad("层", 4) == "层  "
    assert pad("层", 4, right=True) == "  层"


@given(st.text(max_size=40), st.integers(1, 30))
def test_what_is_shortened_fits(text: str, width: int) -> None:
    assert cells(shorten(text, width)) <= width

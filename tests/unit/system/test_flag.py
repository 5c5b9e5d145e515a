"""A flag that handlers of signals set, wherever they interrupt its thread."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

from trainload.system.flag import Flag


@pytest.fixture
def flag() -> Iterator[Flag]:
    """A flag that SIGUSR1 sets."""
    flag = Flag()
    before = signal.signal(signal.SIGUSR1, lambda *_: flag.set())
    yield flag
    signal.signal(signal.SIGUSR1, before)


def signals_at_every_line(frame: FrameType, event: str, argument: Any) -> Any:  # noqa: ANN401 - sys.settrace
    """Before each line of the flag and of whatever of ``threading`` it would use, a signal comes."""
    if frame.f_globals.get("__name__") not in ("trainload.system.flag", "threading"):
        return None
    if event == "line":
        signal.raise_signal(signal.SIGUSR1)
    return signals_at_every_line


@pytest.mark.timeout(120, method="thread")  # a handler that waits for its own thread heeds no signal
def test_it_may_be_set_between_any_two_lines_of_its_own(flag: Flag) -> None:
    before = sys.gettrace()
    sys.settrace(signals_at_every_line)
    try:
        flag.set()
        waited = flag.wait(1)
    finally:
        sys.settrace(before)
    assert waited


@pytest.mark.timeout(120, method="thread")
def test_whoever_waits_goes_on_when_a_signal_sets_it(flag: Flag) -> None:
    threading.Timer(0.05, signal.raise_signal, [signal.SIGUSR1]).start()
    assert flag.wait()


def test_waiting_ends_by_itself(flag: Flag) -> None:
    began = time.monotonic()
    assert not flag.wait(0.1)
    assert time.monotonic() - began >= 0.1

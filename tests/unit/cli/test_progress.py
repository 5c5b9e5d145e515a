from __future__ import annotations

import io
import os
import termios
import time

import pytest

from trainload.cli.progress import Bars, Lines, Warnings, ended_line, label_width, reporter_for
from trainload.cli.texts import Catalogue
from trainload.cli.units import cells
from trainload.errors import Text
from trainload.events import Began, Ended, How, Level, Moved, Said

ENGLISH = Catalogue()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_has_one_line_per_task_with_bytes_time_and_rate() -> None:
    out = io.StringIO()
    lines = Lines(out, ENGLISH, colour=False)
    lines.report(Began("a", "torch 2.13.0+cpu", 192_000_000))
    lines.report(Moved("a", 1_000))
    lines.report(Ended("a", "torch 2.13.0+cpu", How.FETCHED, 192_000_000, 2.0))
    lines.report(Ended("b", "numpy 2.4.6", How.PRESENT, 17_000_000))
    lines.close()
    first, second = out.getvalue().splitlines()
    assert first.split() == ["fetched", "torch", "2.13.0+cpu", "192", "MB", "2.0", "s", "96", "MB/s"]
    assert second.split() == ["already", "there", "numpy", "2.4.6", "17", "MB"]


def test_a_log_tells_every_ten_seconds_how_far_a_long_task_is() -> None:
    out, clock = io.StringIO(), Clock()
    lines = Lines(out, ENGLISH, colour=False, clock=clock)
    lines.report(Began("a", "torch", 200_000_000))
    for clock.now in range(25):
        lines.report(Moved("a", int(clock.now) * 1_000_000))
    assert out.getvalue().splitlines() == ["  torch: 10 MB / 200 MB", "  torch: 20 MB / 200 MB"]


def test_small_files_are_told_together() -> None:
    out = io.StringIO()
    lines = Lines(out, ENGLISH, colour=False)
    for name in ("libc6.deb", "tini.deb"):
        lines.report(Began(name, name, 500_000))
        lines.report(Ended(name, name, How.FETCHED, 500_000))
    assert out.getvalue() == ""
    lines.report(Said(Text("done")))
    first, second = out.getvalue().splitlines()
    assert first.split() == ["fetched", "2", "smaller", "files", "1.0", "MB"]
    assert second == "done"
    lines.close()
    assert len(out.getvalue().splitlines()) == 2, "once"


def test_a_single_small_file_is_not_many() -> None:
    out = io.StringIO()
    lines = Lines(out, ENGLISH, colour=False)
    lines.report(Ended("a", "six.whl", How.FETCHED, 11_000))
    lines.close()
    assert out.getvalue().split() == ["fetched", "a", "smaller", "file", "11", "kB"]


def test_what_was_already_there_is_one_line_however_much_it_is() -> None:
    out = io.StringIO()
    lines = Lines(out, ENGLISH, colour=False)
    for name, size in (("venv", 500), ("torch 2.13.0+cpu", 192_000_000), ("code, 1 file", 500)):
        lines.report(Ended(name, name, How.PRESENT, size))
    assert out.getvalue() == ""
    lines.report(Said(Text("tiny-gpt")))
    first, second = out.getvalue().splitlines()
    assert " ".join(first.split()) == "already there torch 2.13.0+cpu and 2 more 192 MB"
    assert second == "tiny-gpt"


def test_a_rate_is_told_also_when_the_worker_kept_no_time() -> None:
    out, clock = io.StringIO(), Clock()
    lines = Lines(out, ENGLISH, colour=False, clock=clock)
    lines.report(Began("a", "torch", 192_000_000))
    clock.now = 2.0
    lines.report(Ended("a", "torch", How.FETCHED, 192_000_000))
    assert out.getvalue().split() == ["fetched", "torch", "192", "MB", "2.0", "s", "96", "MB/s"]


def test_quiet_leaves_warnings_only() -> None:
    out = io.StringIO()
    quiet = Warnings(out, ENGLISH, colour=False)
    quiet.report(Said(Text("all is well")))
    quiet.report(Ended("a", "torch", How.MADE))
    quiet.report(Said(Text("{file} is a secret", file=".env"), Level.WARNING))
    assert out.getvalue() == "warning: .env is a secret\n"


def test_S11_a_label_cannot_move_the_cursor() -> None:
    for reporter in (Lines(out := io.StringIO(), ENGLISH, colour=False),):
        reporter.report(Ended("a", "x\x1b]52;c;AAAA\x07\r\n[bold]y", How.MADE))
    assert "\x1b" not in out.getvalue()
    assert out.getvalue().count("\n") == 1


def test_a_terminal_shows_bars_while_it_takes_time_and_keeps_the_lines() -> None:
    out = Terminal()
    bars = Bars(out, ENGLISH, colour=False)
    bars.report(Began("a", "torch [x]", 100))
    bars.report(Began("b", "numpy", None))
    deadline = time.monotonic() + 120
    while "torch [x]" not in out.getvalue() and time.monotonic() < deadline:
        time.sleep(0.05)
        bars.report(Moved("a", 50))
    bars.report(Ended("a", "torch [x]", How.FETCHED, 100, 1.0))
    bars.report(Ended("b", "numpy", How.FAILED))
    end = out.getvalue()
    assert "50 B / 100 B" in end
    assert end.rstrip().endswith("numpy") or "failed         numpy" in end
    bars.close()
    assert out.getvalue() == end, "nothing is drawn once all tasks have ended"


def test_what_is_over_at_once_draws_no_bar() -> None:
    out = Terminal()
    bars = Bars(out, ENGLISH, colour=False)
    bars.report(Began("a", "numpy", 100))
    bars.report(Ended("a", "numpy", How.MADE, 100, 0.01))
    bars.close()
    assert out.getvalue().splitlines() == [
        "  made           numpy                                            100 B   0.0 s"
    ]


def test_the_listener_suits_the_stream() -> None:
    assert type(reporter_for(io.StringIO(), ENGLISH, quiet=False, environ={})) is Lines
    assert type(reporter_for(Terminal(), ENGLISH, quiet=False, environ={})) is Bars
    assert type(reporter_for(Terminal(), ENGLISH, quiet=False, environ={"CI": "true"})) is Lines
    assert type(reporter_for(Terminal(), ENGLISH, quiet=True, environ={})) is Warnings


@pytest.mark.parametrize("columns", [60, 70, 80, 100, 200])
def test_a_line_fits_a_narrow_terminal(columns: int) -> None:
    ours, theirs = os.openpty()
    with os.fdopen(ours, "rb"), os.fdopen(theirs, "w", encoding="utf-8") as terminal:
        termios.tcsetwinsize(theirs, (24, columns))
        width = label_width(terminal)
    name = "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl"
    lines = [
        ended_line(Ended("a", name, How.FETCHED, 192_000_000, 3.4), ENGLISH, width),
        ended_line(Ended("a", name, How.PRESENT, 192_000_000), ENGLISH, width),
    ]
    assert all(cells(line) <= columns for line in lines)
    assert columns > 70 or all("…" in line for line in lines)


def test_a_log_has_room_for_whole_labels() -> None:
    assert label_width(io.StringIO()) == 44

"""Lines, frames of progress bars, and which of them are shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trainload.errors import UsageError
from trainload.run.engines.embedded import logfile
from trainload.run.engines.interface import LogLine, LogQuery
from trainload.run.engines.logs import Latest, Splitter, chosen, collapsed, moment, visible

NOW = datetime(2026, 11, 27, 10, 0, tzinfo=UTC)


def line(text: bytes, after: float = 0.0, *, frame: bool = False, stderr: bool = False) -> LogLine:
    return LogLine(NOW + timedelta(seconds=after), text, stderr=stderr, frame=frame)


@pytest.mark.parametrize(
    ("pieces", "found"),
    [
        ([b"a\nb\n"], [(b"a", False), (b"b", False)]),
        ([b"a", b"b\n"], [(b"ab", False)]),
        ([b"a\r\nb\r", b"\nc"], [(b"a", False), (b"b", False)]),
        ([b"\r 1%\r 2%", b"\r 3%\n"], [(b" 1%", True), (b" 2%", True), (b" 3%", False)]),
        ([b"1%\r", b"2%\r"], [(b"1%", True)]),
        ([b"\n"], [(b"", False)]),
    ],
)
def test_bytes_become_lines_and_frames_wherever_they_are_cut(
    pieces: list[bytes], found: list[tuple[bytes, bool]]
) -> None:
    splitter = Splitter()
    assert [item for piece in pieces for item in splitter.feed(piece)] == found


def test_a_line_without_an_end_does_not_grow_in_memory() -> None:
    splitter = Splitter()
    found = [item for _ in range(5) for item in splitter.feed(b"x" * 300_000)]
    assert [len(text) for text, _ in found] == [1_200_000]


def test_of_a_bar_only_the_last_frame_is_shown_and_the_other_stream_does_not_matter() -> None:
    lines = [line(b"1%", frame=True), line(b"err", stderr=True), line(b"2%", frame=True), line(b"done")]
    assert [one.text for one in collapsed(lines)] == [b"err", b"done"]
    assert [one.text for one in collapsed(lines[:3])] == [b"err", b"2%"]


def test_a_bar_fills_no_log_and_its_last_frame_stays() -> None:
    latest = Latest(1.0)
    written = [one for n in range(1000) for one in latest.take(line(b"%d" % n, n / 100, frame=True))]
    assert len(written) == 10
    assert [one.text for one in latest.rest()] == [b"999"]


def test_a_line_that_holds_frames_shows_the_last() -> None:
    assert [visible(text) for text in (b"\r10%\r100%", b"plain", b"", b"x\r")] == [b"100%", b"plain", b"", b"x"]


def test_lines_are_chosen_by_time_and_number() -> None:
    lines = [line(b"%d" % n, n) for n in range(5)]
    query = LogQuery(since=NOW + timedelta(seconds=1), until=NOW + timedelta(seconds=3), tail=2)
    assert [one.text for one in chosen(lines, query)] == [b"2", b"3"]


@pytest.mark.parametrize(
    ("text", "seconds"), [("10m", 600), ("1h30m", 5400), ("1.5s", 1.5), ("2026-11-27T09:00:00+00:00", 3600)]
)
def test_times_are_spans_or_moments(text: str, seconds: float) -> None:
    assert moment(text, NOW, "--since") == NOW - timedelta(seconds=seconds)


def test_what_is_no_time_is_refused() -> None:
    with pytest.raises(UsageError, match="--since is not a time; got lately"):
        moment("lately", NOW, "--since")


def test_a_log_is_bounded_and_whole_lines_survive_its_turns(tmp_path: Path) -> None:
    writer = logfile.LogWriter(tmp_path / "log", size=2000, files=3)
    for number in range(200):
        writer.write(line(b"line %d \xff" % number, number))
    writer.close()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 3 * 2000
    texts = [one.text for one in logfile.read(tmp_path / "log")]
    assert texts == [b"line %d \xff" % number for number in range(200 - len(texts), 200)]
    assert len(texts) > 40


def test_followers_see_every_line_across_turns(tmp_path: Path) -> None:
    writer = logfile.LogWriter(tmp_path / "log", size=2000, files=3)
    left = iter(range(300))

    def lives() -> bool:  # asked between two looks: a little more is written each time
        for _, number in zip(range(7), left, strict=False):
            writer.write(line(b"%d" % number))
            if number == 299:
                return False
        return True

    assert [int(one.text) for one in logfile.follow(tmp_path / "log", lives)] == list(range(300))
    writer.close()

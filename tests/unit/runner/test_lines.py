"""The log of what travels along is read by the code that reads the embedded engine's."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainload.run.engines.embedded.logfile import read
from trainload.runner import lines


def test_lines_streams_and_frames_are_kept(tmp_path: Path) -> None:
    log = lines.Log(tmp_path / "log")
    log.take(b"one\ntwo", 0)
    log.take(b" 10%\r 20%\r 30%\r", 1)
    log.take(b"!\r\nlast \xff", 0)
    log.take(b"", 0)
    log.take(b"", 1)
    log.close()
    found = [(line.text, line.stderr, line.frame) for line in read(tmp_path / "log")]
    assert (b"one", False, False) in found
    assert (b"two!", False, False) in found
    assert (b"last \xff", False, False) in found
    assert [text for text, stderr, _ in found if stderr] == [b" 10%", b" 30%"], "one frame a second, and the last"


def test_the_log_is_bounded_and_followed_across_its_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "SIZE", 10_000)
    log = lines.Log(tmp_path / "log")
    for number in range(2000):
        log.take(f"line {number}\n".encode(), 0)
    log.close()
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) == lines.FILES
    assert max(sizes) <= 10_000
    batches = list(lines.follow(tmp_path / "log", None, 1.0))
    texts = [record["text"] for batch in batches for record in batch]
    assert texts[-1] == "line 1999"
    assert texts == [f"line {number}" for number in range(2000 - len(texts), 2000)]

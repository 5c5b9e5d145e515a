"""What the program of a RUN line says, as it is told."""

from __future__ import annotations

from pathlib import Path

from trainload.events import Event, Said
from trainload.run.line import following


class _Heard:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def report(self, event: Event) -> None:
        assert isinstance(event, Said)
        self.lines.append(str(event.text))


def test_all_that_was_said_is_told_however_much_came_at_the_end(tmp_path: Path) -> None:
    log, heard = tmp_path / "log", _Heard()
    log.touch()
    lines = [f"step {number:06}" for number in range(30_000)]
    with following(log, heard):
        log.write_text("\n".join(lines))
    assert heard.lines == [f"  | {line}" for line in lines]

"""What changes in a folder is told, also what changed while nobody asked."""

from __future__ import annotations

from pathlib import Path

from trainload.system.flag import Flag
from trainload.system.watch import changes


def test_what_is_saved_between_two_questions_is_told(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    stop = Flag()
    found = changes(tmp_path, stop)
    next(found)
    (tmp_path / "train.py").write_text("new\n")
    (tmp_path / "src" / "model.py").write_text("new\n")
    told: set[str] = set()
    for paths in found:
        told |= paths
        if {"train.py", "src/model.py"} <= told:
            stop.set()
    assert told <= {"train.py", "src/model.py", "src"}


def test_it_ends_when_it_is_told_to(tmp_path: Path) -> None:
    stop = Flag()
    stop.set()
    assert next(changes(tmp_path, stop), None) is None

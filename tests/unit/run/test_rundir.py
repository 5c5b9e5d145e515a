"""The folder of a run: nobody who clears up takes it from a run that lives."""

from __future__ import annotations

import threading
from pathlib import Path

from trainload.run import rundir


def test_clearing_never_takes_the_folder_of_a_living_run(tmp_path: Path) -> None:
    done = threading.Event()
    cleared: list[str] = []

    def clear() -> None:
        while not done.is_set():
            cleared.extend(rundir.clear(tmp_path))

    others = [threading.Thread(target=clear) for _ in range(2)]
    for other in others:
        other.start()
    try:
        for number in range(300):
            with rundir.run_folder(tmp_path, f"run{number}") as folder:
                assert sorted(path.name for path in folder.iterdir()) == ["etc", "merged", "upper", "work"]
                assert rundir.alive(tmp_path, f"run{number}")
    finally:
        done.set()
        for other in others:
            other.join()
    assert cleared == []
    assert rundir.clear(tmp_path) == ()
    assert list((tmp_path / "runs").iterdir()) == []


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "killed"
    (folder / "upper").mkdir(parents=True)
    (tmp_path / "runs" / "killed.lock").touch()
    assert rundir.clear(tmp_path) == ("killed",)
    assert list((tmp_path / "runs").iterdir()) == []

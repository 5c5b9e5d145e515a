"""The folder of a run: nobody who clears up takes it from a run that lives."""

from __future__ import annotations

import os
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
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


def test_many_who_look_at_once_are_not_taken_for_the_run(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "killed.lock").touch()
    with ThreadPoolExecutor(8) as pool:
        assert not any(pool.map(lambda _: rundir.alive(tmp_path, "killed"), range(4000)))


def test_a_process_that_ended_and_was_not_waited_for_has_no_files() -> None:
    """It is still there, and began when it began."""
    assert rundir.sees_files(os.getpid(), rundir.born(os.getpid()))
    assert not rundir.sees_files(os.getpid(), "1")
    assert not rundir.sees_files(os.getpid(), None)
    with subprocess.Popen(["true"]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        since = rundir.born(child.pid)
        assert since is not None
        assert not rundir.sees_files(child.pid, since)
    assert rundir.born(child.pid) is None


def test_a_process_whose_name_is_cut_within_a_letter_has_a_beginning(tmp_path: Path) -> None:
    """The kernel keeps 15 bytes of it."""
    program = tmp_path / "a训练模型的程序"
    program.write_text("#!/bin/sh\necho\nread A\n")
    program.chmod(0o755)
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        since = rundir.born(child.pid)
        assert since is not None and since.isdigit()
        child.communicate(b"\n")

"""The record of runs: nothing is lost, and what was lost is said."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import textwrap
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trainload.digest import Digest
from trainload.errors import StoreError, Text
from trainload.store.runs import LOST, End, Run, RunRecords

BEGAN = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
RUN = Run(
    id="aa11", image=Digest.sha256(b""), name="tiny", engine="embedded", command=("sh", "-c", "exit 3"),
    request={"env": ["A"]}, folder="/p", started=BEGAN, git_commit="f" * 40, git_dirty=True,
)  # fmt: skip


def lost(run: Run) -> End:
    return End(None, None, LOST)


def test_a_run_comes_back_as_it_was_written(tmp_path: Path) -> None:
    records = RunRecords(tmp_path)
    records.begin(RUN)
    assert records.all() == (RUN,)
    ended = BEGAN + timedelta(seconds=9)
    records.end("aa11", ended, 3, Text("exit code {code}", code="3"))
    whole = replace(RUN, ended=ended, exit_code=3, reason=Text("exit code {code}", code="3"))
    assert records.all() == (whole,)
    assert records.find("aa") == whole


def test_a_run_nobody_runs_any_more_is_lost_and_looking_writes_nothing(tmp_path: Path) -> None:
    records = RunRecords(tmp_path, lost)
    records.begin(RUN)
    before = (tmp_path / "runs.sqlite").read_bytes()
    assert records.all()[0].reason == LOST
    assert (tmp_path / "runs.sqlite").read_bytes() == before
    records.settle(BEGAN + timedelta(days=1))
    assert RunRecords(tmp_path).all()[0].reason == LOST


def test_a_run_that_was_taken_for_lost_before_it_had_its_lock_ends_as_it_ended(tmp_path: Path) -> None:
    """Another command may look between the record and the lock."""
    records = RunRecords(tmp_path, lost)
    records.begin(RUN)
    records.settle(BEGAN)
    ended, reason = BEGAN + timedelta(seconds=9), Text("exit code {code}", code="3")
    records.end("aa11", ended, 3, reason)
    records.end("aa11", BEGAN + timedelta(days=1), None, LOST)
    assert records.all() == (replace(RUN, ended=ended, exit_code=3, reason=reason),)


def test_an_end_that_an_engine_knows_is_written_down_once_somebody_looks(tmp_path: Path) -> None:
    end = End(BEGAN + timedelta(seconds=5), 3, Text("exit code {code}", code="3"))
    records = RunRecords(tmp_path, lambda run: end)
    records.begin(RUN)
    records.settle(BEGAN + timedelta(days=1))
    [run] = RunRecords(tmp_path).all()
    assert (run.ended, run.exit_code, run.reason) == (end.at, 3, end.reason)


def test_a_run_is_found_by_its_name_the_latest_first(tmp_path: Path) -> None:
    records = RunRecords(tmp_path)
    records.begin(replace(RUN, request={"called": "train"}))
    records.begin(replace(RUN, id="bb22", request={"called": "train"}, started=BEGAN + timedelta(seconds=1)))
    assert records.find("train").id == "bb22"
    assert [run.id for run in records.named("train")] == ["bb22", "aa11"]


def test_without_a_record_there_are_no_runs_and_none_is_made(tmp_path: Path) -> None:
    assert RunRecords(tmp_path / "none").all() == ()
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_found_by_the_beginning_of_its_id(tmp_path: Path) -> None:
    records = RunRecords(tmp_path)
    records.begin(RUN)
    records.begin(replace(RUN, id="aa22"))
    assert records.find("aa2").id == "aa22"
    for prefix, message in (("aa", "means several runs"), ("b", "there is no run b")):
        with pytest.raises(StoreError, match=message):
            records.find(prefix)


def test_a_newer_or_broken_record_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(StoreError, match="newer Trainload"):
        RunRecords(tmp_path).begin(RUN)
    path.write_bytes(b"junk" * 1000)
    with pytest.raises(StoreError, match="cannot be used"):
        RunRecords(tmp_path).all()
    assert path.read_bytes() == b"junk" * 1000


def test_writers_at_once_and_killed_ones_lose_nothing(tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import os, signal, sys
        from dataclasses import replace
        from datetime import datetime, UTC
        from pathlib import Path
        from trainload.digest import Digest
        from trainload.store.runs import Run, RunRecords
        records = RunRecords(Path(sys.argv[1]))
        for n in range(10):
            now = datetime.now(UTC)
            records.begin(Run(f"{sys.argv[2]}{n}", Digest.sha256(b""), "n", "e", ("x",), {}, "/", now))
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    children = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path), letter]) for letter in "abc"]
    assert [child.wait(60) for child in children] == [-9, -9, -9]
    runs = RunRecords(tmp_path, lost).all()
    assert len(runs) == 30
    assert {run.reason for run in runs} == {LOST}

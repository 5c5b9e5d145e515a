"""What is said of a run that somebody watches over, watched over, or never did."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from trainload.run.engines.interface import Phase, State
from trainload.run.engines.watcher import Note, Watch, ending, seen, watch

RUNNING, ENDED = State("run", Phase.RUNNING, restarts=1), State("run", Phase.ENDED, exit_code=137)


def kept(home: Path, note: Note) -> Watch:
    place = watch(home, "run")
    place.folder.mkdir(parents=True)
    place.write(note)
    return place


def test_a_run_without_a_watcher_is_as_its_engine_says(tmp_path: Path) -> None:
    assert seen(tmp_path, RUNNING) == RUNNING
    with ending(tmp_path, "run"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_watchers_restarts_count(tmp_path: Path) -> None:
    lock = kept(tmp_path, Note(restarts=2)).take()
    assert (seen(tmp_path, RUNNING).restarts, seen(tmp_path, RUNNING).notes) == (3, ())
    os.close(lock)


def test_a_run_whose_watcher_was_killed_says_so(tmp_path: Path) -> None:
    kept(tmp_path, Note())
    assert [str(note) for note in seen(tmp_path, RUNNING).notes] == [
        "nobody watches over its health any more: the process that did was ended"
    ]
    assert seen(tmp_path, ENDED) == ENDED


def test_between_stop_and_start_by_its_watcher_a_run_has_not_ended(tmp_path: Path) -> None:
    place = kept(tmp_path, Note())
    with place.alone():
        assert seen(tmp_path, ENDED).phase is Phase.RESTARTING
    with ending(tmp_path, "run"):
        assert seen(tmp_path, ENDED).phase is Phase.ENDED


def test_many_who_look_at_once_are_not_taken_for_each_other(tmp_path: Path) -> None:
    kept(tmp_path, Note())
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: seen(tmp_path, ENDED), range(4000)))
    assert found == {ENDED}


def test_a_run_that_was_started_again_too_often_says_why_it_ended(tmp_path: Path) -> None:
    kept(tmp_path, Note(1, gave_up=True))
    assert str(seen(tmp_path, ENDED).reason) == "stopped because it was unhealthy"


def test_what_was_removed_leaves_nothing(tmp_path: Path) -> None:
    place = kept(tmp_path, Note())
    place.remove()
    assert place.note() is None and not place.folder.exists()

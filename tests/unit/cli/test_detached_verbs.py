"""``run -d`` and the verbs that look after it, as users call them, on the embedded engine."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.peers import bytes_of

from trainload.testing.rootfs import tiny_store


class Trainload:
    """Calls ``trainload`` in a folder."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.home, self.folder = home, folder

    def __call__(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "TRAINLOAD_HOME": str(self.home), "LANG": "C.UTF-8", **env}
        return subprocess.run(
            [sys.executable, "-m", "trainload", *words], cwd=self.folder, env=environ, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip

    def json(self, *words: str) -> Any:  # noqa: ANN401 - a document
        done = self(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_store(tmp_path_factory.mktemp("store") / "home")


@pytest.fixture
def trainload(home: Path, tmp_path: Path) -> Iterator[Trainload]:
    called = Trainload(home, tmp_path)
    yield called
    left = called("ps", "-a", "-q").stdout.split()
    assert not left or called("rm", "-f", *left).returncode == 0


def test_a_run_is_looked_after_by_its_name_from_start_to_removal(trainload: Trainload) -> None:
    started = trainload("run", "-d", "--name", "one", "tiny", "sh", "-c", "echo hello; sleep 100")
    assert started.returncode == 0, started.stderr
    run_id = started.stdout.strip()
    [shown] = trainload.json("ps")
    assert (shown["id"], shown["name"], shown["engine"], shown["state"]) == (run_id, "one", "embedded", "running")
    until(lambda: trainload("logs", run_id[:5]).stdout == "hello\n")
    done = trainload("exec", "-e", "A=1", "-w", "/tmp", "one", "sh", "-c", 'echo "$A"; pwd; exit 3')
    assert (done.returncode, done.stdout) == (3, "1\n/tmp\n")
    [used] = trainload.json("stats", "--no-stream", "one")
    assert used["processes"] >= 2 and used["memory"] > 0
    again = trainload("run", "-d", "--name", "one", "tiny", "sleep", "1")
    assert again.returncode == 2 and f"the run {run_id} has the name one" in again.stderr
    refused = trainload("rm", "one")
    assert refused.returncode == 1 and "is running" in refused.stderr
    assert trainload("stop", "-t", "5", "one").stdout == "one\n"
    assert trainload("ps", "-q").stdout == ""
    [record] = [run for run in trainload.json("runs") if run["id"] == run_id]
    assert (record["exit_code"], record["reason"]) == (143, "ended by SIGTERM")
    inspected = trainload.json("inspect", "one")[0]
    assert (inspected["state"], inspected["request"]["called"]) == ("ended", "one")
    assert trainload("rm", "one").returncode == 0
    gone = trainload("logs", "one")
    assert gone.returncode == 1 and "nothing is left of the run" in gone.stderr


def test_wait_prints_the_exit_code_also_of_one_that_is_removed_at_its_end(trainload: Trainload) -> None:
    for words in ([], ["--rm"]):
        run_id = trainload("run", "-d", *words, "tiny", "sh", "-c", "sleep 0.5; exit 5").stdout.strip()
        assert trainload("wait", run_id).stdout == "5\n"


def test_wait_prints_the_exit_code_of_one_that_was_removed_before(trainload: Trainload) -> None:
    run_id = trainload("run", "-d", "--rm", "tiny", "sh", "-c", "exit 5").stdout.strip()
    until(lambda: not (trainload.home / "containers" / run_id).exists())
    done = trainload("wait", run_id)
    assert (done.stdout, done.stderr, done.returncode) == ("5\n", "", 0)
    lost = trainload("wait", "no-such-run")
    assert lost.returncode != 0 and "no-such-run" in lost.stderr


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def lives(pid: int) -> bool:
    """Whether the process runs; one that is only not waited for (these tests may be its subreaper) does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:  # gone, before or while it is read
        return False


def test_when_its_supervisor_is_killed_the_run_dies_and_is_lost(trainload: Trainload) -> None:
    run_id = trainload("run", "-d", "tiny", "sleep", "1000").stdout.strip()
    state = json.loads((trainload.home / "containers" / run_id / "state.json").read_text())
    os.kill(state["supervisor"], signal.SIGKILL)
    end = time.monotonic() + 120
    while lives(state["pid"]):
        assert time.monotonic() < end, "the container outlives its supervisor"
        time.sleep(0.02)
    [shown] = [run for run in trainload.json("ps", "-a") if run["id"] == run_id]
    assert (shown["state"], shown["reason"]) == ("lost", "lost: its supervisor was killed")
    [record] = [run for run in trainload.json("runs") if run["id"] == run_id]
    assert record["reason"] == "lost: its supervisor was killed"


def test_no_value_of_the_environment_is_written_to_the_disk(trainload: Trainload) -> None:
    value = secrets.token_hex(16)  # nobody else on this machine calls something so
    trainload("run", "-d", "-e", f"TOKEN={value}", "--name", "secret", "tiny", "sleep", "1000")
    assert trainload("exec", "secret", "sh", "-c", 'echo "$TOKEN"').stdout == f"{value}\n"
    files = [path for path in trainload.home.rglob("*") if path.is_file() and not path.is_symlink()]
    assert [path for path in files if value.encode() in bytes_of(path)] == []
    words = [bytes_of(path) for path in Path("/proc").glob("[0-9]*/cmdline")]
    assert any(words) and not any(value.encode() in line for line in words)


def test_gc_keeps_the_image_below_what_a_run_left(trainload: Trainload, tmp_path: Path) -> None:
    own = Trainload(tiny_store(tmp_path / "home"), tmp_path)
    own("run", "-d", "--name", "one", "tiny", "sh", "-c", "echo made >/tmp/made")
    own("wait", "one")
    assert own("rmi", "tiny").returncode == 0 and own("gc").returncode == 0
    assert own("cp", "one:/tmp/made", "out").returncode == 0
    assert (tmp_path / "out").read_text() == "made\n"
    assert own("cp", "one:/bin", "bin").returncode == 0 and (tmp_path / "bin" / "sh").exists()
    own("rm", "one")
    own("gc")
    assert own("images", "-q", "--json").stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["run", "-d", "--rm", "--restart", "always", "tiny"], 2, "--rm and --restart exclude each other"),
        (["run", "--engine", "lxc", "tiny"], 2, "there is no engine lxc"),
        (["run", "--restart", "sometimes", "tiny"], 2, "--restart sometimes is not understood"),
        (["run", "-p", "99999:1", "tiny"], 2, "-p 99999:1 is not understood"),
        (["run", "--name", "a b", "tiny"], 2, "--name a b cannot be used"),
        (["run", "--health-cmd", "x", "--health-interval", "soon", "tiny"], 2, "--health-interval is not a time"),
        (["run", "-d", "tiny", "nope"], 127, "the image has no program nope"),
        (["logs", "nothing"], 1, "there is no run nothing"),
        (["logs", "--since", "lately", "nothing"], 2, "--since is not a time"),
        (["cp", "nothing", "x"], 2, "nothing is not a path in a run"),
        (["kill", "-s", "LOUD", "x"], 2, "--signal is no signal"),
        (["images", "--engine", "docker"], 1, "the engine docker does not work here"),
    ],
)
def test_mistakes_are_told_without_a_traceback(
    trainload: Trainload, words: list[str], code: int, message: str
) -> None:
    done = trainload(*words, DOCKER_HOST="unix:///nothing/here")
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr and "Traceback" not in done.stderr


def test_the_engine_and_the_reason_are_said_and_can_be_set(trainload: Trainload) -> None:
    assert "engine: embedded (the first that works)" in trainload("run", "tiny", "sh", "-c", "exit 0").stderr
    set_elsewhere = trainload("run", "tiny", TRAINLOAD_ENGINE="docker", DOCKER_HOST="unix:///nothing/here")
    assert set_elsewhere.returncode == 1
    assert "the engine docker does not work here" in set_elsewhere.stderr
    assert "--engine auto" in set_elsewhere.stderr


def test_ports_that_are_the_same_on_both_sides_need_no_word(trainload: Trainload) -> None:
    same = trainload("run", "--engine", "embedded", "-p", "8888:8888", "tiny")
    other = trainload("run", "--engine", "embedded", "-p", "80:8888", "tiny")
    assert (same.returncode, same.stderr) == (0, "")
    assert other.returncode == 0 and "ports are not mapped" in other.stderr

"""``run --on`` between us and a real sshd, behind which there is python3 and nothing else."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.calling import (
    COUNT,
    PYTHON,
    Here,
    further_programs,
    go_on,
    kill_connections,
    on_a_terminal,
    read,
    rest,
    small_disk,
    store_with_weights,
    until,
)
from tests.peers import Sshd, bytes_of, call

from trainload.testing.rootfs import tiny_store


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store_with_weights(tmp_path_factory.mktemp("store") / "home")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """A server with python3 and no engine."""
    with Sshd(tmp_path_factory.mktemp("bare"), [PYTHON]) as sshd:
        yield sshd


def there(here: Here, run: str) -> Path:
    """A run's folder on the server."""
    return here.sshd.home / f".local/share/trainload/hosted/{run}"


@pytest.fixture
def here(home: Path, tmp_path: Path, bare: Sshd) -> Here:
    return Here(home, tmp_path / "project", bare)


def test_logs_outputs_and_exit_code_come_from_there(here: Here) -> None:
    script = "echo out; echo err >&2; mkdir -p /outputs/a; echo 1 > /outputs/a/b; hostname > /outputs/host; exit 3"
    done = here("run", "--on", "gpu1", "-v", "./outputs:/outputs", "tiny", "sh", "-c", script)
    assert done.returncode == 3, done.stderr
    assert done.stdout == "out\n"
    assert "\nerr\n" in done.stderr
    assert "did not succeed: exit code 3" in done.stderr
    assert (here.outputs / "a/b").read_text() == "1\n"
    assert sorted(path.name for path in here.outputs.iterdir()) == ["a", "host"]
    assert (here.outputs / "host").stat().st_mode & 0o777 == 0o644
    latest = here.json("runs")[0]
    assert (latest["host"], latest["engine"], latest["exit_code"]) == ("gpu1", "embedded", 3)
    assert read(here.outputs / "host").strip() == latest["id"]
    assert here.json("ps", "--all", "--on", "gpu1") == [], "a run in the foreground leaves nothing"


def test_a_run_goes_on_when_every_connection_is_killed_and_is_followed_again(here: Here) -> None:
    child = here.start("run", "--on", "gpu1", "-v", "./outputs:/outputs", "tiny", "sh", "-c", f"{COUNT}; exit 5")
    assert child.stdout is not None
    for line in child.stdout:
        if line == b"step 5\n":
            break
    kill_connections(here.sshd)
    go_on(here.sshd)
    out, err = rest(child)
    assert child.returncode == 5, err
    assert "the connection to gpu1 is lost; the run goes on there" in err
    assert [int(number) for number in re.findall(r"step (\d+)", out)] == list(range(6, 41)), "each line once"
    assert read(here.outputs / "step") == "40\n"


def test_a_run_goes_on_when_we_are_killed_and_attach_brings_what_it_wrote(here: Here, tmp_path: Path) -> None:
    child = here.start("run", "--on", "gpu1", "-v", "./outputs:/outputs", "tiny", "sh", "-c", f"{COUNT}; exit 6")
    assert child.stdout is not None
    assert child.stdout.readline() == b"step 1\n"
    os.killpg(child.pid, signal.SIGKILL)
    rest(child)
    kill_connections(here.sshd)
    (listed,) = here.json("ps", "--on", "gpu1")
    assert listed["state"] == "running"
    until(lambda: read(there(here, listed["id"]) / "out/0/step") == "20\n")  # now nobody is writing it
    partial = here.json("outputs", listed["id"])
    assert partial["files"] == 1
    assert int(read(here.outputs / "step")) > 0
    elsewhere = Here(tiny_store(tmp_path / "other-home"), tmp_path / "elsewhere", here.sshd)
    assert elsewhere("logs", "--on", "gpu1", "-n", "all", listed["id"]).stdout.startswith("step 1\nstep 2\n")
    go_on(here.sshd)
    done = here("attach", listed["id"][:8])
    assert done.returncode == 6, done.stderr
    assert done.stdout.endswith("step 39\nstep 40\n")
    assert read(here.outputs / "step") == "40\n"
    assert here.json("runs")[0]["exit_code"] == 6
    assert here("rm", listed["id"]).returncode == 0
    assert here.json("ps", "--all", "--on", "gpu1") == []


def test_the_first_ctrl_c_stops_the_run_and_what_it_saved_comes(here: Here) -> None:
    script = "trap 'echo saved > /outputs/last; exit 9' TERM; echo ready; while :; do sleep 0.1; done"
    child = here.start("run", "--on", "gpu1", "-v", "./outputs:/outputs", "tiny", "sh", "-c", script)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    os.killpg(child.pid, signal.SIGINT)
    _, err = rest(child)
    assert child.returncode == 9, err
    assert "stopping the run" in err
    assert read(here.outputs / "last") == "saved\n"


def test_a_ctrl_c_while_we_say_that_it_runs_stops_it_too(here: Here) -> None:
    """Whoever presses it at that word has read that it stops the run; what it interrupts is a half-printed line."""
    interrupted = """
import io, signal, sys
from trainload.cli.main import main

class Pressed(io.FileIO):
    def write(self, data):
        if b"Ctrl-C stops it" in bytes(data):
            signal.raise_signal(signal.SIGINT)
        return super().write(data)

sys.stderr = io.TextIOWrapper(io.BufferedWriter(Pressed(2, "w")), encoding="utf-8", line_buffering=True)
main(sys.argv[1:])
"""
    script = "trap 'exit 9' TERM; while :; do sleep 0.1; done"
    program = (sys.executable, "-c", interrupted)
    child = here.start("run", "--on", "gpu1", "tiny", "sh", "-c", script, program=program)
    _, err = rest(child)
    assert child.returncode == 9, err
    assert "Traceback" not in err and "stopping the run" in err


def test_a_second_ctrl_c_leaves_the_run_alone(here: Here) -> None:
    wait = "touch /outputs/stopping; until [ -e /outputs/go ]; do sleep 0.1; done"
    script = f"trap '{wait}; echo saved > /outputs/last; exit 9' TERM; echo ready; while :; do sleep 0.1; done"
    child = here.start("run", "--on", "gpu1", "-v", "./outputs:/outputs", "tiny", "sh", "-c", script)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    os.killpg(child.pid, signal.SIGINT)
    assert child.stderr is not None
    for line in child.stderr:
        if b"once more leaves it alone" in line:
            break
    until(lambda: list(here.sshd.home.glob(".local/share/trainload/hosted/*/out/0/stopping")))
    os.killpg(child.pid, signal.SIGINT)
    rest(child)
    go_on(here.sshd)
    assert child.returncode == 130
    assert here("attach", here.json("runs")[0]["id"]).returncode == 9
    assert read(here.outputs / "last") == "saved\n"


def test_stop_kill_and_wait_reach_it(here: Here) -> None:
    deaf = "trap '' TERM; echo 1 > /outputs/one; while :; do sleep 0.1; done"
    run = here.detached(deaf)
    until(lambda: read(there(here, run) / "out/0/one") == "1\n")
    assert here("stop", "-t", "0.5", run).returncode == 0
    assert here.json("runs")[0]["reason"] == "killed because it did not stop within 0.5 s"
    assert read(here.outputs / "one") == "1\n"
    run = here.detached("trap 'exit 4' USR1; echo up; while :; do sleep 0.1; done", "--name", "second")
    until(lambda: "up" in here("logs", "second").stdout)
    assert here.json("runs")[0]["state"] == "running"
    here.sshd.write_client(known="")  # as if it were not there any more
    away = here("runs")
    here.sshd.write_client()
    assert away.returncode == 0
    assert "running, when last asked" in away.stdout
    assert "gpu1: the key of" in away.stderr
    assert here.json("runs", "--no-ask")[0]["state"] == "unknown"
    assert here("kill", "-s", "USR1", "second").returncode == 0
    until(lambda: here.json("runs")[0]["exit_code"] == 4)
    assert here.json("runs", "--no-ask")[0]["state"] == "ended", "it is written down"
    assert here("wait", "--on", "gpu1", run).stdout == "4\n"
    assert here("rm", run).returncode == 0


def test_a_run_whose_keeper_is_killed_is_lost_and_what_it_wrote_comes(here: Here) -> None:
    run = here.detached("i=0; while :; do i=$((i+1)); echo $i >> /outputs/step; sleep 0.05; done")
    folder = there(here, run)
    until(lambda: read(folder / "out/0/step"))
    os.kill(int((folder / "lock").read_text()), signal.SIGKILL)
    done = here("attach", run)
    assert done.returncode == 1
    assert f"the run {run} is lost: it was killed on gpu1" in done.stderr
    assert read(here.outputs / "step").startswith("1\n")
    before = read(folder / "out/0/step")
    time.sleep(1)
    assert read(folder / "out/0/step") == before, "its container went with it"
    assert "lost" in here.json("runs")[0]["reason"]
    assert here("rm", run).returncode == 0
    assert not folder.exists()


def test_only_what_changed_comes_and_a_cut_is_gone_on_from(here: Here) -> None:
    run = here.detached("i=0; while [ $i -lt 9 ]; do i=$((i+1)); head -c 1000000 /dev/zero > /outputs/$i; done")
    assert here("wait", run).returncode == 0
    assert len(list(here.outputs.iterdir())) == 9
    (here.outputs / "3").write_bytes(b"changed here")
    again = here.json("outputs", run)
    assert (again["files"], again["unchanged"], again["size"]) == (1, 8, 1_000_000)
    (here.outputs / "4").unlink()
    part = here.outputs / ".trainload-part"
    part.mkdir()
    assert here.json("outputs", run)["files"] == 1
    assert not part.exists()
    here("rm", run)


def test_S06_a_disk_that_the_run_fills_costs_neither_its_exit_code_nor_what_is_whole(here: Here) -> None:
    config = here.folder / "trainload.toml"
    config.write_text(config.read_text() + 'folder = "~/small"\n')
    script = "echo whole > /outputs/a; head -c 30000000 /dev/zero > /outputs/b; exit 7"
    with small_disk(here.sshd.home / "small", "12m"):
        done = here("run", "--on", "gpu1", "-v", "./outputs:/outputs", "tiny", "sh", "-c", script)
        assert done.returncode == 7, done.stderr
    assert read(here.outputs / "a") == "whole\n"


def test_S05_links_are_not_brought_and_where_they_lead_stays_secret(here: Here) -> None:
    secret = here.folder / "secret"
    secret.write_text("not yours")
    here.outputs.mkdir()
    (here.outputs / "out").symlink_to(here.folder)
    script = "touch /outputs/ok; mkdir /outputs/out; echo stolen > /outputs/out/secret"
    done = here("run", "--on", "gpu1", "-v", "./outputs:/outputs", "tiny", "sh", "-c", script)
    assert done.returncode == 1
    assert "out cannot be written: something else lies there" in done.stderr
    assert secret.read_text() == "not yours"


def test_S02_an_unknown_key_is_refused_with_its_fingerprint(here: Here) -> None:
    fingerprint = call("ssh-keygen", "-lf", str(here.sshd.folder / "host.pub")).split()[1]
    here.sshd.write_client(known="")
    try:
        done = here("run", "--on", "gpu1", "tiny", "sh", "-c", "true")
    finally:
        here.sshd.write_client()
    assert done.returncode == 1
    assert fingerprint in done.stderr
    assert "is not known here" in done.stderr


def test_S08_values_of_variables_are_neither_in_argument_lists_nor_on_the_disk_there(here: Here) -> None:
    value = secrets.token_hex(16)  # nobody else on this machine calls something so
    script = "until [ -e /outputs/go ]; do sleep 0.1; done; echo $TOKEN > /outputs/token"
    run = here.detached(script, "-e", f"TOKEN={value}")
    lines = [bytes_of(path) for path in Path("/proc").glob("[0-9]*/cmdline")]
    assert len(lines) > 1 and all(value.encode() not in line for line in lines)
    files = [path for path in there(here, run).rglob("*") if path.is_file()]
    assert files and all(value.encode() not in bytes_of(path) for path in files)
    go_on(here.sshd)
    assert here("wait", run).stdout == "0\n"
    assert read(here.outputs / "token") == f"{value}\n"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["tiny", "nosuch"], 127, "the image has no program nosuch"),
        (["tiny", "/etc/not-a-program"], 126, "is not a program that can be executed"),
        (["-v", "./data:/data:ro", "tiny", "ls"], 2, "data is on this machine, and the run is on a server"),
        (["-v", ".:/code", "tiny", "ls"], 2, "this folder cannot be mounted on a server"),
        (["-v", "/no/such:/data:ro", "tiny", "ls"], 1, "does not exist on"),
        (["--gpus", "all", "tiny", "ls"], 1, "gpu1: --gpus all: this machine has no GPU that can be used"),
        (["--network", "mine", "tiny", "ls"], 1, "gpu1 has no networks of its own"),
        (["--code", "tiny", "ls"], 2, "--code and --on exclude each other"),
        (["--engine", "docker", "tiny", "ls"], 1, "has no docker"),
    ],
)
def test_what_cannot_be_is_told_and_nothing_stays(here: Here, words: list[str], code: int, message: str) -> None:
    before = here.json("ps", "--all", "--on", "gpu1")
    done = here("run", "--on", "gpu1", *words)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert here.json("ps", "--all", "--on", "gpu1") == before


def test_weights_that_are_mounted_go_along_once(here: Here) -> None:
    done = here("run", "--on", "gpu1", "heavy")
    assert (done.returncode, done.stdout) == (0, "mounted\n"), done.stderr
    place = here.sshd.home / ".local/share/trainload/hosted/weights"
    before = [path.stat().st_ino for path in place.iterdir()]
    done = here("run", "--on", "gpu1", "heavy", "sh", "-c", "echo x > /opt/weights/new || cat /opt/weights/a/model")
    assert (done.returncode, done.stdout) == (0, "mounted\n"), "read-only"
    assert [path.stat().st_ino for path in place.iterdir()] == before


def test_a_run_there_is_repeated_there(here: Here) -> None:
    run = here.detached("echo $SEED > /outputs/seed", "-e", "SEED=1")
    assert here("wait", run).stdout == "0\n"
    done = here("rerun", "-e", "SEED=2", run)
    assert done.returncode == 0, done.stderr
    assert read(here.outputs / "seed") == "2\n"
    new = here.json("runs")[0]
    assert (new["host"], new["command"]) == ("gpu1", ["sh", "-c", "echo $SEED > /outputs/seed"])
    assert here.json("runs", "diff", run, new["id"])["same"] is True


def test_S07_what_a_login_prints_is_neither_log_nor_answer(here: Here) -> None:
    noise = "printf 'Welcome \\033[31m\\n{\"done\": \"logs\"}\\n'; (sleep 0.5; printf 'a job says\\nhello') &\n"
    (here.sshd.home / ".bashrc").write_text(noise)
    try:
        done = here("run", "--on", "gpu1", "-v", "./outputs:/outputs", "tiny", "sh", "-c",
                    "echo 1; sleep 1; echo 2; head -c 300000 /dev/zero > /outputs/big")  # fmt: skip
    finally:
        (here.sshd.home / ".bashrc").unlink()
    assert (done.returncode, done.stdout) == (0, "1\n2\n"), done.stderr
    assert (here.outputs / "big").stat().st_size == 300_000


def test_S03_a_folder_there_may_be_called_anything(here: Here) -> None:
    name = "a b'c;$(touch x)`y` %h é"
    config = here.folder / "trainload.toml"
    config.write_text(config.read_text() + f'engine = "store"\nfolder = "~/{name}"\n')
    script = "echo $HOSTNAME > /outputs/id; stat /data > /outputs/data"
    done = here("run", "--on", "gpu1", "-v", "./outputs:/outputs", "-v", "cache:/data", "tiny", "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    assert read(here.outputs / "data")
    assert (here.sshd.home / name / "volumes/cache").is_dir()
    assert not (here.sshd.home / "x").exists()
    shutil.rmtree(here.sshd.home / name)


def test_a_run_without_an_engine_has_a_terminal_that_is_left_and_joined_again(here: Here) -> None:
    talk = (
        "trap 'echo caught' INT; stty size; echo $TERM; echo ready;"
        ' until [ "$x" = end ]; do read x && echo got $x; done; exec sh'
    )
    words = ("run", "-it", "--on", "gpu1", "--name", "talks", "tiny", "sh", "-c", talk)
    code, seen = on_a_terminal(here, *words, says=b"\x03\x10\x11", until_said=b"ready")
    assert (code, b"trainload attach talks joins it again" in seen) == (0, True), seen
    assert b"30 101\r\nvt220" in seen
    until(lambda: "caught" in here("logs", "talks").stdout)
    code, seen = on_a_terminal(here, "attach", "talks", says=b"end\nexit 7\n", until_said=b"")
    assert (code, b"got end" in seen) == (7, True), seen
    assert here("rm", "talks").returncode == 0


def test_a_run_without_an_engine_reads_what_we_read(here: Here) -> None:
    data = bytes(range(256)) * 20_000
    words = ("run", "-i", "--on", "gpu1", "tiny", "sh", "-c", "cat; echo err >&2; exit 3")
    child = here.start(*words, stdin=subprocess.PIPE)
    out, err = child.communicate(data, timeout=240)
    assert (child.returncode, out == data) == (3, True), err
    assert b"\nerr\n" in err


def test_attach_follows_a_run_of_this_machine_too(here: Here) -> None:
    done = here("run", "-d", "-q", "--engine", "embedded", "tiny", "sh", "-c", "sleep 0.5; echo here; exit 3")
    assert done.returncode == 0, done.stderr
    attached = here("attach", done.stdout.strip())
    assert (attached.returncode, attached.stdout) == (3, "here\n")


def test_exec_stats_and_cp_reach_it(here: Here) -> None:
    script = "echo saved >/tmp/model; mkdir /tmp/d; cat /etc/passwd >/tmp/d/p; echo up; while :; do sleep 0.1; done"
    run = here.detached(script, "-e", "TOKEN=hunter2", "-w", "/etc", "--name", "busy")
    until(lambda: "up" in here("logs", "busy").stdout)
    further_programs(here, "busy")
    done = here("exec", "-w", "/tmp", "-e", "MORE=1", "busy", "sh", "-c", "pwd; echo $TOKEN $MORE; id -u; exit 4")
    assert (done.returncode, done.stdout) == (4, "/tmp\nhunter2 1\n1000\n"), done.stderr
    assert "one user only" in here("exec", "-u", "12345", "busy", "true").stderr
    assert "cannot be copied" in here("cp", "busy:/no/such", ".").stderr
    (used,) = here.json("stats", "--no-stream", "busy")
    assert used["processes"] >= 2
    assert used["memory"] > 0
    assert here("cp", "busy:/tmp/d", ".").returncode == 0
    assert "/home/ada" in read(here.folder / "d/p"), "the container's own"
    assert here("stop", "-t", "0.5", run).returncode == 0
    assert "it is not running" in here("exec", "busy", "true").stderr
    assert here("rm", run).returncode == 0

"""``run``, ``shell``, ``runs`` and ``rerun``, as users call them."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trainload.cli.runs import without_init
from trainload.testing.rootfs import tiny_store


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_store(tmp_path_factory.mktemp("store") / "home")


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

    def runs(self) -> Any:  # noqa: ANN401 - a document
        return json.loads(self("runs", "--json").stdout)


@pytest.fixture
def trainload(home: Path, tmp_path: Path) -> Trainload:
    return Trainload(home, tmp_path)


def test_an_images_own_command_runs_and_stdout_is_the_programs_alone(trainload: Trainload) -> None:
    done = trainload("run", "tiny")
    assert (done.returncode, done.stdout) == (0, "hello\n")


def test_arguments_after_the_image_are_its_command_options_and_all(trainload: Trainload) -> None:
    done = trainload(
        "run", "--rm", "-it", "-e", "A=1 2", "tiny", "sh", "-c", 'echo "$A" "$@"', "--", "-q", "--json", "--"
    )
    assert done.stdout == "1 2 -q --json --\n"


def test_dockers_options_reach_the_program(trainload: Trainload) -> None:
    (trainload.folder / "vars").write_text("B=file\nC\n")
    (trainload.folder / "data").mkdir()
    (trainload.folder / "data" / "x").write_text("mounted\n")
    script = (
        'pwd; id -u; hostname; echo "$A $B $C $D"; cat /data/x; ls /proc/net/; touch /data/y 2>/dev/null || echo ro'
    )
    done = trainload(
        "run", "-w", "/srv/here", "-u", "0", "-h", "gpu7", "-e", "A=1", "-e", "D", "--env-file", "vars",
        "-v", "./data:/data:ro", "--network", "none", "--entrypoint", "sh", "tiny", "-c", script,
        C="ours", D="too",
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert lines[:5] == ["/srv/here", "0", "gpu7", "1 file ours too", "mounted"], done.stderr
    assert lines[-1] == "ro"


def test_what_a_layer_may_unpack_to_is_the_users_to_say(home: Path, tmp_path: Path) -> None:
    fresh = tmp_path / "home"
    shutil.copytree(home, fresh, ignore=shutil.ignore_patterns("rootfs"))
    trainload = Trainload(fresh, tmp_path)
    done = trainload("run", "--max-unpacked", "1k", "tiny")
    assert (done.returncode, done.stdout) == (1, "")
    assert "the archive unpacks to too much" in done.stderr and "limits.max-unpacked = 2048" in done.stderr
    assert trainload("run", "tiny", TRAINLOAD_LIMITS_MAX_UNPACKED="1k").returncode == 1
    assert trainload("run", "tiny").stdout == "hello\n"


def test_code_is_the_folder_itself(trainload: Trainload) -> None:
    (trainload.folder / "train.sh").write_text("echo one\n")
    assert trainload("run", "--code", "-w", "/code", "tiny", "sh", "train.sh").stdout == "one\n"
    (trainload.folder / "train.sh").write_text("echo two >made; cat made\n")
    assert trainload("run", "--code", "-w", "/code", "tiny", "sh", "train.sh").stdout == "two\n"
    assert (trainload.folder / "made").read_text() == "two\n"
    assert (trainload.folder / "made").stat().st_uid == os.geteuid()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "nope"], "nope"),
        (["run", "-m", "lots", "tiny"], "--memory is not a size"),
        (["run", "-m", "64", "tiny"], "no program runs in so little memory"),
        (["run", "python", "train.py"], "trainload run -- --epochs 3"),
        (["run", "-v", "data", "tiny"], "-v data is not understood"),
        (["run", "-v", "./nothing:/x:ro", "tiny"], "does not exist"),
        (["run", "--network", "web", "tiny"], "has no networks of its own"),
        (["run", "--env-file", "none", "tiny"], "the env file none cannot be read: No such file"),
        (["run", "-u", "nobody-here", "tiny"], "the image has no user nobody-here"),
        (["run", "--gpus", "all", "tiny"], "--gpus all"),
    ],
)
def test_mistakes_are_told_without_a_traceback(trainload: Trainload, words: list[str], message: str) -> None:
    if "--gpus" in words and Path("/dev/nvidia0").exists():
        pytest.skip("this machine has a GPU")
    done = trainload(*words)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_exit_codes_are_the_programs_or_the_shells(trainload: Trainload) -> None:
    codes = [trainload("run", "tiny", *words).returncode for words in (
        ["sh", "-c", "exit 42"], ["sh", "-c", "kill -9 $$"], ["no-such-program"], ["/etc/not-a-program"],
    )]  # fmt: skip
    assert codes == [42, 137, 127, 126]


def test_a_run_is_recorded_with_names_not_values_and_can_be_repeated(trainload: Trainload) -> None:
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run([*git, *words], cwd=trainload.folder, check=True)
    trainload("run", "-e", "TOKEN=hunter2", "tiny", "sh", "-c", "echo $TOKEN; exit 3")
    latest = trainload.runs()[0]
    assert latest["exit_code"] == 3
    assert latest["reason"] == "exit code 3"
    assert latest["environment"] == ["TOKEN"]
    assert latest["command"] == ["sh", "-c", "echo $TOKEN; exit 3"]
    assert latest["engine"] == "embedded"
    assert len(latest["git_commit"]) == 40
    assert latest["git_dirty"] is False
    assert b"hunter2" not in (trainload.home / "runs.sqlite").read_bytes()
    missing = trainload("rerun", latest["id"])
    assert missing.returncode == 2
    assert "hint: give them again: -e TOKEN=" in missing.stderr
    again = trainload("rerun", latest["id"][:6], "-e", "TOKEN=other")
    assert (again.returncode, again.stdout) == (3, "other\n")
    assert trainload.runs()[0]["image"] == latest["image"]
    table = trainload("runs").stdout
    assert latest["id"] in table
    assert "exit code 3" in table


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (["/usr/bin/tini", "--", "python", "train.py"], "python train.py"),
        (["tini", "-g", "--", "python", "a b.py"], "python 'a b.py'"),
        (["tini", "--"], "tini --"),
        (["tini", "python", "--", "x"], "tini python -- x"),
        (["python", "--", "x"], "python -- x"),
    ],
)
def test_runs_shows_what_the_user_runs_not_the_init(command: list[str], shown: str) -> None:
    assert shlex.join(without_init(command)) == shown


def test_a_run_that_never_started_is_recorded_too(trainload: Trainload) -> None:
    trainload("run", "tiny", "no-such-program")
    latest = trainload.runs()[0]
    assert (latest["exit_code"], latest["reason"]) == (127, "the image has no program no-such-program")


def test_a_shell_reads_what_it_is_given(trainload: Trainload, home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "trainload", "--home", str(home), "shell", "tiny"], cwd=trainload.folder,
        input="echo in $0\nexit 5\n", capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 5
    assert done.stdout == "in sh\n"


def test_with_several_scripts_the_user_chooses_and_nothing_is_written(trainload: Trainload) -> None:
    for name in ("a.py", "b.py"):
        (trainload.folder / name).write_text("if __name__ == '__main__':\n    print(1)\n")
    done = trainload("run")
    assert done.returncode == 2
    assert "it is not clear which script is meant\n  got: a.py, b.py" in done.stderr
    assert "hint: name it behind --: trainload run -- a.py" in done.stderr
    assert sorted(path.name for path in trainload.folder.iterdir()) == ["a.py", "b.py"]


def test_without_a_script_there_is_nothing_to_run(trainload: Trainload) -> None:
    done = trainload("run")
    assert (done.returncode, list(trainload.folder.iterdir())) == (2, [])
    assert "no script to run was found" in done.stderr

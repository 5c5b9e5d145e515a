"""``run --on`` where there is Docker, where there is Podman, and where an ordinary user has python3 only."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.calling import (
    COUNT,
    PYTHON,
    SIZE,
    Here,
    further_programs,
    go_on,
    kill_connections,
    on_a_terminal,
    read,
    rest,
    store_with_weights,
    until,
)
from tests.peers import PATH, Docker, Sshd, call, needs, podman_of_our_own, short_folder

from trainload.testing.people import NOBODY


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store_with_weights(tmp_path_factory.mktemp("store") / "home")


def test_docker_there_keeps_it_running_and_its_words_are_dockers(home: Path, tmp_path: Path) -> None:
    needs("dockerd", "docker")
    if Docker.missing():
        pytest.skip(Docker.missing())
    with (
        short_folder("docker-") as short,
        Docker(Path(short), driver="vfs") as daemon,
        Sshd(tmp_path / "s", ["docker", PYTHON], {"DOCKER_HOST": daemon.host}) as sshd,
    ):
        _an_engine_there(Here(home, tmp_path / "project", sshd), "docker")
        assert call("docker", "-H", daemon.host, "ps", "-aq") == ""


def test_podman_there_keeps_it_running(home: Path, tmp_path: Path) -> None:
    with podman_of_our_own(tmp_path) as (argv, environ):
        program = tmp_path / "bin/podman"
        program.parent.mkdir()
        lines = [f"export {key}='{value}'" for key, value in {"PATH": PATH, **environ}.items()]
        program.write_text("\n".join(["#!/bin/sh", *lines, f'exec {" ".join(argv)} "$@"']) + "\n")
        program.chmod(0o755)
        with Sshd(tmp_path / "s", [str(program), PYTHON]) as sshd:
            _an_engine_there(Here(home, tmp_path / "project", sshd), "podman")


def _an_engine_there(here: Here, engine: str) -> None:
    """The same as without one: cut, found again, outputs, exit code, rights."""
    child = here.start(
        "run", "--on", "gpu1", "--network", "none", "-v", "./outputs:/outputs", "-e", "TOKEN=hunter2", "heavy",
        "sh", "-c", f"echo $TOKEN > /outputs/token; cat /opt/weights/a/model > /outputs/model; {COUNT}; exit 5",
    )  # fmt: skip
    assert child.stdout is not None
    for line in child.stdout:
        if line == b"step 3\n":
            break
    kill_connections(here.sshd)
    go_on(here.sshd)
    out, err = rest(child)
    assert child.returncode == 5, err
    assert [int(number) for number in re.findall(r"step (\d+)", out)] == list(range(4, 41)), "each line once"
    assert read(here.outputs / "step") == "40\n"
    assert read(here.outputs / "token") == "hunter2\n"
    assert read(here.outputs / "model") == "mounted\n"
    assert here.json("runs")[0]["engine"] == engine
    script = "trap 'echo 1 > /outputs/bye; exit 7' TERM; while :; do sleep 0.1; done"
    run = here.detached(f"echo saved > /tmp/model; echo up; {script}", "--network", "none", "--name", "named")
    (listed,) = here.json("ps", "--on", "gpu1")
    assert (listed["id"], listed["name"], listed["state"]) == (run, "named", "running")
    until(lambda: here("logs", "named").stdout == "up\n")
    further_programs(here, "named")
    (used,) = here.json("stats", "--no-stream", "named")
    assert used["processes"] >= 1
    assert used["memory"] > 0
    assert here("stop", "named").returncode == 0
    assert here.json("runs")[0]["exit_code"] == 7
    assert read(here.outputs / "bye") == "1\n"
    words = ("run", "-it", "--on", "gpu1", "--network", "none", "-v", "./outputs:/outputs", "tiny", "sh")
    code, seen = on_a_terminal(here, *words, says=SIZE + b"echo 2 > /outputs/bye; exit 6\n", until_said=b"$ ")
    assert (code, b"30 101" in seen, read(here.outputs / "bye")) == (6, True, "2\n"), seen
    assert here.json("runs")[0]["exit_code"] == 6
    missing = here("run", "--on", "gpu1", "--network", "none", "tiny", "nosuch")
    assert (missing.returncode, "the image has no program nosuch" in missing.stderr) == (127, True), missing.stderr
    assert here("rm", "named").returncode == 0
    assert here.json("ps", "--all", "--on", "gpu1") == []


@pytest.fixture
def ordinary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """A server whose sessions are an ordinary user's, with python3 and nothing else."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    needs("setpriv")
    folder = Path(tempfile.mkdtemp(prefix="ordinary-"))
    folder.chmod(0o755)
    try:
        with Sshd(folder / "s", [PYTHON]) as sshd:
            shell = sshd.folder / "there/sh"
            shell.unlink()
            become = f"{shutil.which('setpriv')} --reuid {NOBODY} --regid {NOBODY} --clear-groups"
            shell.write_text(f'#!/bin/sh\nexec {become} /bin/sh "$@"\n')
            shell.chmod(0o755)
            os.chown(sshd.home, NOBODY, NOBODY)
            yield sshd
    finally:
        shutil.rmtree(folder)


def test_an_ordinary_user_with_python_only_needs_nothing_else(home: Path, tmp_path: Path, ordinary: Sshd) -> None:
    here = Here(home, tmp_path / "project", ordinary)
    script = "id -u > /outputs/id; echo 1 > /tmp/x; touch /bin/new; ls -ld /tmp; exit 3"
    done = here("run", "--on", "gpu1", "-u", "0", "-v", "./outputs:/outputs", "heavy", "sh", "-c", script)
    assert done.returncode == 3, done.stderr
    assert done.stdout.startswith("drwxrwxrwt")
    assert "could not be removed" not in done.stderr, "nothing stays there"
    assert read(here.outputs / "id") == "0\n"
    there = ordinary.home / ".local/share/trainload"
    assert {path.stat().st_uid for path in there.rglob("*") if not path.is_symlink()} == {NOBODY}
    run = here.detached(f"{COUNT}; exit 8")
    kill_connections(ordinary)
    go_on(ordinary)
    assert here("attach", run).returncode == 8


def test_gpus_of_a_server_without_an_engine_come_by_its_specifications(home: Path, tmp_path: Path) -> None:
    """A specification of the server's, with a device of every machine as the GPU."""
    (tmp_path / "driver").mkdir()
    (tmp_path / "driver/libcuda.so.550.1").write_text("a library")
    device = {
        "name": "0",
        "containerEdits": {"deviceNodes": [{"path": "/dev/nvidia0", "hostPath": "/dev/zero"}]},
    }
    hooks = [["nvidia-ctk", "hook", "create-symlinks", "--link", "libcuda.so.550.1::/usr/lib/libcuda.so.1"],
             ["nvidia-ctk", "hook", "update-ldcache", "--folder", "/usr/lib"]]  # fmt: skip
    edits = {
        "env": ["NVIDIA_VISIBLE_DEVICES=void"],
        "mounts": [{"hostPath": str(tmp_path / "driver/libcuda.so.550.1"), "options": ["ro"],
                    "containerPath": "/usr/lib/libcuda.so.550.1"}],
        "hooks": [{"hookName": "createContainer", "path": "/usr/bin/nvidia-ctk", "args": words} for words in hooks],
    }  # fmt: skip
    specification = {"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": [device], "containerEdits": edits}
    (tmp_path / "cdi").mkdir()
    (tmp_path / "cdi/nvidia.json").write_text(json.dumps(specification))
    with Sshd(tmp_path / "s", [PYTHON], {"TRAINLOAD_CDI_FOLDERS": str(tmp_path / "cdi")}) as sshd:
        here = Here(home, tmp_path / "project", sshd)
        config = here.folder / "trainload.toml"
        config.write_text(config.read_text() + 'gpus = "all"\n')
        script = "head -c 4 /dev/nvidia0 | cat > /outputs/node; cat /usr/lib/libcuda.so.1 > /outputs/library; env"
        done = here("run", "--on", "gpu1", "-v", "./outputs:/outputs", "tiny", "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    assert read(here.outputs / "node") == "\0" * 4
    assert read(here.outputs / "library") == "a library"
    assert "NVIDIA_VISIBLE_DEVICES=void\n" in done.stdout
    assert "LD_LIBRARY_PATH=/usr/lib\n" in done.stdout

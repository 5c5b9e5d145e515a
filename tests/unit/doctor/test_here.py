"""The real machine, in situations that are really made: offline, no namespaces, a full disk, no daemon."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trainload.doctor.here import Here
from trainload.doctor.machine import Answer, Said
from trainload.run.overlay import Way
from trainload.system import host
from trainload.system.http import Http, Retry

ROOT = os.geteuid() == 0


def here(home: Path, **environ: str) -> Here:
    http = Http(connect_timeout=1.0, stall_timeout=1.0, retry=Retry(tries=1), proxies={})
    return Here({**os.environ, **environ}, host.now(), home, http)


def doctor(home: Path, *before: str, **environ: str) -> tuple[int, dict[str, Any], str]:
    """``trainload doctor --json``; ``before``: the program that starts it."""
    env = {
        **os.environ,
        "TRAINLOAD_HOME": str(home),
        "LANG": "C.UTF-8",
        "TRAINLOAD_MIRRORS_APT": "http://127.0.0.1:9",
    }
    done = subprocess.run(
        [*before, sys.executable, "-m", "trainload", "doctor", "--json"], env={**env, **environ}, cwd=home.parent,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout), done.stderr


def of(document: dict[str, Any], piece: str) -> list[dict[str, Any]]:
    return [one for one in document["findings"] if one["piece"] == piece]


def namespace(*flags: str) -> tuple[str, ...]:
    """``unshare`` with what it makes."""
    if not ROOT or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare")
    return ("unshare", *flags)


def test_the_sandbox_is_tried_and_nothing_of_it_stays(tmp_path: Path) -> None:
    tried = here(tmp_path / "not" / "there").sandbox()
    assert tried.way in tuple(Way), str(tried.reason)
    assert list(tmp_path.iterdir()) == []


def test_this_machine_can_be_asked(tmp_path: Path) -> None:
    machine = here(tmp_path)
    folder = machine.folder(str(tmp_path / "store"))
    assert (folder.path, folder.writable, folder.locks) == (str(tmp_path), True, True)
    assert folder.total >= folder.free > 0
    assert list(tmp_path.iterdir()) == []
    assert machine.memory()[0] > 0
    assert machine.text("/nothing") is None
    assert machine.ask("sh", "-c", "echo hello; exit 3") == Said(3, "hello\n")
    assert machine.ask("no-such-program") is None


def test_without_a_route_it_is_offline_and_runs_all_the_same(tmp_path: Path) -> None:
    code, document, _ = doctor(tmp_path / "home", *namespace("--net"))
    (network,) = of(document, "network")
    assert network["text"].startswith("offline")
    assert network["status"] == "warning"
    assert of(document, "sandbox")[0]["status"] == "ok"
    assert code == 0


def test_without_user_namespaces_for_an_ordinary_user(tmp_path: Path) -> None:
    """In a user namespace that may have none below it."""
    script = 'echo 0 >/proc/sys/user/max_user_namespaces; exec setpriv --bounding-set -all --no-new-privs "$@"'
    before = namespace("--user", "--map-root-user", "--mount")
    env = {"DOCKER_HOST": "unix:///nothing/docker.sock", "PATH": str(Path(sys.executable).parent)}
    code, document, said = doctor(
        tmp_path / "home", *(shutil.which(before[0]) or "", *before[1:]), shutil.which("sh") or "", "-c",
        script.replace("setpriv", shutil.which("setpriv") or "setpriv"), "sh", **env,
    )  # fmt: skip
    (sandbox,) = of(document, "sandbox")
    assert sandbox["status"] == "problem", said
    assert sandbox["mend"]
    assert (code, document["ok"]) == (1, False)


def test_a_full_disk(tmp_path: Path) -> None:
    script = (
        'mount -t tmpfs -o size=1m none "$0" && { head -c 2m /dev/zero >"$0/fill" || true; } 2>/dev/null; exec "$@"'
    )
    home = tmp_path / "disk"
    home.mkdir()
    code, document, _ = doctor(home, *namespace("--mount"), "sh", "-c", script, str(home))
    (disk,) = [one for one in of(document, "disk") if one["status"] == "problem"]
    assert disk["text"].startswith("full")
    assert disk["mend"][0] == "trainload gc"
    assert of(document, "sandbox")[0]["status"] == "ok", "that the disk is full says nothing of the sandbox"
    assert code == 1


def test_a_home_that_cannot_be_written_is_a_problem_of_the_disk_alone(tmp_path: Path) -> None:
    _, document, _ = doctor(tmp_path / "home", TRAINLOAD_HOME="/proc/nothing")
    assert [one["piece"] for one in document["findings"] if one["status"] == "problem"] == ["disk"]


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[str]:
    """The socket of a daemon that was killed."""
    with socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind(str(tmp_path / "docker.sock"))
    yield f"unix://{tmp_path / 'docker.sock'}"


def test_a_daemon_that_is_down(tmp_path: Path, stopped: str) -> None:
    assert here(tmp_path, DOCKER_HOST=stopped).docker().answer is Answer.REFUSED
    assert here(tmp_path, DOCKER_HOST="unix:///nothing.sock").docker().answer is Answer.ABSENT
    code, document, _ = doctor(tmp_path / "home", DOCKER_HOST=stopped)
    unset, start = of(document, "Docker")[0]["mend"]
    assert unset == "unset DOCKER_HOST"
    assert start.endswith(("start docker", "docker start")) or "nohup dockerd" in start
    assert code == 0


def test_a_daemon_that_never_answers(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind(str(tmp_path / "docker.sock"))
        daemon.listen()
        found = here(tmp_path, DOCKER_HOST=f"unix://{tmp_path / 'docker.sock'}").docker()
    assert found.answer is Answer.SILENT


def test_a_dead_mirror_is_told_with_its_setting(tmp_path: Path) -> None:
    reached = here(tmp_path).reach("http://127.0.0.1:9/simple/")
    assert reached.status is None
    assert "refused" in reached.reason
    _, document, _ = doctor(tmp_path / "home", TRAINLOAD_MIRRORS_PYPI="http://127.0.0.1:9/simple")
    assert any(one["status"] == "warning" for one in of(document, "network"))


def test_a_project_that_cannot_be_read_is_told_and_the_machine_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "trainload.toml").write_text("user = 'me'\n")
    code, document, said = doctor(tmp_path / "home")
    assert "this value cannot be used" in said
    assert of(document, "sandbox")
    assert code == 0


def test_people_read_the_command_below_the_finding_in_their_language(tmp_path: Path, stopped: str) -> None:
    env = {**os.environ, "TRAINLOAD_HOME": str(tmp_path / "home"), "DOCKER_HOST": stopped,
           "TRAINLOAD_MIRRORS_PYPI": "http://127.0.0.1:9",
           "TRAINLOAD_MIRRORS_APT": "http://127.0.0.1:9"}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "trainload", "doctor", "--lang", "zh"], env=env, cwd=tmp_path, capture_output=True,
        stdin=subprocess.DEVNULL, text=True, timeout=60, check=False,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    (at,) = [number for number, line in enumerate(lines) if "Docker" in line]
    assert "守护进程没有运行" in lines[at]
    assert lines[at + 1].strip() == "$ unset DOCKER_HOST"
    assert any("离线" in line for line in lines)
    assert done.returncode == 0

"""GPUs that were asked for are looked for in the container: a made-up device, and a script as NVIDIA's toolkit."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.peers import Docker

from trainload.testing.gpus import as_json, node, spec
from trainload.testing.rootfs import tiny_store

MISSING = "the GPU is not visible in the container: /dev/nvidia0 is missing there (trainload doctor tells more)"
HOOK = """#!/bin/sh
# as NVIDIA's: called with the container's state, before its program is there
read state
case {works} in yes) root=$(echo "$state" | sed 's/.*"bundle":"\\([^"]*\\)".*/\\1/')
    place=$(sed 's/.*"root":{{"path":"\\([^"]*\\)".*/\\1/' "$root/config.json")
    pid=$(echo "$state" | sed 's/.*"pid":\\([0-9]*\\).*/\\1/')
    nsenter --target "$pid" --mount -- mknod -m 666 "$place/dev/nvidia0" c 1 3 ;; esac
"""


@pytest.fixture
def machine(tmp_path: Path) -> Mapping[str, str]:
    """One with a GPU, as its specification says: a device that every machine has, under the GPU's name."""
    if os.geteuid() != 0:
        pytest.skip("makes a device node: needs root")
    place = tmp_path / "nvidia0"
    os.mknod(place, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    (tmp_path / "cdi").mkdir()
    document = spec({"0": {"deviceNodes": [node("/dev/nvidia0", hostPath=str(place))]}})
    (tmp_path / "cdi" / "nvidia.json").write_bytes(as_json(document))
    return {"TRAINLOAD_CDI_FOLDERS": str(tmp_path / "cdi"), "TRAINLOAD_HOME": str(tiny_store(tmp_path / "home"))}


def trainload(environ: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "trainload", *words]
    return subprocess.run(
        argv, env={**os.environ, **environ}, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("works", ["yes", "no"])
def test_docker_is_not_believed_that_a_gpu_is_there(machine: Mapping[str, str], tmp_path: Path, works: str) -> None:
    if Docker.missing():
        pytest.skip(Docker.missing())
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "nvidia-container-runtime-hook").write_text(HOOK.format(works=works))
    (programs / "nvidia-container-runtime-hook").chmod(0o755)
    with Docker(tmp_path / "docker", programs=programs) as docker:
        environ = {**machine, "DOCKER_HOST": docker.host}
        options = ("--engine", "docker", "--gpus", "all", "--network", "none")
        front = trainload(environ, "run", *options, "tiny", "sleep", "2")
        back = trainload(environ, "run", "-d", "--name", "back", *options, "tiny", "sleep", "100")
        assert back.returncode == 0, back.stderr
        listed = trainload(environ, "ps", "--json")
        known = json.loads(trainload(environ, "inspect", "back").stdout)
        trainload(environ, "stop", "-t", "0", "back")
    expected = [] if works == "yes" else [MISSING]
    assert json.loads(listed.stdout)[0]["notes"] == expected, listed.stderr
    assert known[0]["notes"] == expected
    for done in (front, back):
        assert (MISSING in done.stderr) is (works == "no"), done.stderr


def test_a_detached_run_of_the_embedded_engine_keeps_what_it_was_warned_of(
    machine: Mapping[str, str], tmp_path: Path
) -> None:
    started = trainload(machine, "run", "-d", "--engine", "embedded", "--gpus", "all", "tiny", "sleep", "100")
    assert started.returncode == 0, started.stderr
    run = started.stdout.strip()
    try:
        for _ in range(50):
            [shown] = json.loads(trainload(machine, "ps", "--json").stdout)
            if shown["notes"]:
                break
        assert "the image has no" in shown["notes"][0] or "the container has no" in shown["notes"][0]
        assert f"{run}: {shown['notes'][0]}" in trainload(machine, "ps").stderr
    finally:
        trainload(machine, "stop", "-t", "0", run)

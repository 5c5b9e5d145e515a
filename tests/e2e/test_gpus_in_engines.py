"""GPUs that were asked for are looked for in the container: a made-up device, and a script as NVIDIA's toolkit."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from tests.gpu_machine import GpuMachine, gpu_machine
from tests.peers import Docker, Podman, RootlessPodman

from trainload.testing.gpus import as_json, mount, node, spec
from trainload.testing.people import become
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


def trainload(
    environ: Mapping[str, str], *words: str, before: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    argv = [*before, sys.executable, "-m", "trainload", *words]
    return subprocess.run(
        argv, env={**os.environ, **environ}, capture_output=True, text=True, check=False, timeout=240
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
        lasts = "0" if works == "yes" else "10"  # nothing is said of a program that has ended
        front = trainload(environ, "run", *options, "tiny", "sleep", lasts)
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


TWO = spec(
    {"0": {"deviceNodes": [node("/dev/nvidia0")]}, "1": {"deviceNodes": [node("/dev/nvidia1")]}},
    {"deviceNodes": [node("/dev/nvidiactl")], "env": ["NVIDIA_VISIBLE_DEVICES=void"]},
)
"""Without a device ``all``, as specifications by hand are."""
SEEN = ("sh", "-c", 'ls /dev/nvidia*; stat -L -c %t:%T /dev/nvidia1; echo "$NVIDIA_VISIBLE_DEVICES"')
ZERO = "1:5"


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """One of our own, with a store."""
    if Podman.missing():
        pytest.skip(Podman.missing())
    folder = tmp_path_factory.mktemp("gpus")
    with Podman(folder / "podman") as podman:
        yield {**podman.environ, "TRAINLOAD_HOME": str(tiny_store(folder / "home"))}


@pytest.fixture
def two(tmp_path: Path) -> GpuMachine:
    """A machine with two GPUs."""
    machine = gpu_machine(tmp_path / "machine")
    machine.specification(as_json(TWO))
    return machine


def on_podman(
    machine: GpuMachine, environ: Mapping[str, str], gpus: str, *command: str, **more: str
) -> tuple[str, str]:
    """(standard output, standard error) of a run there."""
    words = ("run", "--engine", "podman", "--network", "none", "--gpus", gpus, "tiny", *(command or SEEN))
    done = trainload({**environ, **more}, *words, before=machine.enter)
    return done.stdout, done.stderr


def test_podman_is_handed_the_devices_of_the_specification(two: GpuMachine, podman: Mapping[str, str]) -> None:
    out, error = on_podman(two, podman, "all")
    assert out.split() == ["/dev/nvidia0", "/dev/nvidia1", "/dev/nvidiactl", ZERO, "void"], error
    assert "warning" not in error
    out, _ = on_podman(two, podman, "device=1")
    assert out.split() == ["/dev/nvidia1", "/dev/nvidiactl", ZERO, "void"]


def test_podman_is_not_asked_for_what_this_machine_has_not_got(two: GpuMachine, podman: Mapping[str, str]) -> None:
    two.specification(as_json({**TWO, "cdiVersion": "1.1.0"}))
    error = on_podman(two, podman, "all")[1]
    if "unresolvable" in error:  # Podman 4.3; later ones read it
        assert "a specification that is newer than it" in error
        assert "--engine embedded" in error
    two.specification(None)
    error = on_podman(two, podman, "all")[1]
    assert "this machine has no CDI specification of nvidia.com/gpu" in error
    assert "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml" in error


def test_podman_is_not_believed_that_a_gpu_or_its_driver_is_there(
    two: GpuMachine, podman: Mapping[str, str], tmp_path: Path
) -> None:
    """It reads the machine's specification, we another one that says more."""
    folder = tmp_path / "cdi"
    folder.mkdir()
    more = spec({"0": {"deviceNodes": [node("/dev/nvidia0"), node("/dev/nvidia1")]}}, {})
    (folder / "nvidia.json").write_bytes(as_json(more))
    error = on_podman(two, podman, "all", "sleep", "0", TRAINLOAD_CDI_FOLDERS=str(folder))[1]
    assert MISSING.replace("nvidia0", "nvidia1") in error
    two.driver("550.54.15")
    library = f"{two.folder}/lib/libcuda.so.550.54.15"
    driver = spec(
        {"0": {"deviceNodes": [node("/dev/nvidia0")]}}, {"mounts": [mount(library, "/usr/lib/libcuda.so.1")]}
    )
    (folder / "nvidia.json").write_bytes(as_json(driver))
    error = on_podman(two, podman, "all", "sleep", "0", TRAINLOAD_CDI_FOLDERS=str(folder))[1]
    assert "the container has no libcuda.so.1: CUDA will not find the driver" in error


def test_podman_gives_gpus_to_an_ordinary_user(two: GpuMachine) -> None:
    if RootlessPodman.missing():
        pytest.skip(RootlessPodman.missing())
    with RootlessPodman() as podman:
        store = tiny_store(podman.home / "store")
        for place in (podman.home, store, *store.rglob("*")):
            os.chown(place, podman.person.uid, podman.person.uid)
        environ = {**podman.environ, "HOME": str(podman.home), "TRAINLOAD_HOME": str(store)}
        given = [f"{name}={value}" for name, value in environ.items()]
        machine = (*two.enter, *become(podman.person), "env", *given)
        for gpus, seen in (("all", ["/dev/nvidia0", "/dev/nvidia1"]), ("device=1", ["/dev/nvidia1"])):
            words = ("--engine", "podman", "--network", "none", "--gpus", gpus, "tiny", *SEEN)
            done = trainload({}, "run", *words, before=machine)
            assert done.stdout.split() == [*seen, "/dev/nvidiactl", ZERO, "void"], done.stderr
            assert "warning" not in done.stderr


def test_a_docker_without_nvidias_toolkit_is_told_with_what_mends_it(
    machine: Mapping[str, str], tmp_path: Path
) -> None:
    if Docker.missing():
        pytest.skip(Docker.missing())
    with Docker(tmp_path / "docker", driver="vfs") as docker:
        environ = {**machine, "DOCKER_HOST": docker.host}
        done = trainload(environ, "run", "--engine", "docker", "--gpus", "all", "--network", "none", "tiny")
    assert done.returncode != 0
    assert "sudo nvidia-ctk runtime configure --runtime=docker" in done.stderr
    assert "--engine embedded" in done.stderr

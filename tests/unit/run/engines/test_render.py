"""What Docker and Podman are sent for a run: pure, and compared with golden files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from trainload.errors import RunError
from trainload.run.engines.docker import render as docker
from trainload.run.engines.inspected import common_layers, local_name
from trainload.run.engines.podman import render as podman
from trainload.run.model import RunSpec

Golden = Callable[[str, str], None]
GIB = 1 << 30
ROOT = podman.Here(rootless=False, shm=GIB, may_raise_limits=True, open_files=1024)
ROOTLESS = podman.Here(rootless=True, shm=GIB, may_raise_limits=False, open_files=1024)
CONFINED = podman.Here(rootless=False, shm=GIB, may_raise_limits=False, open_files=1024)


def as_json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def test_docker_gets_everything_that_was_asked_for(golden: Golden, everything: RunSpec) -> None:
    golden("docker-everything.json", as_json(docker.body(everything, "sha256:x", shm=GIB, detached=True)))


def test_docker_gets_no_more_than_that(golden: Golden, least: RunSpec) -> None:
    golden("docker-least.json", as_json(docker.body(least, "sha256:x", shm=GIB, detached=False)))


@pytest.mark.parametrize(
    ("gpus", "asked"),
    [("all", {"Count": -1}), ("2", {"Count": 2}), ('"device=0,1"', {"DeviceIDs": ["0", "1"]})],
)
def test_gpus_are_dockers_device_requests(least: RunSpec, gpus: str, asked: dict[str, object]) -> None:
    body = docker.body(replace(least, gpus=gpus), "x", shm=1, detached=False)
    request = {"Driver": "", "Capabilities": [["gpu"]], "Options": {}, **asked}
    assert body["HostConfig"]["DeviceRequests"] == [request]  # type: ignore[index]


def test_a_whole_cdi_name_is_asked_of_dockers_own_cdi(least: RunSpec) -> None:
    body = docker.body(replace(least, gpus="device=nvidia.com/gpu=1"), "x", shm=1, detached=False)
    request = {"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=1"]}
    assert body["HostConfig"]["DeviceRequests"] == [request]  # type: ignore[index]


def test_podman_gets_the_names_that_this_machine_has(least: RunSpec) -> None:
    here = replace(ROOT, gpus=("amd.com/gpu=7",))
    words = podman.create(replace(least, gpus="1"), "x", "/env", here, detached=False)
    assert [word for word in words if word.startswith("--device")] == ["--device=amd.com/gpu=7"]


def test_podman_gets_everything_that_was_asked_for(golden: Golden, everything: RunSpec) -> None:
    golden("podman-everything.json", as_json(podman.create(everything, "x", "/env", ROOT, detached=True)))


def test_podman_gets_no_more_than_that(golden: Golden, least: RunSpec) -> None:
    golden("podman-least.json", as_json(podman.create(least, "x", "/env", ROOTLESS, detached=False)))


def test_L13_no_value_of_the_environment_is_seen_in_the_list_of_processes(everything: RunSpec) -> None:
    words = podman.create(everything, "x", "/env", ROOT, detached=True)
    assert not any("hunter2" in word or "evil" in word for word in words)
    file, rest = podman.environment(everything)
    assert file["TOKEN"] == "hunter2" and rest == {"LINES": "one\ntwo"}  # an env file has lines


def test_podman_is_given_limits_it_may_set_where_it_may_not_raise_them(least: RunSpec) -> None:
    limits = [
        [word for word in podman.create(least, "x", "/env", here, detached=False) if "ulimit" in word]
        for here in (ROOT, ROOTLESS, CONFINED)
    ]
    assert limits == [[], [], ["--ulimit=nofile=1024", "--ulimit=nproc=32768"]]


def test_what_a_project_writes_to_mounted_folders_is_the_callers(least: RunSpec) -> None:
    spec = replace(least, caller=(1234, 100))
    body = docker.body(spec, "x", shm=1, detached=False)
    assert (body["User"], body["Env"]) == ("1234:100", ["A=1", "HOME=/tmp"])
    words = podman.create(spec, "x", "/env", ROOTLESS, detached=False)
    assert {"--user=1234:100", "--userns=keep-id"} <= set(words)


@pytest.mark.parametrize("user", ["4294967296", "2147483648", "0:4294967295"])
def test_L11_an_id_out_of_range_never_reaches_an_engine(least: RunSpec, user: str) -> None:
    for render in (
        lambda spec: docker.body(spec, "x", shm=1, detached=False),
        lambda spec: podman.create(spec, "x", "/env", ROOT, detached=False),
    ):
        with pytest.raises(RunError, match="out of range"):
            render(replace(least, user=user))


@pytest.mark.parametrize(
    ("name", "local"),
    [
        ("tiny", ("localhost/trainload/tiny", "latest")),
        ("registry.example:5000/team/app:v1", ("localhost/trainload/registry.example-5000/team/app", "v1")),
        ("app@sha256:abc", ("localhost/trainload/app", "latest")),
        ("My App", ("localhost/trainload/my-app", "latest")),
    ],
)
def test_delivered_images_have_names_that_are_nobodys(name: str, local: tuple[str, str]) -> None:
    assert local_name(name) == local


def test_layers_are_there_as_far_as_an_image_begins_with_the_same() -> None:
    others = [["a", "x"], ["a", "b", "y"], [], ["b"]]
    assert [common_layers(ours, others) for ours in (["a", "b", "c"], ["z"], ["a", "b"])] == [2, 0, 2]


def test_podman_writes_logs_to_files_where_no_journal_runs(least: RunSpec) -> None:
    words = podman.create(least, "x", "/env", replace(ROOT, journal=False), detached=True)
    assert "--log-driver=k8s-file" in words
    assert "--log-driver=k8s-file" not in podman.create(least, "x", "/env", ROOT, detached=True)


def test_a_program_finds_no_variables_that_only_podman_sets(least: RunSpec) -> None:
    def unset(spec: RunSpec, here: podman.Here = ROOT) -> list[str]:
        return [word for word in podman.create(spec, "x", "/env", here, detached=True) if "unsetenv" in word]

    assert unset(least) == ["--unsetenv=container", "--unsetenv=TERM"]
    assert unset(replace(least, tty=True)) == ["--unsetenv=container"]
    assert unset(replace(least, env={"TERM": "dumb"})) == ["--unsetenv=container"]
    assert unset(least, replace(ROOT, version=(3, 4))) == []

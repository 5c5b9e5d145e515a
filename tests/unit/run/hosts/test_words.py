"""A run as ``docker create`` takes it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trainload.digest import Digest
from trainload.errors import RunError
from trainload.run.engines.interface import Execution
from trainload.run.hosts.words import create, execute
from trainload.run.model import Again, HealthCheck, Limits, Mount, Port, Restart, RunSpec
from trainload.runner.byprogram import CONTAINER, ENV_FILE

SPEC = RunSpec(Digest("sha256", "ab" * 32), "abc123", ("python", "-u", "train.py"), "1000", "/work", {"A": "1"})


def words(spec: RunSpec) -> list[str]:
    return list(create(spec, "IMAGE", "FILE", shm=1024))


def test_values_of_a_further_programs_variables_are_no_words() -> None:
    asked = Execution(("sh", "-c", "x"), user="7", workdir="/w", env={"TOKEN": "secret"}, interactive=True)
    assert execute("docker", asked, tty=True) == (
        "exec", "--detach-keys=ctrl-@,ctrl-@,ctrl-@", "--env-file", ENV_FILE, "--interactive", "--tty", "--user=7",
        "--workdir=/w", CONTAINER, "sh", "-c", "x",
    )  # fmt: skip
    plain = ("exec", "--detach-keys=", CONTAINER, "ls")
    assert execute("podman", Execution(("ls",)), tty=False) == plain


def test_a_plain_run() -> None:
    assert words(SPEC) == [
        "create", "--name=trainload-abc123", "--env-file", "FILE", "--label=dev.trainload.run=abc123",
        f"--label=dev.trainload.image=sha256:{'ab' * 32}", "--hostname=abc123", "--workdir=/work", "--user=1000",
        "--stop-signal=SIGTERM", "--stop-timeout=10", "--shm-size=1024b", "--entrypoint=python", "IMAGE", "-u",
        "train.py",
    ]  # fmt: skip


def test_everything_that_can_be_asked_for() -> None:
    spec = replace(
        SPEC, called="mine", caller=(7, 8), network_name="host", init=True, read_only=True, gpus="device=0,1",
        mounts=(Mount("/a,b", "/a", read_only=True), Mount("cache", "/c", volume=True)),
        limits=Limits(memory=2**31, memory_swap=2**32, cpus=1.5, pids=99, shm=5),
        ports=(Port(80, 8080, "127.0.0.1"), Port(53, protocol="udp")), restart=Restart(Again.ON_FAILURE, 3),
        health=HealthCheck(("/bin/sh", "-c", "curl x | grep y")), labels={"team": "vision"}, grace=2.5,
    )  # fmt: skip
    found = words(spec)
    for word in (
        "--name=mine", "--user=7:8", "--network=host", "--init", "--read-only", '--gpus="device=0,1"',
        '"source=/a,b"', "--memory=2147483648b", "--memory-swap=4294967296b", "--cpus=1.5", "--pids-limit=99",
        "--shm-size=5b", "--publish=127.0.0.1:8080:80/tcp", "--publish=53/udp", "--restart=on-failure:3",
        "--health-cmd=/bin/sh -c 'curl x | grep y'", "--label=team=vision", "--stop-timeout=2",
        "type=volume,source=cache,target=/c",
    ):  # fmt: skip
        assert any(word in one for one in found), word


def test_S08_values_are_in_the_file_and_only_those_no_line_holds_are_words() -> None:
    found = words(replace(SPEC, env={"TOKEN": "hunter2", "KEY": "two\nlines"}))
    assert not any("hunter2" in word for word in found)
    assert "--env=KEY=two\nlines" in found


@pytest.mark.parametrize(
    ("gpus", "told"),
    [("all", "--gpus=count=all"), ("2", "--gpus=count=2"), ("device=GPU-1", "--gpus=device=GPU-1"),
     ('"device=0","capabilities=compute,utility"', '--gpus=device=0,"capabilities=compute,gpu,utility"')],
)  # fmt: skip
def test_gpus_in_dockers_own_words(gpus: str, told: str) -> None:
    assert told in words(replace(SPEC, gpus=gpus))


def test_a_user_that_would_wrap_around_to_root_is_refused() -> None:
    with pytest.raises(RunError):
        words(replace(SPEC, user="4294967296"))

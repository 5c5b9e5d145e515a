"""Docker's and Podman's answers as our values."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import pytest

from trainload.run.engines import inspected
from trainload.run.engines.docker import answers
from trainload.run.engines.interface import Health, Phase


def container(memory: int = 0, **state: object) -> dict[str, Any]:
    return {
        "Id": "f" * 64,
        "Config": {"Labels": {"dev.trainload.run": "abc"}},
        "HostConfig": {"Memory": memory},
        "RestartCount": 2,
        "State": {
            "Status": "exited", "ExitCode": 0, "StartedAt": "2026-11-27T10:00:00.123456789Z",
            "FinishedAt": "2026-11-27T11:00:00+01:00", **state,
        },
    }  # fmt: skip


def test_a_state_is_read_with_its_times() -> None:
    state = inspected.state(container(ExitCode=3))
    assert (state.id, state.phase, state.exit_code, str(state.reason)) == ("abc", Phase.ENDED, 3, "exit code 3")
    assert state.started == datetime(2026, 11, 27, 10, 0, 0, 123456, tzinfo=UTC)
    assert state.ended == datetime(2026, 11, 27, 10, 0, tzinfo=UTC)
    assert state.restarts == 2


def test_what_runs_has_no_end_whatever_the_last_one_was() -> None:
    state = inspected.state(container(Status="running", ExitCode=1, Health={"Status": "unhealthy"}))
    assert (state.phase, state.exit_code, state.ended, state.reason) == (Phase.RUNNING, None, None, None)
    assert state.health is Health.UNHEALTHY
    assert inspected.state(container(Status="running", Health={"Status": ""})).health is None


@pytest.mark.parametrize(
    ("found", "killed", "words"),
    [
        (container(64 << 20, ExitCode=137, OOMKilled=True), False, "killed by the memory limit of 64 MiB"),
        (container(64 << 20, ExitCode=137), False, "ended by SIGKILL"),
        (container(64 << 20, ExitCode=137), True, "killed by the memory limit of 64 MiB"),
        (
            container(64 << 20, ExitCode=1, OOMKilled=True), True,
            "exit code 1; the memory limit of 64 MiB killed a process",
        ),
        (container(ExitCode=0), True, "finished"),
    ],
)  # fmt: skip
def test_an_end_is_told_in_words(found: dict[str, Any], killed: bool, words: str) -> None:
    assert str(inspected.reason(found, killed=killed)) == words


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ('OCI runtime create failed: runc: exec: "nope": executable file not found in $PATH: unknown', 127),
        ('exec: "nope": stat nope: no such file or directory: unknown', 127),
        ('runc create failed: unable to start container process: exec: "nope": permission denied', 126),
        ('exec: "nope": is a directory: unknown', 126),
        ("no space left on device", 1),
        ('error mounting "/nope" to rootfs: permission denied', 1),
    ],
)
def test_why_a_container_did_not_start_is_the_shells_code(message: str, code: int) -> None:
    assert inspected.start_error(message, "nope").exit_code == code


def test_crun_has_its_own_words_for_a_command_that_is_not_there() -> None:
    message = "crun: executable file `nope` not found in $PATH: No such file or directory: OCI runtime ..."
    assert inspected.start_error(message, "nope").exit_code == 127


def test_gpus_without_a_toolkit_are_told_with_the_command_that_mends_it() -> None:
    error = inspected.start_error('could not select device driver "" with capabilities: [[gpu]]', "x")
    assert "nvidia-ctk runtime configure" in str(error)


def test_a_stream_of_two_is_taken_apart_and_a_cut_one_ends() -> None:
    data = b"\1\0\0\0\0\0\0\3out\2\0\0\0\0\0\0\3err\1\0\0"
    assert list(answers.pieces(io.BytesIO(data))) == [(False, b"out"), (True, b"err")]


def test_log_messages_become_lines_long_ones_are_joined_and_bars_collapse() -> None:
    at = b"2026-11-27T10:00:00.5Z "
    messages = [(False, at + b"one\n"), (False, at + b"lo"), (True, at + b"err\r\n"), (False, at + b"ng\n"),
                (False, at + b"\r10%\r100%\n"), (False, b"no time\n"), (False, at + b"rest")]  # fmt: skip
    lines = list(inspected.log_lines(iter(messages)))
    assert [(line.stderr, line.text) for line in lines] == [
        (False, b"one"), (True, b"err"), (False, b"long"), (False, b"100%"), (False, b"rest"),
    ]  # fmt: skip


def test_the_log_of_a_terminal_is_lines() -> None:
    assert list(answers.lines(io.BytesIO(b"a\r\nb\nc"))) == [(False, b"a\r\n"), (False, b"b\n"), (False, b"c")]


def test_memory_is_without_the_page_cache() -> None:
    stats = {
        "memory_stats": {"usage": 100, "stats": {"total_inactive_file": 40}}, "pids_stats": {"current": 3},
        "cpu_stats": {"cpu_usage": {"total_usage": 2_500_000_000}},
    }  # fmt: skip
    usage = answers.usage(stats, 1000)
    assert (usage.memory, usage.cpu_seconds, usage.processes, usage.memory_limit) == (60, 2.5, 3, 1000)
    assert answers.usage({}, None).memory == 0  # a control group that is gone

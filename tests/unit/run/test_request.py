"""A command line joined with an image's configuration, as Docker joins them."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainload.cli.run import _BREAK, image_and_arguments
from trainload.digest import Digest
from trainload.errors import UsageError
from trainload.plan.model import HealthConfig, RuntimeConfig
from trainload.run import flags
from trainload.run.model import Again, HealthCheck, Limits, Mount, Port, Restart, RunSpec
from trainload.run.request import Request, request_document, request_from, spec_of
from trainload.run.words import bytes_in_words, signal_number, size_in_bytes

CONFIG = RuntimeConfig("1000", "/app", ("train.py", "--fast"), ("python",), {"A": "image", "B": "image"}, {})


def spec(request: Request, config: RuntimeConfig = CONFIG) -> RunSpec:
    return spec_of(request, Digest.sha256(b""), config, "id")


@pytest.mark.parametrize(
    ("request_", "command"),
    [
        (Request(), ("python", "train.py", "--fast")),
        (Request(arguments=("x", "y")), ("python", "x", "y")),
        (Request(arguments=("--epochs", "3"), append=True), ("python", "train.py", "--fast", "--epochs", "3")),
        (Request(entrypoint="sh"), ("sh",)),
        (Request(entrypoint="sh", arguments=("-c", "ls")), ("sh", "-c", "ls")),
        (Request(entrypoint="", arguments=("ls",)), ("ls",)),
    ],
)
def test_entrypoint_and_command_are_joined_as_in_docker(request_: Request, command: tuple[str, ...]) -> None:
    assert spec(request_).command == command


def test_the_command_line_wins_over_the_image() -> None:
    made = spec(Request(user="0", workdir="/w", env={"B": "mine", "C": "mine"}))
    assert (made.user, made.workdir) == ("0", "/w")
    assert made.env == {"A": "image", "B": "mine", "C": "mine"}
    assert (spec(Request()).user, spec(Request()).workdir) == ("1000", "/app")


def test_an_image_without_a_command_is_told() -> None:
    with pytest.raises(UsageError, match="the image has no command"):
        spec(Request(), RuntimeConfig("", "", (), (), {}, {}))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("SIGQUIT", 3), ("quit", 3), ("3", 3), ("SIGRTMIN+3", signal.SIGRTMIN + 3),
        ("rtmax-1", signal.SIGRTMAX - 1), ("0", None), ("65", None), ("SIGNOPE", None),
        ("", None), ("RTMIN+99", None), ("9; id", None), ("-9", None),
    ],
)  # fmt: skip
def test_signals_are_read_as_docker_reads_them(text: str, number: int | None) -> None:
    assert signal_number(text) == number


def test_the_stop_signal_is_the_command_lines_the_images_or_term() -> None:
    image = replace(CONFIG, stop_signal="SIGQUIT")
    found = [spec(Request(stop_signal="INT"), image), spec(Request(), image), spec(Request())]
    assert [made.stop_signal for made in found] == ["INT", "SIGQUIT", "SIGTERM"]
    with pytest.raises(UsageError, match="--stop-signal is no signal; got LOTS"):
        spec(Request(stop_signal="LOTS"))


def test_a_record_repeats_the_request_and_holds_no_value_of_the_environment() -> None:
    request = Request(
        arguments=("a",), append=True, entrypoint="sh", user="1", workdir="/w", env={"TOKEN": "hunter2", "Z": "1"},
        mounts=(Mount("/a", "/b", read_only=True),), limits=Limits(1, 2, 1.5, 4, 5), gpus="all",
        ports=(Port(80, 8080, "127.0.0.1"), Port(53, protocol="udp")), init=True,
        restart=Restart(Again.ON_FAILURE, 3), health=HealthCheck(("sh", "-c", "true"), interval=1.5),
        labels={"a": "b"}, caller=(1, 2), network_name="web",
        network=False, hostname="h", read_only=True, stop_signal="SIGINT", grace=3.0,
    )  # fmt: skip
    document = request_document(request)
    assert "hunter2" not in str(document)
    assert request_from(document, {"TOKEN": "hunter2", "Z": "1", "OTHER": "x"}) == request
    with pytest.raises(UsageError, match="TOKEN, which are never recorded"):
        request_from(document, {"Z": "1"})


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("./data:/data", Mount("/project/data", "/data")),
        ("data:/data", Mount("data", "/data", volume=True)),
        ("/abs:/data:ro", Mount("/abs", "/data", read_only=True)),
        ("./a:/b:rw,z", Mount("/project/a", "/b")),
    ],
)
def test_volumes_are_read_as_docker_writes_them(text: str, mount: Mount) -> None:
    assert flags.volume(text, Path("/project")) == mount


@pytest.mark.parametrize("text", ["data", "a:b", "a:/b:nope", ":/b", "a:", "a:/b:ro:x", ""])
def test_volumes_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not understood"):
        flags.volume(text, Path("/project"))


def test_variables_come_from_the_line_or_from_our_own() -> None:
    assert flags.environment(["A=1=2", "B", "C", "D="], {"B": "ours"}) == {"A": "1=2", "B": "ours", "D": ""}
    with pytest.raises(UsageError, match="has no name"):
        flags.environment(["=x"], {})


def test_an_env_file_is_taken_as_it_stands() -> None:
    text = '\ufeff# comment\n\nA=1 2\r\nQ="quoted"\n  B\nURL=http://x/#y\n'
    assert flags.env_file(text, "f", {"B": "ours"}) == {
        "A": "1 2", "Q": '"quoted"', "B": "ours", "URL": "http://x/#y",
    }  # fmt: skip
    with pytest.raises(UsageError, match="f:2"):
        flags.env_file("A=1\nnot a name=2\n", "f", {})


@pytest.mark.parametrize(
    ("text", "size"), [("2g", 2 * 2**30), ("512M", 512 * 2**20), ("1.5GiB", 3 * 2**29), ("100", 100), ("7kb", 7168)]
)
def test_sizes_are_binary_as_in_docker(text: str, size: int) -> None:
    assert size_in_bytes(text, "--memory") == size


@pytest.mark.parametrize("text", ["", "g", "2x", "-1", "two"])
def test_sizes_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--memory is not a size"):
        size_in_bytes(text, "--memory")


def test_sizes_read_back() -> None:
    assert [bytes_in_words(n) for n in (0, 2**31, 100 * 2**20, 3 * 2**29)] == ["0 B", "2 GiB", "100 MiB", "1.5 GiB"]


@given(st.lists(st.sampled_from(["a", "--", "-x", "--rm"]), max_size=5))
def test_everything_after_the_image_is_the_programs(rest: list[str]) -> None:
    marked = list(rest)
    if "--" in marked:
        marked.insert(marked.index("--") + 1, _BREAK)
    image, arguments = image_and_arguments(("img", *marked))
    assert image == "img"
    assert list(arguments) == (rest[1:] if rest[:1] == ["--"] else rest)


def test_arguments_after_a_bare_break_are_the_projects() -> None:
    assert image_and_arguments((_BREAK, "--epochs", "3", "--")) == (None, ("--epochs", "3", "--"))
    assert image_and_arguments(()) == (None, ())


@pytest.mark.parametrize(
    ("said", "want"),
    [
        (None, None),
        (HealthConfig(("NONE",)), None),
        (HealthConfig(("CMD", "curl", "x")), HealthCheck(("curl", "x"))),
        (
            HealthConfig(("CMD-SHELL", "curl x"), 2 * 10**9, 5 * 10**8, 10**10, 0, 7),
            HealthCheck(("/bin/sh", "-c", "curl x"), 2.0, 0.5, 7, 10.0),
        ),
    ],
)
def test_an_images_own_health_check_is_asked_unless_another_is_given(
    said: HealthConfig | None, want: HealthCheck | None
) -> None:
    config = replace(CONFIG, health=said)
    assert spec_of(Request(), Digest.sha256(b""), config, "a1").health == want
    other = HealthCheck(("mine",))
    assert spec_of(Request(health=other), Digest.sha256(b""), config, "a1").health == other

"""What Podman's program says is passed on, and the rest of it is found in a log."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from trainload.run.engines.podman.passing import Passed, Relay, complete


@contextmanager
def heard(number: int) -> Iterator[list[bytes]]:
    """What comes on one of our streams meanwhile, once it is over."""
    ours, file, said = os.dup(number), os.memfd_create("heard"), [b""]
    os.dup2(file, number)
    try:
        yield said
    finally:
        os.dup2(ours, number)
        said[0] = os.pread(file, 1 << 20, 0)
        os.close(ours)
        os.close(file)


def relayed(*pieces: bytes, was_the_programs: bool = False) -> tuple[Relay, bytes]:
    with heard(2) as said:
        relay = Relay(2, held=b"Error: ")
        relay.start()
        for piece in pieces:
            os.write(relay.into, piece)
        os.close(relay.into)
        relay.join()
        if was_the_programs:
            relay.release()
            relay.release()
    return relay, said[0]


def test_a_complaint_is_held_back_until_somebody_knows_whose_it_is() -> None:
    assert relayed(b"Error: no such image\n", b"more\n")[1] == b""
    relay, said = relayed(b"Error: mine\n", b"more\n", was_the_programs=True)
    assert said == b"Error: mine\nmore\n"
    assert relay.passed == Passed().then(said)
    assert relayed(b"loss 0.1\n", b"Error: mine\n")[1] == b"loss 0.1\nError: mine\n"


def test_what_goes_on_for_longer_than_podman_would_is_passed_on_at_once() -> None:
    with heard(2) as said:
        relay = Relay(2, held=b"Error: ")
        relay.start()
        os.write(relay.into, b"Error: a GPU is missing, going on without\n")
        while os.fstat(2).st_size == 0:
            relay.join(0.05)
        os.write(relay.into, b"epoch 1\n")
        os.close(relay.into)
        relay.join()
        relay.release()
    assert said == [b"Error: a GPU is missing, going on without\nepoch 1\n"]
    assert relay.complaint == b"Error: a GPU is missing, going on without\n"  # should it be Podman's after all


def test_podman_learns_that_nobody_reads_any_more() -> None:
    out, into = os.pipe()
    os.close(out)
    ours = os.dup(2)
    os.dup2(into, 2)
    try:
        relay = Relay(2)
        relay.start()
        os.write(relay.into, b"x")
        relay.join()
    finally:
        os.dup2(ours, 2)
        for descriptor in (ours, into):
            os.close(descriptor)
    with pytest.raises(BrokenPipeError):
        os.write(relay.into, b"y")
    os.close(relay.into)


@pytest.mark.parametrize(
    ("passed", "log", "rest"),
    [
        (b"", b"all of it\n", b"all of it\n"),
        (b"all of", b"all of it\n", b" it\n"),
        (b"all of it\n", b"all of it\n", b""),
        (b"all of it\n", b"all", b""),  # the log is shorter
        (b"another beginning", b"it was cut at its beginning\n", b""),
        (b"x" * 100_000, b"x" * 300_000, b"x" * 200_000),
    ],
)
def test_the_rest_of_a_log_is_what_was_not_passed_on(passed: bytes, log: bytes, rest: bytes) -> None:
    script = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())"
    with heard(1) as said, heard(2) as errors:
        child = subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert child.stdin is not None
        with child:
            os.set_blocking(child.stdin.fileno(), True)
            child.stdin.write(log)
            child.stdin.close()
            complete(child, {1: Passed().then(passed), 2: Passed()})
    assert (said, errors) == ([rest], [b""])

"""How ssh is called, and what its words mean."""

from __future__ import annotations

import pytest

from trainload.address import Address
from trainload.system.ssh import command
from trainload.system.ssh_trouble import explain, fingerprint_in, is_unknown_key

HOST = Address("gpu.example", "me", 2222)
UNKNOWN = """No ED25519 host key is known for [gpu.example]:2222 and you have requested strict checking.
Host key verification failed."""
CHANGED = """@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
The fingerprint for the ED25519 key sent by the remote host is
SHA256:pSB1HO7zjPLuXxZ3sX1e4xN1aG1qDcZpS9yO7bd0v2M.
Offending ED25519 key in /home/me/.ssh/known_hosts:7
Host key verification failed."""


def test_S08_nothing_is_lent_to_the_far_side_and_nobody_is_asked() -> None:
    argv = command(HOST, "sh", forward=5000)
    options = [argv[number + 1] for number, word in enumerate(argv) if word == "-o"]
    for option in (
        "BatchMode=yes", "StrictHostKeyChecking=yes", "ForwardAgent=no", "ForwardX11=no", "ControlMaster=no",
        "ControlPath=none",
    ):  # fmt: skip
        assert option in options
    assert argv[argv.index("-R") + 1] == "127.0.0.1:0:127.0.0.1:5000"


def test_S01_the_host_follows_two_dashes() -> None:
    assert command(HOST, "sh")[-3:] == ["--", "me@gpu.example", "sh"]


def test_S02_an_unknown_key_is_told_with_the_command_that_adds_it() -> None:
    assert is_unknown_key(UNKNOWN)
    error = explain(HOST, 255, UNKNOWN, "SHA256:x")
    assert (str(error.text), error.got) == ("the key of me@gpu.example:2222 is not known here", "SHA256:x")
    assert "ssh -o StrictHostKeyChecking=ask -p 2222 me@gpu.example true" in str(error.hints[1])


def test_S02_a_changed_key_is_refused_and_no_command_forgets_the_old_one() -> None:
    assert not is_unknown_key(CHANGED)
    fingerprint = fingerprint_in(CHANGED)
    assert fingerprint == "SHA256:pSB1HO7zjPLuXxZ3sX1e4xN1aG1qDcZpS9yO7bd0v2M"
    error = explain(HOST, 255, CHANGED, fingerprint)
    assert "is not the one it had" in str(error)
    assert "known_hosts, line 7" in str(error.want)
    assert "ssh-keygen -R" not in str(error)


@pytest.mark.parametrize(
    ("code", "said", "text", "retryable"),
    [
        (255, "me@gpu.example: Permission denied (publickey).", "does not let us in", False),
        (255, "ssh: Could not resolve hostname gpu.example: Name or service not known", "cannot be reached", True),
        (255, "ssh: connect to host gpu.example port 22: Connection refused", "cannot be reached", True),
        (255, "", "failed or was cut", True),
        (127, "sh: not found", "ended too early", False),
    ],
)
def test_other_ends_are_told_with_what_ssh_said(code: int, said: str, text: str, retryable: bool) -> None:
    error = explain(HOST, code, f"Allocated port 4 for remote forward to 127.0.0.1:5\n{said}", None)
    assert text in str(error.text)
    assert error.retryable is retryable
    assert error.said == tuple(line for line in said.splitlines())


def test_a_name_that_nobody_knows_may_be_one_of_another_project() -> None:
    said = "ssh: Could not resolve hostname gpu1: Name or service not known"
    hints = [str(hint) for hint in explain(Address("gpu1"), 255, said, None).hints]
    assert "folder of its project" in hints[-1]
    assert len(explain(Address("gpu1", "me"), 255, said, None).hints) == len(hints) - 1

"""What ssh's own words mean, and what to do about it. Pure."""

from __future__ import annotations

import re

from trainload.address import Address
from trainload.errors import HostError, Text

_FINGERPRINT = re.compile(r"\b(SHA256:[A-Za-z0-9+/]{43}=?)")
_OFFENDING = re.compile(r"Offending \S+ key in (\S+):(\d+)")
_NOISE = re.compile(r"debug\d: |\*\* |Allocated port ")
_NEVER = re.compile(r"Could not resolve hostname|^ssh: connect to host", re.MULTILINE)
_NAMES = Text("a name of [tool.trainload.hosts] is known in the folder of its project only")
_TOLD = 5
FAILED = 255
"""ssh's own exit code; others are the far program's (ssh(1), EXIT STATUS)."""


def is_unknown_key(said: str) -> bool:
    """Whether the host's key is not known at all; a changed one is another thing."""
    return "host key is known for" in said and not _has_changed(said)


def fingerprint_in(said: str) -> str | None:
    """The fingerprint of the key a host showed."""
    for line in said.splitlines():
        match = _FINGERPRINT.search(line)
        if match and ("Server host key" in line or line.strip(" .\r").startswith("SHA256:")):
            return match[1]
    return None


def explain(address: Address, code: int, said: str, fingerprint: str | None) -> HostError:
    """The error for a session that ended with ``code`` after ssh ``said`` that."""
    if _has_changed(said):
        error = _changed(address, said, fingerprint)
    elif is_unknown_key(said):
        error = _unknown(address, fingerprint)
    elif "Permission denied" in said and code == FAILED:
        error = HostError(
            Text("{host} does not let us in", host=address),
            hints=[
                Text("`ssh {login} true` must work without a question: a key in ~/.ssh or in an agent",
                     login=_words(address)),
                Text("`ssh-copy-id {login}` takes your key there", login=_words(address)),
            ],
        )  # fmt: skip
    elif code == FAILED and _NEVER.search(said):
        error = HostError(
            Text("{host} cannot be reached", host=address),
            hints=[
                Text("`ssh {login} true` must work from here: look at the name, the port and the network",
                     login=_words(address)),
                *([_NAMES] if "Could not resolve" in said and not address.user and not address.port else []),
            ],
            retryable=True,
        )  # fmt: skip
    elif code == FAILED or code < 0:  # or somebody killed our ssh
        error = HostError(
            Text("the connection to {host} failed or was cut", host=address),
            hints=[Text("run the same command again: it goes on where it stopped")], retryable=True,
        )  # fmt: skip
    else:
        error = HostError(
            Text("the session on {host} ended too early", host=address), got=f"exit code {code}",
            hints=[Text("`ssh {login} sh` must give a shell: does ~/.bashrc or ~/.profile there end it?",
                        login=_words(address))],
        )  # fmt: skip
    if not _has_changed(said) and not is_unknown_key(said):
        error.said = tuple(line for line in said.splitlines() if line.strip() and not _NOISE.match(line))[-_TOLD:]
    return error


def _unknown(address: Address, fingerprint: str | None) -> HostError:
    return HostError(
        Text("the key of {host} is not known here", host=address),
        got=fingerprint,
        hints=[
            Text("ask who runs the server whether this is its key's fingerprint"),
            Text("then add it: ssh -o StrictHostKeyChecking=ask {login} true", login=_words(address)),
        ],
    )


def _changed(address: Address, said: str, fingerprint: str | None) -> HostError:
    offending = _OFFENDING.search(said)
    return HostError(
        Text("the key of {host} is not the one it had: somebody may be between you and it", host=address),
        got=fingerprint,
        want=Text("the key in {file}, line {line}", file=offending[1], line=offending[2]) if offending else None,
        hints=[Text("nothing is sent to it; ask who runs the server before you change the file of known hosts")],
    )


def _has_changed(said: str) -> bool:
    return "REMOTE HOST IDENTIFICATION HAS CHANGED" in said or "HOST IDENTIFICATION CHANGED" in said


def _words(address: Address) -> str:
    return f"-p {address.port} {address.login}" if address.port else address.login

"""Why a RUN failed, as far as what it said and the files it named tell: the hints below its error."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from trainload.errors import RunError, Text
from trainload.plan.lines import LineJob
from trainload.run.below import Below

_LAST = 20
"""Lines of a failed program that are told."""
_TAIL = 64 << 10
_TOLD = 160
"""Characters of a failed command that are told."""
_FIRST = 256
"""Bytes of a script in which its first line ends; Linux reads as many (BINPRM_BUF_SIZE)."""
_NO_NETWORK = re.compile(
    r"temporary failure (?:in name resolution|resolving)|could not resolve|network is unreachable"
    r"|name or service not|failed to establish a new connection|no address associated|getaddrinfo|bad address",
    re.IGNORECASE,
)
_NAMED = re.compile(
    r"(?:^|[\s'\"‘`:])(\.{0,2}/[^\s'\":’]+)['’]?: "
    r"(?:not found|No such file|Permission denied|cannot execute|/\S+: bad interpreter)",
    re.MULTILINE,
)
"""A program that a shell, ``env`` or ``exec`` could not start."""
_SET_ID = re.compile(r"\b(sudo|su): .*(?:setuid|nosuid|no new privileges|suid to work|Authentication failure)")
_BASH = re.compile(r"\bsh: (?:\d+: |line \d+: )?(?:source|\[\[|pushd|popd|shopt|declare): not found")


def failure(job: LineJob, seen: Below, log: Path, code: int, reason: Text) -> RunError:
    """The error of a line whose program ended with ``code``; what it said stands in ``log``."""
    said = last_words(log)
    error = RunError(
        Text("{line}: RUN {command} failed: {reason}", line=job.label, command=_told(job), reason=reason)
    )
    error.said = _lines(said)
    error.hints = tuple(_hints(job, seen, said, code))
    return error


def without_network(job: LineJob, log: Path) -> RunError | None:
    """The error of a line that was refused a network nobody decided about, and ended well all the same.

    ``curl … | sh`` ends well when curl fails: the image would silently lack what it fetches.
    """
    if not job.undecided:
        return None
    said = last_words(log)
    if not _NO_NETWORK.search(said):
        return None
    error = RunError(
        Text("{line}: RUN {command} looked for a network, which it has not, and went on without", line=job.label,
             command=_told(job)),
        want=Text("a word on whether it may have one"),
        hints=[
            Text("give RUN this machine's network: --network default (trainload run: --build-network)"),
            Text("the image is right without it: --network none"),
        ],
    )  # fmt: skip
    error.said = _lines(said)
    return error


def last_words(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL))
        return file.read().decode("utf-8", "replace")


def _lines(said: str) -> tuple[str, ...]:
    return tuple(line for line in said.splitlines() if line.strip())[-_LAST:]


def _told(job: LineJob) -> str:
    """A command, as it was written, as far as a line of text holds it."""
    argv = job.recipe.argv
    words = argv[-1].split() if argv[0].endswith("sh") and len(argv) > 2 else argv
    text = " ".join(words)
    return text if len(text) <= _TOLD else f"{text[: _TOLD - 1]}…"


def _hints(job: LineJob, seen: Below, said: str, code: int) -> Iterator[Text]:
    if not job.recipe.network and _NO_NETWORK.search(said):
        yield Text("RUN has no network unless it is asked for: --network default (trainload run: --build-network)")
        if job.why is not None:
            yield Text("the line is run, not placed, because of this: {reason}", reason=job.why)
    if os.geteuid() != 0 and re.search(r"Operation not permitted|Invalid argument", said):
        yield Text("root can give files to other users, an ordinary user cannot: build as root")
    if "certificate verify failed" in said.lower():
        yield Text(
            "the image does not trust who answers, perhaps your network's proxy: copy its certificate to "
            "/usr/local/share/ca-certificates/ and RUN update-ca-certificates; for pip, ENV PIP_CERT=FILE"
        )
    if found := _SET_ID.search(said):
        yield Text("{program} makes nobody root in the sandbox: USER root above the line and the old USER below it",
                   program=found[1])  # fmt: skip
    if "Unable to locate package" in said and not re.search("apt(-get)? update", " ".join(job.recipe.argv)):
        yield Text("the image has no lists of packages: RUN apt-get update && apt-get install …")
    if _BASH.search(said) and job.recipe.argv[0] == "/bin/sh":
        yield Text('this is bash\'s, and RUN goes to /bin/sh: SHELL ["/bin/bash", "-c"] above it')
    if code in (126, 127):
        yield from dict.fromkeys(_program(path, job, seen) for path in _NAMED.findall(said))


def _program(path: str, job: LineJob, seen: Below) -> Text:
    """Why a file that is there cannot be started."""
    inside = posixpath.normpath(posixpath.join("/", job.recipe.workdir, path)).strip("/")
    file = seen.place(inside)
    if file is None or not file.is_file():
        return Text("the image has no {path} at this line", path=f"/{inside}")
    if not file.stat().st_mode & 0o111:
        return Text("{path} is not executable: COPY --chmod=755, or RUN chmod +x before it", path=f"/{inside}")
    with file.open("rb") as stream:
        first, _, _ = stream.read(_FIRST).partition(b"\n")
    if first.startswith(b"#!") and first.endswith(b"\r"):
        return Text("{path} has the line ends of Windows, so its first line names no program: save it with LF, or "
                    "RUN sed -i 's/\\r$//' {path}", path=f"/{inside}")  # fmt: skip
    program = first[2:].split()[:1] if first.startswith(b"#!") else []
    return Text("the first line of {path} names a program: is {program} in the image?", path=f"/{inside}",
                program=program[0].decode("utf-8", "replace") if program else "ld.so")  # fmt: skip

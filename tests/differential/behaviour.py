"""What an image does: what it prints, how it ends, as whom and where it runs, what its server answers, its health.

Here in the embedded engine; in Docker, ours beside the one that the other builder made.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.differential.builders import run
from tests.differential.cases import Case
from tests.differential.workshop import Workshop

_PATIENCE = 240
"""Seconds for a server to answer, on a machine that has other things to do."""
_ASK = """
import sys, time, urllib.error, urllib.request
end = time.monotonic() + 240
for url in sys.argv[1:]:
    while True:
        try:
            with urllib.request.urlopen(url) as answer:
                print(answer.status, answer.headers.get_content_type(), answer.read().decode())
            break
        except urllib.error.HTTPError as error:
            print(error.code, error.read().decode())
            break
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
"""
_WHO = "id; pwd; umask; env | grep -v ^_= | sort; ulimit -c"
_HERE = ("--network", "none")


def behaves_here(case: Case, workshop: Workshop, at: Path) -> None:
    """In the embedded engine."""
    ours = f"{case.name}:ours"
    if not case.port:
        assert case.says in workshop.trainload(at, "-q", "run", ours).stdout
        return
    workshop.trainload(at, "-q", "run", "-d", "--name", at.name, *_HERE, ours)
    try:
        answered = workshop.trainload(at, "-q", "exec", at.name, "python3", "-c", _ASK, *_urls(case)).stdout
        assert case.answers in answered
        if case.healthy:
            _wait(lambda: _state(workshop, at)["health"] == "healthy")
        workshop.trainload(at, "-q", "stop", "--time", "240" if case.ends == 0 else "2", at.name)
        # the program is not the first process here, as with `docker run --init`: a signal it does not catch ends it
        assert _state(workshop, at)["exit_code"] in (case.ends, 128 + signal.SIGTERM)
    finally:
        workshop.trainload(at, "-q", "rm", "--force", at.name)


def _state(workshop: Workshop, at: Path) -> dict[str, object]:
    rows: list[dict[str, object]] = json.loads(workshop.trainload(at, "ps", "--all", "--json").stdout)
    (found,) = (row for row in rows if row["name"] == at.name)
    return found


def behave_the_same_in_docker(case: Case, workshop: Workshop, at: Path) -> None:
    """The image of that folder's name there, and ours, pushed and pulled."""
    docker = ["docker", "-H", workshop.docker.host]
    target = f"{workshop.registry.host}/ours/{case.name}:1"
    workshop.trainload(at, "-q", "push", f"{case.name}:ours", target)
    run([*docker, "pull", "-q", target], at)
    ours, theirs = (_Seen.of(docker, at, image, case) for image in (target, case.name))
    assert ours == theirs
    assert (case.answers if case.port else case.says) in ours.printed
    assert ours.ended == case.ends


@dataclass(frozen=True, slots=True)
class _Seen:
    """One image in Docker."""

    who: str
    """User, groups, folder, variables of a shell in it."""
    printed: str
    """By the command; of a server: what it answered, and what its first process is."""
    errors: str
    ended: int
    """Its exit code; of a server: after ``docker stop``."""

    @classmethod
    def of(cls, docker: list[str], at: Path, image: str, case: Case) -> _Seen:
        shell = [*docker, "run", "--rm", *_HERE, "--hostname", "same", "--entrypoint", "/bin/sh", image, "-c", _WHO]
        who = run(shell, at)
        if case.port:
            return cls(who, *_served(docker, at, image, case))
        argv = [*docker, "run", "--rm", *_HERE, image]
        done = subprocess.run(argv, cwd=at, capture_output=True, text=True, check=False)
        return cls(who, done.stdout, done.stderr, done.returncode)


def _served(docker: list[str], at: Path, image: str, case: Case) -> tuple[str, str, int]:
    one = run([*docker, "run", "-d", *_HERE, image], at)
    try:
        answer = run([*docker, "exec", one, "python3", "-c", _ASK, *_urls(case)], at)
        main = _first(int(run([*docker, "inspect", "-f", "{{.State.Pid}}", one], at)))
        if case.healthy:
            _wait(lambda: run([*docker, "inspect", "-f", "{{.State.Health.Status}}", one], at) == "healthy")
        # what ends by itself gets long: the time is Docker's to keep, and 137 tells that it had to
        run([*docker, "stop", "-t", "240" if case.ends == 0 else "2", one], at)
        return f"{answer}\n{main}", "", int(run([*docker, "inspect", "-f", "{{.State.ExitCode}}", one], at))
    finally:
        run([*docker, "rm", "-f", one], at)


def _first(pid: int) -> str:
    """The container's first process, seen from outside: inside nobody may look at everything."""
    at = Path(f"/proc/{pid}")
    status = dict(line.split(":", 1) for line in (at / "status").read_text().splitlines())
    words = (at / "cmdline").read_bytes().split(b"\0")
    return f"{(at / 'cwd').readlink()} {words} {status['Uid']} {status['Gid']} {status['SigIgn']}"


def _urls(case: Case) -> list[str]:
    return [f"http://127.0.0.1:{case.port}{path}" for path in case.paths]


def _wait(ready: Callable[[], bool]) -> None:
    end = time.monotonic() + _PATIENCE
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.5)

"""``trainload`` called on this side of a real sshd, for the tests of runs on servers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.peers import Sshd

TRAINLOAD = (sys.executable, "-m", "trainload")
PYTHON = "/usr/bin/python3"
COUNT = "i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo step $i; echo $i > /outputs/step; sleep 0.15; done"
SOON = 30.0
"""Seconds until something must have happened."""


class Here:
    """Calls ``trainload`` in a folder, with a host called ``gpu1``."""

    def __init__(self, home: Path, folder: Path, sshd: Sshd) -> None:
        self.home, self.folder, self.sshd = home, folder, sshd
        self.outputs = folder / "outputs"
        folder.mkdir(exist_ok=True)
        (folder / "trainload.toml").write_text(f'[hosts.gpu1]\naddress = "{sshd.address()}"\n')

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        environ = {**self.sshd.environ, "TRAINLOAD_HOME": str(self.home)}
        return subprocess.Popen(
            [*TRAINLOAD, *words], cwd=self.folder, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, bufsize=0, start_new_session=True,
        )  # fmt: skip

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        child = self.start(*words)
        out, err = rest(child)
        return subprocess.CompletedProcess(words, child.returncode, out, err)

    def json(self, *words: str) -> Any:  # noqa: ANN401 - a document
        done = self(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def detached(self, script: str, *options: str) -> str:
        """The id of a run that goes on there."""
        done = self(
            "run", "-d", "-q", "--on", "gpu1", "-v", "./outputs:/outputs", *options, "tiny", "sh", "-c", script
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


def rest(child: subprocess.Popen[bytes]) -> tuple[str, str]:
    """What it prints until it ends."""
    out, err = child.communicate(timeout=90)
    return out.decode(), err.decode()


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + SOON
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def kill_connections(sshd: Sshd) -> None:
    """End every session of the server, as a network that goes away does; sshd itself stays."""
    children = Path(f"/proc/{sshd.pid}/task/{sshd.pid}/children").read_text().split()
    for pid in children:
        os.kill(int(pid), signal.SIGKILL)

"""``trainload`` called on this side of a real sshd, for the tests of runs on servers."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.peers import Sshd

from trainload.image.model import Layer
from trainload.store.store import Store
from trainload.testing.images import make_with_weights, plan_of
from trainload.testing.rootfs import PROGRAMS, tiny_store

TRAINLOAD = (sys.executable, "-m", "trainload")
PYTHON = "/usr/bin/python3"
COUNT = (
    "i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo step $i; echo $i > /outputs/step; sleep 0.05;"
    " if [ $i = 20 ]; then until [ -e /outputs/go ]; do sleep 0.05; done; rm /outputs/go; fi; done"
)
"""In the middle it waits for :func:`go_on`."""
SIZE = b'while [ "$(stty size)" = "0 0" ]; do sleep 0.1; done; stty size; '
"""Says the size of its terminal; Docker's client tells it a moment after the start."""
SOON = 90.0
"""Seconds until something must have happened."""


def store_with_weights(home: Path) -> Path:
    """A store with ``tiny``, and ``heavy``: the same with weights mounted at /opt/weights."""
    store = Store.open(tiny_store(home, (*PROGRAMS, "wc")))
    with store.writing():
        tiny = store.image(store.resolve("tiny"))
        pairs = zip(tiny.manifest.layers, tiny.config.diff_ids, strict=True)
        layers = [Layer(descriptor, diff_id, 0) for descriptor, diff_id in pairs]
        plan = plan_of("heavy", ("base",), ("sh", "-c", "cat /opt/weights/a/model"))
        make_with_weights(store, plan, layers, "opt/weights", {"opt/weights/a/model": b"mounted\n"})
    store.close()
    return home


class Here:
    """Calls ``trainload`` in a folder, with a host called ``gpu1``."""

    def __init__(self, home: Path, folder: Path, sshd: Sshd) -> None:
        self.home, self.folder, self.sshd = home, folder, sshd
        self.outputs = folder / "outputs"
        folder.mkdir(exist_ok=True)
        (folder / "trainload.toml").write_text(f'[hosts.gpu1]\naddress = "{sshd.address()}"\n')

    def start(
        self, *words: str, stdin: int = subprocess.DEVNULL, program: Sequence[str] = TRAINLOAD
    ) -> subprocess.Popen[bytes]:
        environ = {**self.sshd.environ, "TRAINLOAD_HOME": str(self.home)}
        return subprocess.Popen(
            [*program, *words], cwd=self.folder, env=environ, stdin=stdin, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, bufsize=0, start_new_session=True,
        )  # fmt: skip

    def __call__(self, *words: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[str]:
        child = self.start(*words, stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE)
        out, err = rest(child, stdin)
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


def rest(child: subprocess.Popen[bytes], stdin: bytes | None = None) -> tuple[str, str]:
    """What it prints until it ends."""
    out, err = child.communicate(stdin, timeout=240)
    return out.decode(), err.decode()


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + SOON
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)


def go_on(sshd: Sshd) -> None:
    """Every run there that waits."""
    for outputs in sshd.home.glob(".local/share/trainload/hosted/*/out/0"):
        (outputs / "go").touch()


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def kill_connections(sshd: Sshd) -> None:
    """End every session of the server, as a network that goes away does; sshd itself stays."""
    children = Path(f"/proc/{sshd.pid}/task/{sshd.pid}/children").read_text().split()
    for pid in children:
        with suppress(ProcessLookupError):  # one that ends by itself, since its client did
            os.kill(int(pid), signal.SIGKILL)


def on_a_terminal(here: Here, *words: str, says: bytes, until_said: bytes) -> tuple[int, bytes]:
    """Call it on a terminal of 30 rows and 101 columns, and type ``says`` once ``until_said`` is on it.

    Its exit code, and all that was on the terminal.
    """
    near, far = os.openpty()
    fcntl.ioctl(far, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 101, 0, 0))
    environ = {**here.sshd.environ, "TRAINLOAD_HOME": str(here.home), "TERM": "vt220"}
    child = subprocess.Popen([*TRAINLOAD, *words], cwd=here.folder, env=environ, stdin=far, stdout=far, stderr=far)
    os.close(far)
    seen, typed = b"", False
    while True:
        if not typed and until_said in seen:
            os.write(near, says)
            typed = True
        assert select.select([near], [], [], SOON)[0], seen
        try:
            seen += os.read(near, 4096)
        except OSError:  # a terminal's end
            break
    os.close(near)
    return child.wait(240), seen


def further_programs(here: Here, run: str) -> None:
    """What ``exec`` and ``cp`` do alike wherever it runs; /tmp/model was written there."""
    done = here("exec", run, "sh", "-c", "cat /tmp/model; echo err >&2; exit 3")
    assert (done.returncode, done.stdout, done.stderr) == (3, "saved\n", "err\n")
    data = bytes(range(256)) * 2000
    done = here("exec", "-i", "--on", "gpu1", run, "sh", "-c", "cat > /tmp/data; wc -c < /tmp/data", stdin=data)
    assert (done.returncode, done.stdout.strip()) == (0, str(len(data))), done.stderr
    assert here("cp", f"{run}:/tmp/data", "data").returncode == 0
    assert (here.folder / "data").read_bytes() == data
    done = here("exec", run, "nosuch")
    assert (done.returncode, "the image has no program nosuch" in done.stderr) == (127, True), done.stderr
    says = SIZE + b"exit 6\n"
    code, seen = on_a_terminal(here, "exec", "-it", run, "sh", says=says, until_said=b"$ ")
    assert (code, b"30 101" in seen) == (6, True), seen


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    folder.mkdir(parents=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "none", str(folder)],
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)

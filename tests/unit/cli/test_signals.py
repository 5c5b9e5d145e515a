"""A signal ends a command cleanly: one line at most, nothing half-written (THREATS fault 12)."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that takes connections and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        server.settimeout(120)
        yield server


def locking(project: Path, home: Path, server: socket.socket) -> subprocess.Popen[str]:
    """``trainload lock`` waiting for an archive that stays silent."""
    address = f"http://127.0.0.1:{server.getsockname()[1]}"
    (project / "requirements.txt").write_text("six\n")
    (project / "train.py").write_text("import six\n")
    return subprocess.Popen(
        [sys.executable, "-m", "trainload", "lock"],
        cwd=project,
        env={
            **os.environ,
            "TRAINLOAD_HOME": str(home),
            "TRAINLOAD_MIRRORS_APT": f"{address}/{{distribution}}",
            "TRAINLOAD_INDEX_URL": f"{address}/simple",
        },
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_a_waiting_command_at_once_and_leaves_nothing(
    tmp_path: Path, silent: socket.socket, number: signal.Signals, code: int
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    child = locking(project, tmp_path / "home", silent)
    connection, _ = silent.accept()
    began = time.monotonic()
    os.killpg(child.pid, number)
    out, err = child.communicate(timeout=60)
    connection.close()
    assert child.returncode == code
    assert time.monotonic() - began < 25, "it waited for the archive"
    assert "Traceback" not in err and out == ""
    assert sorted(path.name for path in project.iterdir()) == ["requirements.txt", "train.py"]


def test_an_interrupt_while_the_program_still_loads_is_no_traceback() -> None:
    program = (
        "import os, signal, sys\n"
        "class Interrupts:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'click':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupts())\n"
        "from trainload.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")

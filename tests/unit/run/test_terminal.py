"""A run that shares a real terminal: Ctrl-C, window size, job control, and the terminal given back."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import textwrap
import time
from pathlib import Path

import pytest

from trainload.platform import Platform
from trainload.run.handwritten import FRONT, executable
from trainload.run.preparation import is_interactive_shell
from trainload.run.seccomp import terminal_filter
from trainload.run.unpack import LayerBlob
from trainload.testing.rootfs import programs_layer
from trainload.testing.tars import blob

SCRIPT = textwrap.dedent("""
    import os, sys
    from pathlib import Path
    from trainload.digest import Digest
    from trainload.run.embedded import EmbeddedEngine
    from trainload.run.model import RunSpec
    from trainload.run.unpack import LayerBlob
    blob, diff_id, home, *command = sys.argv[1:]
    engine = EmbeddedEngine(Path(home), lambda _: [LayerBlob(Path(blob), Digest.parse(diff_id), 1)])
    outcome = engine.run(RunSpec(image=Digest.parse(diff_id), id="term", command=tuple(command), user="1000",
                                 workdir="/", env={}, grace=2.0))
    print(f"<{outcome.exit_code} {outcome.reason} {os.tcgetpgrp(0) == os.getpgrp()}>", flush=True)
""")


class Terminal:
    """A run on a terminal of its own; ``read_until`` collects what it shows."""

    def __init__(self, layer: LayerBlob, rootfs: Path, *command: str) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            words = [str(layer.path), str(layer.diff_id), str(rootfs), *command]
            os.execv(sys.executable, [sys.executable, "-c", SCRIPT, *words])
        self.shown = ""

    def read_until(self, text: str, seconds: float = 240) -> str:
        """Everything shown up to and with ``text``, which is then forgotten."""
        end = time.monotonic() + seconds
        while text not in self.shown:
            if not select.select([self.fd], [], [], max(0.0, end - time.monotonic()))[0]:
                raise AssertionError(f"no {text!r} in {self.shown!r}")
            try:
                self.shown += os.read(self.fd, 4096).decode()
            except OSError as error:
                raise AssertionError(f"no {text!r} in {self.shown!r}") from error
        before, found, self.shown = self.shown.partition(text)
        return before + found

    def shows(self, text: str, seconds: float) -> bool:
        """Whether that is shown within so long."""
        end = time.monotonic() + seconds
        while text not in self.shown and select.select([self.fd], [], [], max(0.0, end - time.monotonic()))[0]:
            self.shown += os.read(self.fd, 4096).decode()
        return text in self.shown

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def end(self) -> str:
        told = self.read_until(">\r\n").rpartition("<")[2].removesuffix(">\r\n")
        os.waitpid(self.pid, 0)
        os.close(self.fd)
        return told


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> LayerBlob:
    return blob(tmp_path_factory.mktemp("layer") / "blob", programs_layer())


def test_ctrl_c_reaches_the_program_once(layer: LayerBlob, tmp_path: Path) -> None:
    wait = "while [ $n = 0 ]; do sleep 0.1; done; sleep 0.4"
    script = f"n=0; trap 'n=$((n+1))' INT; echo ready; {wait}; exit $((40+n))"
    terminal = Terminal(layer, tmp_path, "sh", "-c", script)
    terminal.read_until("ready")
    terminal.type("\x03")
    assert terminal.end() == "41 exit code 41 True"


def test_ctrl_c_ends_a_program_that_does_not_care(layer: LayerBlob, tmp_path: Path) -> None:
    terminal = Terminal(layer, tmp_path, "sh", "-c", "echo ready; exec sleep 30")
    terminal.read_until("ready")
    time.sleep(0.2)
    terminal.type("\x03")
    assert terminal.end() == "130 ended by SIGINT True"


def test_a_program_may_outlive_many_ctrl_c(layer: LayerBlob, tmp_path: Path) -> None:
    terminal = Terminal(layer, tmp_path, "sh", "-c", "trap '' INT; echo ready; read A; exit 9")
    terminal.read_until("ready")
    for _ in range(4):
        terminal.type("\x03")
        time.sleep(0.1)
    terminal.type("go\n")
    assert terminal.end() == "9 exit code 9 True"


def test_sigterm_to_us_is_forwarded(layer: LayerBlob, tmp_path: Path) -> None:
    terminal = Terminal(layer, tmp_path, "sh", "-c", "trap 'exit 5' TERM; echo ready; sleep 30 & wait")
    terminal.read_until("ready")
    os.kill(terminal.pid, signal.SIGTERM)
    assert terminal.end() == "5 exit code 5 True"


def test_an_interactive_shell_has_job_control_and_the_windows_size(layer: LayerBlob, tmp_path: Path) -> None:
    terminal = Terminal(layer, tmp_path, "sh", "-i")
    fcntl.ioctl(terminal.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))
    terminal.read_until("$ ")
    shell = os.tcgetpgrp(terminal.fd)
    terminal.type("sleep 300\n")
    end = time.monotonic() + 240
    while os.tcgetpgrp(terminal.fd) == shell:
        assert time.monotonic() < end
        time.sleep(0.02)
    while not terminal.shows("Stopped", 2):
        terminal.type("\x1a")  # a job of dash's has the terminal a moment before it heeds this key
    terminal.read_until("Stopped")
    terminal.type("kill -9 %1; wait %1; echo still $((40+2))\n")
    terminal.read_until("still 42")
    terminal.type("exit 3\nexit 3\n")  # dash warns once about stopped jobs
    assert terminal.end().endswith(" True")


@pytest.mark.parametrize("words", [("sh",), ("/bin/sh", "-i")])
def test_a_shell_that_is_left_ends_well(layer: LayerBlob, tmp_path: Path, words: tuple[str, ...]) -> None:
    """dash gives the terminal back to the process group it began in, which must be one of the container's."""
    terminal = Terminal(layer, tmp_path, *words)
    for typed in ("ls /nowhere\n", "sleep 30 &\n"):
        terminal.read_until("$ ")
        terminal.type(typed)
    terminal.read_until("$ ")
    terminal.type("exit 7\n")
    shown = terminal.read_until(">\r\n")
    assert "process group" not in shown
    assert "<7 exit code 7 True>" in shown
    terminal.shown = shown
    terminal.end()


def test_the_end_of_input_ends_a_shell_well(layer: LayerBlob, tmp_path: Path) -> None:
    terminal = Terminal(layer, tmp_path, "sh")
    terminal.read_until("$ ")
    terminal.type("\x04")
    assert terminal.end() == "0 finished True"


def test_only_shells_that_look_after_groups_get_one_of_their_own() -> None:
    assert all(map(is_interactive_shell, [("sh",), ("/bin/bash", "--login", "-i"), ("dash", "-l")]))
    others = [("sh", "-c", "x"), ("bash", "-lc", "x"), ("sh", "train.sh"), ("python",), ("tini", "--", "sh")]
    assert not any(map(is_interactive_shell, others))


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_what_goes_before_a_shell_becomes_it_with_its_own_arguments(tmp_path: Path, architecture: str) -> None:
    """arm64's instructions by qemu's user emulation, where that is installed."""
    front = tmp_path / "front"
    front.write_bytes(executable(FRONT, architecture))
    front.chmod(0o755)
    emulator: list[str] = []
    if architecture != Platform.host().architecture:
        program = shutil.which(f"qemu-{MACHINES[architecture]}-static")
        if program is None:
            pytest.skip(f"no emulator of {architecture}")
        emulator = [program]
    script = "import os; print(os.getpid() == os.getpgrp(), os.environ['A'])"
    words = [*emulator, str(front), sys.executable, "other name", "-c", script]
    done = subprocess.run(words, capture_output=True, env={"A": "1"}, check=False)
    assert done.stdout == b"True 1\n", done.stderr
    words[-4] = "/nowhere"
    assert subprocess.run(words, check=False).returncode == 126


MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


def test_nothing_can_be_typed_for_the_users_shell() -> None:
    """CVE-2017-5226: TIOCSTI would put a command into the terminal's input, to be run after we are gone."""
    if not terminal_filter():
        pytest.skip("needs x86_64 or aarch64")
    code = FILTERED.format(program=terminal_filter(), argv=[sys.executable, "-c", TYPING])
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", code])
    with os.fdopen(fd, "rb") as shown:
        assert shown.readline() == b"1\r\n"  # EPERM
    os.waitpid(pid, 0)


TYPING = """
import fcntl, termios
try:
    fcntl.ioctl(0, termios.TIOCSTI, b"x")
except OSError as error:
    print(error.errno)
else:
    print("typed")
"""
FILTERED = """
import ctypes, os
program = {program!r}
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
assert libc.prctl(22, 2, ctypes.byref(Program(len(program) // 8, program)), 0, 0) == 0  # PR_SET_SECCOMP
os.execv({argv!r}[0], {argv!r})
"""


def test_the_filter_is_in_force_on_a_terminal(layer: LayerBlob, tmp_path: Path) -> None:
    script = "while read -r line; do case $line in Seccomp:*) echo $line;; esac; done </proc/self/status"
    terminal = Terminal(layer, tmp_path, "sh", "-c", script)
    assert "Seccomp: 2" in terminal.read_until("Seccomp: 2")
    terminal.end()

"""After a line was run, its layer lies unpacked, as unpacking would make it, and nothing was unpacked for it."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from trainload.digest import Digest
from trainload.layers.foreign import look
from trainload.run.unpack import LayerBlob
from trainload.store.store import Store
from trainload.testing.people import as_ordinary_user, cannot_be_ordinary
from trainload.testing.rootfs import PROGRAMS, tiny_store
from trainload.testing.unpacked import differences
from trainload.testing.verifier import violations

TRAINLOAD = Path(sys.executable).with_name("trainload")
TOOLS = (*PROGRAMS, "ln", "chmod", "chown", "mkfifo", "mv", "cp", "truncate")
LINES = (
    "mkdir -p /d/e && touch /d/one && ln /d/one /d/e/two && cp /bin/cat /d/cat && chmod 4755 /d/cat"
    " && chmod 2775 /d/e && mkfifo /d/pipe && truncate -s 40M /d/sparse && ln -s nowhere /d/link",
    "rm -r /d/e && mkdir /d/e && touch /d/e/new && rm /d/one && echo 2 > /d/one && rm /etc/not-a-program",
    "mv /d/cat /d/dog && chmod 400 /d/dog && touch /tmp/k && rm -r /home/ada && mkdir /d/f && cp /bin/sh /d/f/",
    "rm -r /d && ln -s etc /d && echo '*' > /etc/shadow && mkdir -p /var/log/apt && touch /var/log/apt/term.log",
)  # fmt: skip
OF_ROOT = "cp /bin/cat /bin/low && chown 1000:42 /bin/low"
AS_THEMSELVES = """
import os, sys
from pathlib import Path
from trainload.testing.rootfs import tiny_store
os.environ["TRAINLOAD_HOME"] = str(tiny_store(Path(os.environ["HOME"], "store"), eval(sys.argv[2])))
os.chdir(sys.argv[1])
sys.argv = ["trainload", "build", "--json"]
from trainload.cli.main import main
main()
"""
LOOK = """
import json, os, sys
from pathlib import Path
from trainload.digest import Digest
from trainload.run.unpack import LayerBlob
from trainload.testing.unpacked import differences
home = Path(os.environ["HOME"])
for number, layer in enumerate(json.loads(sys.argv[1])):
    blob = home / "store" / "blobs" / "sha256" / layer["digest"].removeprefix("sha256:")
    one = LayerBlob(blob, Digest.parse(layer["diff_id"]), layer["size"])
    print(differences(home / "store" / "rootfs", one, home / f"fresh{number}"))
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tiny_store(tmp_path / "home", TOOLS)


def project(at: Path, lines: Sequence[str]) -> Path:
    at.mkdir()
    (at / "Dockerfile").write_text("FROM tiny\nUSER 0\n" + "".join(f"RUN {line}\n" for line in lines))
    return at


def start(folder: Path, home: Path, *words: str) -> subprocess.Popen[str]:
    environ = {**os.environ, "TRAINLOAD_HOME": str(home)}
    return subprocess.Popen(
        [TRAINLOAD, *words], cwd=folder, env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip


def call(folder: Path, home: Path, *words: str) -> tuple[str, str]:
    child = start(folder, home, *words)
    out, err = child.communicate(timeout=300)
    assert child.returncode == 0, err
    return out, err


def layers(home: Path, said: str) -> list[LayerBlob]:
    return [
        LayerBlob(home / "blobs" / "sha256" / one["digest"].removeprefix("sha256:"), Digest.parse(one["diff_id"]),
                  one["size"])
        for one in json.loads(said)["layers"]
    ]  # fmt: skip


def test_layers_of_lines_lie_unpacked_and_only_the_base_was(tmp_path: Path, home: Path) -> None:
    lines = (*LINES, OF_ROOT) if os.geteuid() == 0 else LINES
    said, told = call(project(tmp_path / "p", lines), home, "build", "--json")
    assert told.count("(unpacked)") == 1
    found = layers(home, said)
    assert len(found) == 1 + len(lines)
    for number, layer in enumerate(found):
        assert differences(home / "rootfs", layer, tmp_path / f"fresh{number}") == []
    store = Store.open(home)
    for layer in found[1:]:  # what placing asks of a layer was told when it was made
        with layer.path.open("rb") as file:
            told_by_blob = look.look(file, layer.diff_id, "layer").to_json()
        assert store.facts.said(look.statement(layer.diff_id)) == told_by_blob
    store.close()


def test_an_ordinary_users_lines_lie_unpacked_too(tmp_path: Path) -> None:
    theirs = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))
    reason = cannot_be_ordinary(theirs)
    if reason is not None:
        pytest.skip(reason)
    try:
        folder = project(theirs / "project", LINES)
        done = as_ordinary_user(AS_THEMSELVES, str(folder), repr(TOOLS), home=theirs)
        assert done.exit_code == 0, done.complaint
        assert done.complaint.count("(unpacked)") == 1
        looked = as_ordinary_user(LOOK, json.dumps(json.loads(done.stdout)["layers"]), home=theirs)
        assert looked.exit_code == 0, looked.complaint
        assert looked.stdout.decode().split("\n")[:-1] == ["[]"] * (1 + len(LINES))
    finally:
        shutil.rmtree(theirs)


def test_fault1_killed_while_files_move_a_retry_makes_the_same_image(tmp_path: Path) -> None:
    many = "for d in 1 2 3 4 5 6; do cp -r /bin /d$d; for f in $(ls /bin); do ln /d$d/$f /d$d/$f.2; done; done"
    folder = project(tmp_path / "p", (many, *LINES[:2]))
    want, _ = call(folder, tiny_store(tmp_path / "whole", TOOLS), "build", "--json")
    home = tiny_store(tmp_path / "killed", TOOLS)
    moments, halves = random.Random(20261128), 0
    for _ in range(6):
        child = start(folder, home, "build", "--no-cache")
        until = time.monotonic() + 60
        while child.poll() is None and not list((home / "rootfs" / "layers").glob("*.tmp/fs/d?")):
            assert time.monotonic() < until
        time.sleep(moments.uniform(0, 0.005))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        assert violations(home) == []
        halves += bool(list((home / "rootfs" / "layers").glob("*.tmp")))
        for whole in (home / "rootfs" / "layers").glob("*[0-9]"):
            shutil.rmtree(whole)
    assert halves
    said, _ = call(folder, home, "build", "--json")
    assert json.loads(said)["digest"] == json.loads(want)["digest"]
    for number, layer in enumerate(layers(home, said)):
        assert differences(home / "rootfs", layer, tmp_path / f"fresh{number}") == []
    assert list((home / "rootfs" / "layers").glob("*.tmp")) == []


def test_moved_layers_are_collected_with_their_image(tmp_path: Path, home: Path) -> None:
    said, _ = call(project(tmp_path / "p", LINES[:2]), home, "build", "--json", "-t", "one")
    call(tmp_path, home, "gc")
    names = {path.name for path in (home / "rootfs" / "layers").iterdir() if path.is_dir()}
    assert names == {f"{layer.diff_id.hex}-{os.geteuid()}" for layer in layers(home, said)}
    call(tmp_path, home, "rmi", "one")
    call(tmp_path, home, "gc")
    left = {path.name for path in (home / "rootfs" / "layers").iterdir() if path.is_dir()}
    assert left == {f"{layers(home, said)[0].diff_id.hex}-{os.geteuid()}"}

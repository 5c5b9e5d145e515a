"""``capture`` and ``commit`` of shells, as users call them; nothing is installed, so this takes a second."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trainload.digest import Digest
from trainload.image.assemble import assemble
from trainload.store.store import Store
from trainload.testing.images import plan_of, put_layer
from trainload.testing.rootfs import programs_layer


class Trainload:
    """Calls ``trainload`` in a project's folder."""

    def __init__(self, folder: Path) -> None:
        self.home, self.folder = folder / "home", folder / "project"
        self.folder.mkdir()
        (self.folder / "train.py").write_text("print(1)\n")
        store = Store.open(self.home)
        stream = programs_layer()
        with store.writing():
            layer = put_layer(store, gzip.compress(stream, 1, mtime=0), Digest.sha256(stream))
            store.commit_image(assemble(plan_of("tiny", ("base",), ("sh",)), [layer]), ("tiny",))

    def __call__(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "TRAINLOAD_HOME": str(self.home), "LANG": "C.UTF-8"}
        return subprocess.run(
            [sys.executable, "-m", "trainload", *words], cwd=self.folder, env=environ, input=stdin,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def shell(self, script: str, *words: str) -> subprocess.CompletedProcess[str]:
        return self("shell", "-w", "/app", *words, "tiny", stdin=script)

    def kept(self) -> Any:  # noqa: ANN401 - a document
        return json.loads(self("--json", "capture", "--list").stdout)


@pytest.fixture
def trainload(tmp_path: Path) -> Trainload:
    return Trainload(tmp_path)


def test_a_shell_that_changed_nothing_that_matters_leaves_nothing(trainload: Trainload) -> None:
    done = trainload.shell("mkdir -p /tmp/x /root/.cache; echo x >/tmp/x/y; echo x >/root/.cache/z", "-u", "0")
    assert done.returncode == 0
    assert trainload.kept() == [] and trainload("-q", "ps", "-a").stdout == ""
    assert not any((trainload.home / "containers").glob("*"))


def test_rm_keeps_nothing_and_a_run_only_when_it_is_told_to(trainload: Trainload) -> None:
    trainload.shell("echo x >x", "--rm")
    trainload("run", "-w", "/app", "tiny", "sh", "-c", "echo x >x")
    assert trainload.kept() == []
    trainload("run", "--keep", "-w", "/app", "tiny", "sh", "-c", "echo x >x")
    assert len(trainload.kept()) == 1


def test_a_kept_shell_is_captured_listed_and_forgotten(trainload: Trainload) -> None:
    done = trainload.shell("echo 'print(2)' >new.py; echo k >.env; exit 3")
    assert done.returncode == 3
    (kept,) = trainload.kept()
    assert f"trainload rm {kept['id']} forgets it" in done.stderr
    assert trainload("capture", "--dry-run").stdout == "--- /dev/null\n+++ b/new.py\n@@ -0,0 +1 @@\n+print(2)\n"
    assert not (trainload.folder / "new.py").exists()
    assert trainload("capture", "--yes").returncode == 0
    assert (trainload.folder / "new.py").read_text() == "print(2)\n"
    assert not (trainload.folder / ".env").exists()
    assert trainload("rm", kept["id"]).returncode == 0
    assert trainload.kept() == [] and trainload("capture").returncode == 1


def test_a_conflict_writes_nothing_until_somebody_decides(trainload: Trainload) -> None:
    trainload.shell("echo 'print(3)' >train.py; echo x >other")
    done = trainload("capture", "--yes")
    assert done.returncode == 1 and "--skip train.py" in done.stderr
    assert not (trainload.folder / "other").exists()
    assert trainload("capture", "--yes", "--skip", "train.py").returncode == 0
    assert (trainload.folder / "train.py").read_text() == "print(1)\n"
    assert trainload("capture", "--yes", "--overwrite").returncode == 0
    assert (trainload.folder / "train.py").read_text() == "print(3)\n"


def test_commit_makes_an_image_of_it_and_warns(trainload: Trainload) -> None:
    token = "hf_" + "abcdefghijklmnopqrstuvwxyz0123456789"
    trainload.shell(f"echo one >one; mkdir .ssh; echo k >.ssh/id_rsa; echo {token} >notes; echo l >/tmp/log")
    done = trainload("--json", "commit", "frozen")
    assert done.returncode == 0, done.stderr
    assert "cannot be built again" in done.stderr
    told = json.loads(done.stdout)
    assert told["secrets"] == ["/app/.ssh", "/app/notes"]
    assert json.loads(told["captured"])["files"] == [".ssh/id_rsa", "notes", "one"]
    said = trainload("run", "-w", "/app", "frozen", "sh", "-c", "cat one; ls -A; ls /tmp").stdout
    assert said == "one\none\n"
    assert "trainload commit: 3 files" in trainload("history", "frozen").stdout


def test_gc_forgets_shells_when_it_is_to_forget_everything(trainload: Trainload) -> None:
    trainload.shell("echo x >x")
    trainload("gc")
    assert len(trainload.kept()) == 1
    trainload("gc", "--all", "--dry-run")
    assert len(trainload.kept()) == 1
    assert "changes that 1 shells kept: removed" in trainload("gc", "--all").stderr
    assert trainload.kept() == []


@pytest.mark.parametrize("words", [["capture", "nobody"], ["commit", "x"], ["commit", "a", "b", "c"]])
def test_what_is_not_there_is_told(trainload: Trainload, words: list[str]) -> None:
    done = trainload(*words)
    assert done.returncode in (1, 2) and done.stderr.startswith("error: ") and "Traceback" not in done.stderr

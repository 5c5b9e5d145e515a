"""``runs diff``, as users call it: records and images that really ran."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from trainload.image.assemble import assemble
from trainload.image.model import Layer
from trainload.store.store import Store
from trainload.testing.images import layer_bytes, plan_of, put_layer
from trainload.testing.rootfs import tiny_store

SITE = "opt/venv/lib/python3.11/site-packages"


class Trainload:
    """Calls ``trainload`` in a folder."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.home, self.folder = home, folder

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "TRAINLOAD_HOME": str(self.home), "LANG": "C.UTF-8"}
        return subprocess.run(
            [sys.executable, "-m", "trainload", *words], cwd=self.folder, env=environ, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def ran(self, *words: str) -> str:
        """The id of a run that was just made."""
        done = self("run", "--engine", "embedded", *words)
        assert done.returncode == 0, done.stderr
        return str(json.loads(self("runs", "--json").stdout)[0]["id"])

    def json(self, *words: str) -> Any:  # noqa: ANN401 - a document
        done = self(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def trainload(tmp_path_factory: pytest.TempPathFactory) -> Trainload:
    folder = tmp_path_factory.mktemp("runs-diff")
    return Trainload(tiny_store(folder / "home"), folder)


def above(home: Path, name: str, *contents: Mapping[str, bytes]) -> None:
    """An image: the tiny one, and layers on top of it."""
    store = Store.open(home)
    with store.writing():
        tiny = store.image(store.resolve("tiny"))
        below = [
            Layer(blob, diff_id, blob.size)
            for blob, diff_id in zip(tiny.manifest.layers, tiny.config.diff_ids, strict=True)
        ]
        layers = [*below, *(put_layer(store, *layer_bytes(content)) for content in contents)]
        titles = tuple(f"layer {number}" for number in range(len(layers)))
        store.commit_image(assemble(plan_of(name, titles), layers), (name,))
    store.close()


def test_two_runs_of_one_kind_are_the_same(trainload: Trainload) -> None:
    ids = [trainload.ran("tiny", "id") for _ in range(2)]
    assert trainload.json("runs", "diff", *ids)["same"] is True
    assert trainload("runs", "diff", *ids).stdout.splitlines()[-1] == "the runs are the same"


def test_command_options_and_names_of_variables_are_told_and_values_never(trainload: Trainload) -> None:
    old = trainload.ran("-e", "LR=hunter2", "tiny", "ls", "-d", "bin")
    new = trainload.ran("-e", "SEED=hunter2", "-v", "./data:/data", "-w", "/tmp", "tiny", "id", "-u")
    found = trainload.json("runs", "diff", old, new)
    assert found["command"] == {"old": ["ls", "-d", "bin"], "new": ["id", "-u"]}
    assert found["environment"] == {"gone": ["LR"], "new": ["SEED"]}
    assert {one["name"]: one["new"] for one in found["run"]} == {
        "mount /data": str(trainload.folder / "data"), "workdir": "/tmp",
    }  # fmt: skip
    told = trainload("runs", "diff", old, new).stdout
    assert "- ls -d bin" in told
    assert "  +  SEED" in told
    assert "hunter2" not in told + json.dumps(found)


def test_code_and_packages_come_from_the_images(trainload: Trainload) -> None:
    def image(name: str, version: str, code: bytes) -> None:
        """The tiny image's own layer, a package and a file of code."""
        info = f"{SITE}/torch-{version}.dist-info"
        listed = ["torch/lib.py", *(f"torch-{version}.dist-info/{name}" for name in ("METADATA", "RECORD"))]
        package = {
            f"{SITE}/torch/lib.py": version.encode(),
            f"{info}/METADATA": f"Name: torch\nVersion: {version}\n\n".encode(),
            f"{info}/RECORD": "".join(f"{path},,\n" for path in listed).encode(),
        }
        above(trainload.home, name, package, {"app/train.py": code, "app/__pycache__/train.pyc": code})

    image("old", "2.12", b"1")
    image("new", "2.13", b"22")
    old, new = trainload.ran("old", "cat", "/etc/group"), trainload.ran("new", "cat", "/etc/group")
    found = trainload.json("runs", "diff", old, new)["image"]
    assert found["code"] == [{"path": "/app/train.py", "old": 1, "new": 2}]
    assert [(one["name"], one["old"], one["new"]) for one in found["packages"]] == [("torch", "2.12", "2.13")]
    told = trainload("runs", "diff", old, new).stdout
    assert "/app/train.py" in told
    assert "2.12 → 2.13" in told
    assert f"/{SITE}/torch/lib.py" not in told
    assert f"/{SITE}/torch/lib.py" in trainload("runs", "diff", "--files", old, new).stdout


def test_an_image_that_is_gone_is_said_and_the_records_are_compared(trainload: Trainload) -> None:
    above(trainload.home, "gone", {"x": b"y"})
    old, new = trainload.ran("tiny", "id"), trainload.ran("gone", "cat", "/etc/group")
    trainload("rmi", "gone")
    trainload("gc")
    done = trainload("runs", "diff", old, new)
    assert done.returncode == 0, done.stderr
    assert f"of run {new} is not in the store any more" in done.stderr
    assert "+ cat /etc/group" in done.stdout


def test_a_run_that_is_not_there_is_told(trainload: Trainload) -> None:
    done = trainload("runs", "diff", "nothing", "nothing")
    assert done.returncode == 1
    assert "there is no run nothing" in done.stderr

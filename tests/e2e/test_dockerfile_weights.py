"""Weights beside a Dockerfile: locked in its lock, on top of what it makes, found where libraries look."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from trainload.testing.hub import MemoryHub
from trainload.testing.rootfs import PROGRAMS, tiny_store
from trainload.testing.verifier import violations

TRAINLOAD = Path(sys.executable).with_name("trainload")
BIG = random.Random(9).randbytes(17_000_000)
FILE = """\
FROM tiny
WORKDIR /app
ENV HF_HUB_OFFLINE=0
COPY say ./
CMD ["sh", "say"]
"""
SAY = """\
cat $HF_HOME/hub/models--org--tiny/snapshots/$(cat $HF_HOME/hub/models--org--tiny/refs/main)/config.json
cat best/data.bin
echo $HF_HUB_OFFLINE
"""
WEIGHTS = 'weights = ["hf://org/tiny", "best"]\n'


@dataclass
class Here:
    area: Path
    hub: MemoryHub

    @property
    def project(self) -> Path:
        return self.area / "project"

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "HF_ENDPOINT": self.hub.url, "TRAINLOAD_HOME": f"{self.area}/home"}
        return subprocess.run(
            [TRAINLOAD, *words], cwd=self.project, capture_output=True, text=True, check=False, env=env
        )

    def json(self, *words: str) -> Any:  # noqa: ANN401 - a document
        done = self.run(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Here]:
    if not PROGRAMS:
        pytest.skip("busybox is not installed")
    tiny_store(tmp_path / "home")
    (tmp_path / "project" / "best").mkdir(parents=True)
    for name, text in {
        "Dockerfile": FILE,
        "say": SAY,
        "trainload.toml": WEIGHTS,
        "best/data.bin": "mine\n",
    }.items():
        (tmp_path / "project" / name).write_text(text)
    with MemoryHub() as hub:
        hub.push("org/tiny", {"config.json": b'{"a": 1}\n', "model.safetensors": BIG})
        yield Here(tmp_path, hub)


def test_weights_lie_on_top_of_what_a_dockerfile_makes(here: Here) -> None:
    looked = here.json("plan")
    assert [one["title"] for one in looked[-1]["weights"]] == [
        "org/tiny: model.safetensors", "org/tiny: 1 file", "best: 1 file"
    ]  # fmt: skip
    built = here.json("build")
    assert [layer["title"] for layer in built["layers"]][-3:] == [one["title"] for one in looked[-1]["weights"]]
    done = here.run("run")
    assert done.returncode == 0, done.stderr
    assert done.stdout == '{"a": 1}\nmine\n0\n', "what the Dockerfile sets counts"
    lock = (here.project / "Dockerfile.lock").read_text()
    assert "weights hf://org/tiny@main" in lock and here.hub.url not in lock
    here.hub.push("org/tiny", {"config.json": b"{}"})
    asked = len(here.hub.server.requests)
    again = here.json("build", "--frozen")
    assert again["digest"] == built["digest"] and len(here.hub.server.requests) == asked
    (here.project / "say").write_text("echo other\n")
    changed = here.json("build", "--frozen")
    assert [one["title"] for one in changed["layers"] if one["how"] == "made"] == ["COPY say ./"]
    (here.project / "best" / "data.bin").write_text("another\n")
    refused = here.run("build", "--frozen")
    assert refused.returncode == 1 and "weights best" in refused.stderr
    assert violations(here.area / "home") == []


def test_mounted_weights_and_a_dockerfile(here: Here) -> None:
    inside = here.json("build")
    (here.project / "trainload.toml").write_text(
        'weights = [{ source = "hf://org/tiny", mount = true }, { source = "best", mount = true }]\n'
    )
    looked = here.json("plan")[-1]["weights"]
    assert [one["path"] for one in looked if one["path"]] == [
        "/app/best", "/opt/weights/huggingface/hub/models--org--tiny"
    ]  # fmt: skip
    built = here.json("build", "--frozen")
    assert sum(one["size"] for one in built["layers"]) < sum(one["size"] for one in inside["layers"]) - len(BIG)
    done = here.run("run")
    assert done.returncode == 0 and done.stdout == '{"a": 1}\nmine\n0\n', done.stderr
    assert violations(here.area / "home") == []


def test_two_places_for_weights_and_weights_that_go_in_twice_are_told(here: Here) -> None:
    (here.project / "Dockerfile").write_text(FILE.replace("COPY say", "COPY ."))
    done = here.run("build")
    assert done.returncode == 0 and "best goes in twice" in done.stderr and ".dockerignore" in done.stderr
    (here.project / ".dockerignore").write_text("best\n")
    done = here.run("build")
    assert done.returncode == 0 and "goes in twice" not in done.stderr
    (here.project / "Dockerfile").write_text(FILE.replace("ENV ", "ENV HF_HOME=/root/.cache "))
    for verb in ("plan", "build"):
        refused = here.run(verb)
        assert refused.returncode == 1 and "sets HF_HOME to another place" in refused.stderr
    handed = here.run("build", "--engine", "buildah")
    assert handed.returncode == 2 and "buildah cannot put the weights in" in handed.stderr

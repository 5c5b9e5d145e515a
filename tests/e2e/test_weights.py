"""Weights of a hub in an image: its real client finds them offline, and an ordinary user cannot change them."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.peers import DockerRegistry

from trainload.testing.hub import MemoryHub
from trainload.testing.server import Reply
from trainload.testing.verifier import violations

TRAINLOAD = Path(sys.executable).with_name("trainload")
BIG = random.Random(2).randbytes(17_000_000)
FILES = {"config.json": b'{"model_type": "tiny"}', "model.safetensors": BIG, "sub/vocab.txt": b"a\n"}
SCRIPT = """
import json, os, sys
from huggingface_hub import hf_hub_download, snapshot_download, scan_cache_dir
top = snapshot_download("org/tiny")
assert snapshot_download("org/tiny", local_files_only=True) == top
found = {
    "config": open(hf_hub_download("org/tiny", "config.json")).read(),
    "size": os.path.getsize(hf_hub_download("org/tiny", "model.safetensors", revision="main")),
    "files": sorted(os.listdir(top)),
    "sub": open(top + "/sub/vocab.txt").read(),
    "repositories": [one.repo_id for one in scan_cache_dir().repos],
    "user": os.getuid(),
}
try:
    open(top + "/config.json", "a")
    found["written"] = True
except OSError:
    found["written"] = False
os.makedirs(os.environ["HF_HOME"] + "/modules", exist_ok=True)
json.dump(found, sys.stdout)
"""


@dataclass
class Here:
    """A project, a hub, and a store."""

    area: Path
    hub: MemoryHub

    def run(self, *words: str, network: bool = True) -> subprocess.CompletedProcess[str]:
        endpoint = self.hub.url if network else "http://127.0.0.1:9"
        env = {**os.environ, "HF_ENDPOINT": endpoint, "HF_TOKEN": "hf_hush", "TRAINLOAD_HOME": f"{self.area}/home"}
        return subprocess.run(
            [TRAINLOAD, *words], cwd=self.area / "project", capture_output=True, text=True, check=False, env=env
        )

    def json(self, *words: str, network: bool = True) -> dict[str, Any]:
        done = self.run(*words, "--json", network=network)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    area = tmp_path_factory.mktemp("weights")
    (area / "project").mkdir()
    (area / "project" / "requirements.txt").write_text("huggingface-hub\n")
    (area / "project" / "train.py").write_text(SCRIPT)
    (area / "project" / "trainload.toml").write_text('weights = ["hf://org/tiny"]\n')
    with MemoryHub(token="hf_hush") as hub:
        hub.push("org/tiny", FILES, gated=True)
        yield Here(area, hub)


def test_the_hubs_own_client_finds_them_offline(here: Here) -> None:
    done = here.run("run")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "config": FILES["config.json"].decode(), "size": len(BIG),
        "files": ["config.json", "model.safetensors", "sub"],
        "sub": "a\n", "repositories": ["org/tiny"], "user": 1000, "written": False,
    }  # fmt: skip
    assert violations(here.area / "home") == []


def test_nothing_is_asked_again_and_a_branch_that_moved_changes_nothing(here: Here) -> None:
    before = here.json("build")
    here.hub.push("org/tiny", {**FILES, "config.json": b"{}"}, gated=True)
    asked = len(here.hub.server.requests)
    again = here.json("build", "--frozen", network=False)
    assert again["digest"] == before["digest"] and {layer["how"] for layer in again["layers"]} == {"already there"}
    assert len(here.hub.server.requests) == asked
    changed = here.json("lock", "--upgrade", "org/tiny")
    assert [(one["part"], one["name"]) for one in changed["changes"]["packages"]] == [
        ("weights", "hf://org/tiny@main")
    ]
    after = here.json("build")
    moved = [layer["title"] for layer in after["layers"] if layer["how"] != "already there"]
    assert moved == ["org/tiny: 2 files"]


def test_mounted_weights_are_no_part_of_the_image_and_go_along_with_it(here: Here) -> None:
    config = here.area / "project" / "trainload.toml"
    usual, before = here.json("build"), config.read_text()
    config.write_text('weights = [{ source = "hf://org/tiny", mount = true }]\n')
    planned = here.json("plan")
    assert [one["path"] for one in planned["mounts"]] == ["/opt/weights/huggingface/hub/models--org--tiny"]
    built = here.json("build")
    assert sum(layer["size"] for layer in built["layers"]) < sum(one["size"] for one in usual["layers"]) - len(BIG)
    assert not any("org/tiny" in layer["title"] for layer in built["layers"])
    done = here.run("run")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["size"] == len(BIG) and found["files"] == ["config.json", "model.safetensors", "sub"]
    assert found["written"] is False and found["repositories"] == ["org/tiny"]
    mounts = here.json("size", "project")["mounts"]
    assert [one["path"] for one in mounts] == [planned["mounts"][0]["path"]] and mounts[0]["stored"] > len(BIG)
    told = here.json("diff", usual["digest"], "project")["settings"]
    assert [(one["name"], one["old"]) for one in told] == [(f"weights at {mounts[0]['path']}", None)]
    here.run("gc")
    assert here.run("run").returncode == 0
    assert violations(here.area / "home") == []
    config.write_text(before)
    here.json("build")


@pytest.mark.skipif(bool(DockerRegistry.missing()), reason=DockerRegistry.missing())
def test_mounted_weights_are_pushed_and_pulled_with_the_image(here: Here) -> None:
    config = here.area / "project" / "trainload.toml"
    before = config.read_text()
    config.write_text('name = "apart"\nweights = [{ source = "hf://org/tiny", mount = true }]\n')
    with DockerRegistry(here.area / "registry") as registry:
        target = f"{registry.host}/team/apart:1"
        pushed = here.json("build", "--push", target)["pushed"][0]
        assert pushed["sent"] > len(BIG)
        again = here.json("push", f"{registry.host}/team/apart:2")
        assert again["deliveries"][0]["sent"] < 100_000 if "deliveries" in again else True
        home = {"TRAINLOAD_HOME": str(here.area / "other")}
        for words in (["pull", target], ["run", target]):
            done = subprocess.run(
                [TRAINLOAD, *words], capture_output=True, text=True, check=False, cwd=here.area,
                env={**os.environ, **home},
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["size"] == len(BIG)
        assert violations(here.area / "other") == []
    config.write_text(before)


def size_of(path: Path) -> int:
    """Of a file that may be moved away at any time."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def test_a_build_that_was_killed_is_gone_on_from(here: Here, tmp_path: Path) -> None:
    config = here.area / "project" / "trainload.toml"
    before = config.read_text()
    config.write_text('name = "cut"\nweights = ["hf://org/other"]\n')
    big = random.Random(3).randbytes(20_000_000)
    here.hub.push("org/other", {"model.safetensors": big})
    place, tag = here.hub.place(big), f'"{hashlib.sha256(big).hexdigest()}"'
    assert here.run("lock").returncode == 0
    here.hub.cdn.serve(place, Reply(big, etag=tag, cut=15_000_000, stall=True))
    env = {**os.environ, "HF_ENDPOINT": here.hub.url, "TRAINLOAD_HOME": f"{here.area}/home"}
    build = subprocess.Popen(
        [TRAINLOAD, "build"], cwd=here.area / "project", env=env, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    incoming, end = here.area / "home" / "incoming", time.monotonic() + 240
    while not any(size_of(path) > 8_000_000 for path in incoming.glob("layer-*")):
        assert time.monotonic() < end and build.poll() is None
        time.sleep(0.05)
    build.kill()
    build.wait()
    here.hub.cdn.serve(place, Reply(big, etag=tag))
    done = here.run("build")
    assert done.returncode == 0, done.stderr
    last = here.hub.cdn.asked(place)[-1].headers
    assert int(last["range"].removeprefix("bytes=").removesuffix("-")) > 6_000_000 and last["if-range"] == tag
    config.write_text(before)
    assert violations(here.area / "home", clean=True) == []


def test_no_token_and_no_host_of_the_hub_is_kept(here: Here) -> None:
    here.json("build")
    lock = (here.area / "project" / "pylock.trainload.toml").read_text()
    assert "hf_hush" not in lock and here.hub.url not in lock
    image = here.run("inspect", "project").stdout
    assert "hf_hush" not in image and here.hub.url not in image
    assert not [one for one in here.hub.cdn.requests if "authorization" in one.headers]


def test_plan_and_size_show_them(here: Here) -> None:
    planned = here.json("plan")
    weights = [layer for layer in planned["layers"] if layer["kind"] == "weights"]
    assert [layer["title"] for layer in weights] == ["org/tiny: model.safetensors", "org/tiny: 2 files"]
    assert weights[0]["size"] == len(BIG) and weights[0]["inputs"][0]["name"] == "model.safetensors"
    here.json("build")
    assert here.json("size", "project")["kinds"]["weights"]["unpacked"] == len(BIG)


class _Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("exit 1",)


def test_pickles_are_told_with_what_they_import_or_refused(here: Here) -> None:
    project = here.area / "project"
    (project / "best").mkdir()
    (project / "best" / "bad.pt").write_bytes(pickle.dumps(_Evil()))
    (project / "best" / "good.pkl").write_bytes(pickle.dumps({"a": [1.0]}))
    (project / "best" / "data.bin").write_bytes(b"GGUF" + bytes(100))
    (project / "trainload.toml").write_text('weights = ["best"]\ncommand = ["ls", "-l", "best"]\n')
    told = [line for line in here.run("plan").stderr.splitlines() if "pickle" in line]
    assert len(told) == 1 and "best" not in told[0] and "bad.pt, data.bin, good.pkl" in told[0]
    done = here.run("run")
    assert done.returncode == 0 and "bad.pt" in done.stdout, done.stderr
    assert "bad.pt: a pickle that imports" in done.stderr and f"{os.system.__module__}.system" in done.stderr
    assert "good.pkl: a pickle, though" in done.stderr and "data.bin" not in done.stderr
    assert "bad.pt: a pickle that imports" in here.run("plan").stderr
    (project / "trainload.toml").write_text('weights = ["best"]\nweights-pickles = "refuse"\n')
    refused = here.run("build")
    assert refused.returncode == 1 and "bad.pt is a pickle" in refused.stderr and "good.pkl" in refused.stderr
    (project / "trainload.toml").write_text(
        'weights = [{ source = "best", include = ["*.bin"] }]\nweights-pickles = "refuse"\n'
    )
    assert here.run("build").returncode == 0


def test_another_checkpoint_makes_the_lock_stale_and_code_does_not(here: Here) -> None:
    project = here.area / "project"
    (project / "trainload.toml").write_text('weights = ["best/data.bin"]\n')
    first = here.json("build")
    (project / "train.py").write_text("print('other')\n")
    again = here.json("build", "--frozen")
    assert [one["title"] for one in again["layers"] if one["how"] == "made"] == ["code, 5 files"]
    (project / "best" / "data.bin").write_bytes(b"GGUF" + bytes(101))
    assert here.run("build", "--frozen").returncode == 1
    assert here.json("build")["digest"] not in (first["digest"], again["digest"])

"""A team's base, projects that extend it, and a matrix: the same layers, made once, pushed once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.peers import DockerRegistry, Meter

from trainload.testing.verifier import violations

TRAINLOAD = Path(sys.executable).with_name("trainload")
needs_registry = pytest.mark.skipif(bool(DockerRegistry.missing()), reason=DockerRegistry.missing())
TEAM = """
name = "vision"
[variants.base]
requirements = ["base.txt"]
include = []
[variants.cv]
inherits = "base"
requirements = ["cv.txt"]
include = ["**"]
[matrix]
variant = ["base", "cv"]
python = ["3.11"]
"""


@dataclass
class Team:
    area: Path

    def run(self, folder: str, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [TRAINLOAD, *words], cwd=self.area / folder, capture_output=True, text=True, check=False,
            env={**os.environ, "TRAINLOAD_HOME": str(self.area / "home")},
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        return done

    def json(self, folder: str, *words: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run(folder, *words, "--json").stdout)
        return found


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    area = tmp_path_factory.mktemp("team")
    for name in ("team", "project"):
        (area / name).mkdir()
    (area / "team" / "trainload.toml").write_text(TEAM)
    (area / "team" / "base.txt").write_text("numpy\n")
    (area / "team" / "cv.txt").write_text("einops\n")
    (area / "team" / "train.py").write_text("import einops, numpy; print(numpy.__name__, einops.__name__)\n")
    yield Team(area)
    assert violations(area / "home") == []


def digests(built: dict[str, Any]) -> list[str]:
    return [layer["digest"] for layer in built["layers"]]


def test_a_variant_shares_the_layers_of_what_it_inherits_from_and_runs(team: Team) -> None:
    base, cv = team.json("team", "build", "--variant", "base"), team.json("team", "build", "--variant", "cv")
    assert base["references"] == ["vision:base"] and cv["references"] == ["vision:cv"]
    assert digests(cv)[:3] == digests(base)[:3], "base, environment, numpy"
    assert [one["how"] for one in cv["layers"]].count("made") == 2, "einops and the code"
    assert team.run("team", "run", "--variant", "cv").stdout == "numpy einops\n"
    assert {path.name for path in (team.area / "team").glob("pylock*")} == {
        "pylock.trainload-base.toml", "pylock.trainload-cv.toml",
    }  # fmt: skip


def test_each_lock_is_stale_by_itself(team: Team) -> None:
    team.json("team", "build", "--variant", "cv")
    (team.area / "team" / "cv.txt").write_text("einops\nclick\n")
    team.run("team", "lock", "--check", "--variant", "base")
    refused = team.run("team", "lock", "--check", "--variant", "cv", code=1)
    assert "pylock.trainload-cv.toml" in refused.stderr
    assert "no variant nlp" in team.run("team", "build", "--variant", "nlp", code=1).stderr
    (team.area / "team" / "cv.txt").write_text("einops\n")


def test_a_matrix_builds_all_and_tells_what_they_share(team: Team) -> None:
    assert team.run("team", "matrix", "--list").stdout.split() == ["base-py3.11", "cv-py3.11"]
    refused = team.run("team", "matrix", "--list", "--python", "3.9", code=2).stderr
    assert "no combination is left" in refused and "base-py3.11, cv-py3.11" in refused
    config = team.area / "team" / "trainload.toml"
    config.write_text(TEAM + 'exclude = [{ variant = "cv", python = "3.12" }]\n')
    assert "matrix.exclude[0]: there is no such combination" in team.run("team", "matrix", "--list", code=1).stderr
    config.write_text(TEAM + 'acc = ["cpu"]\n')
    assert "did you mean matrix.accelerator?" in team.run("team", "matrix", "--list", code=1).stderr
    config.write_text(TEAM)
    made = team.json("team", "matrix")
    first, second = made["images"]
    assert (first["tag"], second["variant"], second["python"]) == ("base-py3.11", "cv", "3.11")
    assert first["lock"] == "pylock.trainload-base-py311.toml" and (team.area / "team" / first["lock"]).exists()
    assert first["digest"] != second["digest"] and second["references"] == ["vision:cv-py3.11"]
    assert made["size"] < made["sum"] and first["shared"] > 0.99 * first["size"]
    table = team.run("team", "matrix", "--variant", "cv").stdout
    assert second["digest"] in table and first["digest"] not in table
    again = team.json("team", "matrix", "--frozen")
    assert [one["digest"] for one in again["images"]] == [first["digest"], second["digest"]]


def test_one_combination_that_fails_does_not_keep_the_others_from_being_built(team: Team) -> None:
    (team.area / "team" / "cv.txt").write_text("no-such-package-of-ours==9\n")
    failed = team.run("team", "matrix", "--json", code=1)
    images = json.loads(failed.stdout)["images"]
    assert images[0]["digest"] and "no-such-package-of-ours" in images[1]["error"]
    told = team.run("team", "matrix", code=1)
    assert "the combination cv-py3.11 failed" in told.stderr and images[0]["digest"] in told.stdout
    (team.area / "team" / "cv.txt").write_text("einops\n")


@needs_registry
def test_a_project_that_extends_the_base_pushes_its_own_layers_only(team: Team) -> None:
    with DockerRegistry(team.area / "registry") as registry, Meter(registry.port) as meter:
        base = team.json("team", "build", "--variant", "base", "--push", f"{meter.host}/team/base:1")
        project = team.area / "project"
        (project / "trainload.toml").write_text(f'base = "{meter.host}/team/base:1"\nrequirements = ["r.txt"]\n')
        (project / "r.txt").write_text("numpy\neinops\n")
        (project / "train.py").write_text("import einops, numpy; print(numpy.__file__)\n")
        team.json("project", "build")
        before = meter.moved
        built = team.json("project", "build", "--push", f"{meter.host}/team/app:1")
        whole = sum(layer["size"] for layer in built["layers"])
        own = sum(layer["size"] for layer in built["layers"][len(base["layers"]) :])
        assert digests(built)[: len(base["layers"])] == digests(base)
        assert own < 400_000 and whole > 10_000_000
        assert meter.moved - before < own + 60_000
        sent = sum(one["sent"] for one in built["pushed"])
        assert sent < own + 60_000, "layers of the base are mounted"
        assert "/opt/venv/" in team.run("project", "run").stdout
    with DockerRegistry(team.area / "other") as registry:
        pushed = team.json("team", "matrix", "--push", f"{registry.host}/team/vision")
        assert [one["pushed"][0]["references"][0].rpartition(":")[2] for one in pushed["images"]] == [
            "base-py3.11", "cv-py3.11",
        ]  # fmt: skip
        assert pushed["images"][1]["pushed"][0]["sent"] < 1_000_000

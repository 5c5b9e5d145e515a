"""Two machines and a registry: what one has made the other neither makes nor fetches."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.peers import DockerRegistry, Meter

from trainload.testing.verifier import images, violations

TRAINLOAD = Path(sys.executable).with_name("trainload")
NOWHERE = "http://127.0.0.1:1"
pytestmark = pytest.mark.skipif(bool(DockerRegistry.missing()), reason=DockerRegistry.missing())


@dataclass
class Team:
    """A project, a registry whose bytes are counted, and machines that are folders."""

    area: Path
    meter: Meter

    @property
    def project(self) -> Path:
        return self.area / "project"

    def home(self, machine: str) -> Path:
        return self.area / machine

    def run(self, machine: str, *words: str, cut_off: bool = False) -> dict[str, Any]:
        """What a command prints. ``cut_off``: only this machine can be reached, so no file can be fetched."""
        far = {"http_proxy": NOWHERE, "https_proxy": NOWHERE, "all_proxy": NOWHERE, "no_proxy": "127.0.0.1"}
        done = subprocess.run(
            [TRAINLOAD, *words, "--json"], cwd=self.project, capture_output=True, text=True, check=False,
            env={**os.environ, **(far if cut_off else {}), "TRAINLOAD_HOME": str(self.home(machine))},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    area = tmp_path_factory.mktemp("team")
    with DockerRegistry(area / "registry") as registry, Meter(registry.port) as meter:
        made = Team(area, meter)
        made.project.mkdir()
        (made.project / "requirements.txt").write_text("click\nnumpy\n")
        (made.project / "train.py").write_text("print('trained')\n")
        made.run("first", "build", "--push", f"{meter.host}/team/app:v1", "--cache-to", f"{meter.host}/team/cache")
        yield made
    shutil.rmtree(area)


def ways(built: dict[str, Any]) -> list[str]:
    return [layer["how"] for layer in built["layers"]]


@pytest.mark.parametrize(
    ("machine", "words"),
    [("by the image", ("app:v2",)), ("by the cache", ("other:v1", "--cache-from"))],
    ids=["image", "cache"],
)
def test_a_machine_that_has_nothing_builds_and_pushes_with_kilobytes(
    team: Team, machine: str, words: tuple[str, ...]
) -> None:
    target, *flag = words
    cache = [*flag, f"{team.meter.host}/team/cache"] if flag else []
    before = team.meter.moved
    built = team.run(
        machine, "build", "--frozen", "--push", f"{team.meter.host}/team/{target}", *cache, cut_off=True
    )
    assert team.meter.moved - before < 200_000
    assert ways(built)[:-1] == ["in registry"] * (len(built["layers"]) - 1)
    assert list((team.home(machine) / "files" / "sha256").glob("*")) == []
    assert violations(team.home(machine)) == []
    assert images(team.home(machine)) == {}
    assert built["digest"] == team.run("first", "build")["digest"]


def test_an_edit_is_pushed_from_there_and_runs_where_it_is_pulled(team: Team) -> None:
    target = f"{team.meter.host}/team/app:edited"
    train = team.project / "train.py"
    train.write_text("print('trained again')\n")
    before = team.meter.moved
    team.run("second", "push", target, cut_off=True)
    assert team.meter.moved - before < 200_000
    team.run("third", "pull", target)
    ran = subprocess.run(
        [TRAINLOAD, "run", target], capture_output=True, text=True, check=False, cwd=team.area,
        env={**os.environ, "TRAINLOAD_HOME": str(team.home("third"))},
    )  # fmt: skip
    assert (ran.returncode, ran.stdout) == (0, "trained again\n"), ran.stderr
    assert violations(team.home("third")) == []


def test_where_bytes_are_needed_layers_are_fetched_and_not_made(team: Team) -> None:
    built = team.run("fourth", "build", "--frozen", "--cache-from", f"{team.meter.host}/team/cache", cut_off=True)
    assert ways(built)[:-1] == ["fetched"] * (len(built["layers"]) - 1)
    assert built["references"] == ["project"]
    assert violations(team.home("fourth")) == []
    named = team.run("fourth", "build", "-t", "mine", "--push", f"{team.meter.host}/team/app:v1", cut_off=False)
    assert named["references"] == ["mine"]


def test_layers_are_made_again_and_compared_also_in_a_registry(team: Team) -> None:
    target = f"{team.meter.host}/team/app:audit"
    team.run("first", "push", target)
    found = team.run("first", "verify", "--rebuild", target)["layers"]
    assert {one["verdict"] for one in found} == {"equal"}
    assert len(found) >= 3


def test_no_cache_makes_all_layers_again(team: Team) -> None:
    again = team.run("first", "build", "--no-cache", "--push", f"{team.meter.host}/team/app:v1")
    assert set(ways(again)) == {"made"}

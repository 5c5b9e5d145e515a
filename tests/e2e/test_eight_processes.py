"""Eight processes build, push, pull and collect garbage in one store at once: nothing lost, nothing made twice."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.peers import DockerRegistry

from trainload.reference import Reference
from trainload.registry.client import Client
from trainload.system.http import Http
from trainload.testing.verifier import images, violations

TRAINLOAD = Path(sys.executable).with_name("trainload")
ROUNDS = 2
BUILDERS, PULLERS, COLLECTORS = range(4), range(2), range(2)
pytestmark = pytest.mark.skipif(bool(DockerRegistry.missing()), reason=DockerRegistry.missing())


class Site:
    """Projects with one lock, an image in a registry, and a home that has every file and no layer."""

    def __init__(self, area: Path, host: str) -> None:
        self.area, self.host = area, host
        seed = self.project("seed")
        (seed / "trainload.toml").write_text('profile = "distroless"\n')
        (seed / "requirements.txt").write_text("click\n")
        self.edit(seed, 0)
        self.digest: str = self.run(area / "seed home", seed, "build", "--push", f"{host}/team/seed:v1")["digest"]
        self.home = area / "home"
        shutil.copytree(area / "seed home" / "files", self.home / "files", copy_function=os.link)
        for number in BUILDERS:
            shutil.copytree(seed, area / f"project{number}")

    def project(self, name: str) -> Path:
        folder = self.area / name
        folder.mkdir(exist_ok=True)
        return folder

    def edit(self, project: Path, number: int) -> None:
        (project / "train.py").write_text(f"print({project.name!r}, {number})\n")

    def run(self, home: Path, folder: Path, *words: str) -> Any:  # noqa: ANN401 - what JSON holds
        done = subprocess.run(
            [TRAINLOAD, *words, "--json"], cwd=folder, capture_output=True, text=True, check=False, timeout=500,
            env={**os.environ, "TRAINLOAD_HOME": str(home)},
        )  # fmt: skip
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return json.loads(done.stdout)

    def here(self, folder: Path, *words: str) -> Any:  # noqa: ANN401
        return self.run(self.home, folder, *words)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with DockerRegistry(tmp_path / "registry") as registry:
        yield Site(tmp_path, registry.host)


def test_eight_processes_in_one_store_lose_nothing_and_make_nothing_twice(site: Site) -> None:
    over = threading.Event()

    def build(number: int) -> list[Any]:
        project, built = site.area / f"project{number}", []
        for turn in range(ROUNDS):
            site.edit(project, turn)
            built.append(site.here(project, "build", "-t", f"app{number}:v{turn}", "--push", name(number, turn)))
        return built

    def name(number: int, turn: int) -> str:
        return f"{site.host}/team/app{number}:v{turn}"

    def pull(number: int) -> None:
        while not over.is_set():
            site.here(site.area, "pull", f"{site.host}/team/seed:v1")

    def collect(number: int) -> None:
        while not over.is_set():
            site.here(site.area, "gc")

    with ThreadPoolExecutor(8) as pool:
        others: list[Future[None]] = [pool.submit(pull, number) for number in PULLERS]
        others += [pool.submit(collect, number) for number in COLLECTORS]
        try:
            built = [one for number in pool.map(build, BUILDERS) for one in number]
        finally:
            over.set()
        for other in others:
            other.result()

    assert violations(site.home) == []
    named = images(site.home)
    client = Client(Http())
    for number in BUILDERS:
        for turn in range(ROUNDS):
            digest = built[number * ROUNDS + turn]["digest"]
            assert named[f"app{number}:v{turn}"] == digest
            assert str(client.manifest(Reference.parse(name(number, turn))).digest) == digest
    assert named[f"{site.host}/team/seed:v1"] == site.digest
    assert site.here(site.area, "verify", "--full")["findings"] == []
    made = Counter(layer["digest"] for one in built for layer in one["layers"] if layer["how"] == "made")
    assert max(made.values()) == 1, "a layer was made twice"
    shared = {layer["digest"] for layer in built[0]["layers"][:-1]}
    assert len(made) <= len(shared) + len(built)

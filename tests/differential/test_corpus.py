"""Dockerfiles as tutorials show them, built here and by another builder: the same image, and it does the same.

A part of the corpus in every run of the tests; all of it, in Docker too, with ``./dev differential``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.conda_python import version
from tests.differential import systems
from tests.differential.builders import by_buildah, by_docker, run
from tests.differential.cases import CASES, Case
from tests.differential.compare import config_differences, differing, read_layout
from tests.differential.workshop import CORPUS, Workshop
from tests.peers import Docker, DockerRegistry

WHOLE = "TRAINLOAD_WHOLE_CORPUS" in os.environ
TAKEN = [case for case in CASES if WHOLE or not case.whole]
MISSING = (
    DockerRegistry.missing()
    or ("" if shutil.which("buildah") else "buildah is not installed")
    or (systems.missing() or Docker.missing() if WHOLE else "")
)
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: files are given to other users"),
    pytest.mark.skipif(bool(MISSING), reason=MISSING),
]
ASK = """
import sys, time, urllib.request
end = time.monotonic() + 240
while True:
    try:
        sys.stdout.write(urllib.request.urlopen(sys.argv[1]).read().decode())
        break
    except OSError:
        if time.monotonic() > end:
            raise
        time.sleep(0.1)
"""


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    version()  # skips where this machine's Python cannot be moved into an image
    folder = tmp_path_factory.mktemp("corpus")
    with Workshop(folder, folder / "systems" if WHOLE else None) as made:
        yield made


@pytest.mark.parametrize("case", TAKEN, ids=lambda case: case.name)
def test_the_same_image_which_does_the_same(case: Case, workshop: Workshop) -> None:
    bases = workshop.bases_of(case.name)
    for base in bases:
        workshop.base(base)
    at = workshop.folder / case.name
    shutil.copytree(CORPUS / case.name, at)
    built = json.loads(workshop.trainload(at, "build", "--json", *FLAGS, "-t", f"{case.name}:ours").stdout)
    ours = read_layout(workshop.folder / "ours", built["digest"])
    placed = _placed(workshop, at)
    again = json.loads(workshop.trainload(at, "build", "--json", *FLAGS, "--frozen").stdout)
    assert again["digest"] == built["digest"]
    (at / "Dockerfile.lock").unlink()  # what only we write is not copied there
    in_docker = WHOLE and "--mount" not in (at / "Dockerfile").read_text()
    theirs = by_docker(workshop, at, bases) if in_docker else by_buildah(workshop, at)
    assert ours.installed() == theirs.installed()
    assert {path: pair for path, pair in differing(ours, theirs).items() if path not in case.differs} == {}
    assert list(config_differences(ours, theirs)) == []
    assert placed >= case.placed
    _check_behaviour(case, workshop, at, in_docker=in_docker)


FLAGS = ("-f", "Dockerfile", "--network", "host")


def _placed(workshop: Workshop, at: Path) -> int:
    stages = json.loads(workshop.trainload(at, "plan", "--json", *FLAGS).stdout)
    rows = [row for stage in stages for row in stage["lines"] if row["text"].upper().startswith("RUN")]
    assert all(row["present"] for row in rows)  # the plan tells what the build did
    return sum(row["how"] == "placed" for row in rows)


def _check_behaviour(case: Case, workshop: Workshop, at: Path, *, in_docker: bool) -> None:
    ours = f"{case.name}:ours"
    docker = ["docker", "-H", workshop.docker.host] if in_docker else []
    if in_docker:
        target = f"{workshop.registry.host}/ours/{case.name}:1"
        workshop.trainload(at, "-q", "push", ours, target)
        run([*docker, "pull", "-q", target], at)
        images = (target, case.name)
    if case.port:
        url = f"http://127.0.0.1:{case.port}{case.path}"
        assert case.answers in _answer_here(workshop, at, ours, url)
        if in_docker:
            one, other = (_answer_in_docker(docker, at, image, url, healthy=case.healthy) for image in images)
            assert case.answers in one
            assert one == other
        return
    assert case.says in workshop.trainload(at, "-q", "run", ours).stdout
    if in_docker:
        ended, expected = (_ended(docker, at, image) for image in images)
        assert case.says in ended[1]
        assert ended == expected


def _answer_here(workshop: Workshop, at: Path, image: str, url: str) -> str:
    name = at.name
    workshop.trainload(at, "-q", "run", "-d", "--name", name, "--network", "none", image)
    try:
        return workshop.trainload(at, "-q", "exec", name, "python3", "-c", ASK, url).stdout
    finally:
        workshop.trainload(at, "-q", "rm", "--force", name)


def _answer_in_docker(docker: list[str], at: Path, image: str, url: str, *, healthy: bool) -> str:
    one = run([*docker, "run", "-d", "--network", "none", image], at)
    try:
        answer = run([*docker, "exec", one, "python3", "-c", ASK, url], at)
        if healthy:
            _wait(lambda: run([*docker, "inspect", "-f", "{{.State.Health.Status}}", one], at) == "healthy")
        return answer
    finally:
        run([*docker, "rm", "-f", one], at)


def _ended(docker: list[str], at: Path, image: str) -> tuple[int, str]:
    done = subprocess.run(
        [*docker, "run", "--rm", "--network", "none", image], cwd=at, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout


def _wait(ready: Callable[[], bool]) -> None:
    end = time.monotonic() + 240
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.2)

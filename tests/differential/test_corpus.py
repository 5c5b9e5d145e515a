"""Dockerfiles as tutorials show them, built here and by another builder: the same image, and it does the same.

A part of the corpus in every run of the tests; all of it, in Docker too, with ``./dev differential``.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conda_python import version
from tests.differential import systems
from tests.differential.behaviour import behave_the_same_in_docker, behaves_here
from tests.differential.builders import by_buildah, by_docker
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
    pytest.mark.timeout(3600 if WHOLE else 600),  # a hundred packages, twice
]


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
    theirs = by_docker(workshop, at, bases, buildkit=case.buildkit) if WHOLE else by_buildah(workshop, at)
    differs = {} if case.buildkit and WHOLE else case.differs
    assert ours.installed() == theirs.installed()
    assert {path: pair for path, pair in differing(ours, theirs).items() if path not in differs} == {}
    assert list(config_differences(ours, theirs)) == []
    assert placed >= case.placed
    behaves_here(case, workshop, at)
    if WHOLE:
        behave_the_same_in_docker(case, workshop, at)


FLAGS = ("-f", "Dockerfile", "--network", "host")


def _placed(workshop: Workshop, at: Path) -> int:
    stages = json.loads(workshop.trainload(at, "plan", "--json", *FLAGS).stdout)
    rows = [row for stage in stages for row in stage["lines"] if row["text"].upper().startswith("RUN")]
    assert all(row["present"] for row in rows)  # the plan tells what the build did
    return sum(row["how"] == "placed" for row in rows)

"""Images into Docker and Podman: only what is missing, and into those that cannot reach us, too."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.peers import OtherNetwork, Podman, Sshd, docker_daemon

from trainload.events import Ended, Event, Said
from trainload.image.model import Image
from trainload.run.engines import table
from trainload.run.engines.table import Site
from trainload.store.store import Store
from trainload.testing.images import make

NAME = "team/digits:v1"
SMALL = 100_000


class Told:
    """Keeps the sentences, and the bytes that moved."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.moved = 0

    def report(self, event: Event, /) -> None:
        if isinstance(event, Said):
            self.lines.append(str(event.text))
        if isinstance(event, Ended):
            self.moved += event.size or 0


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store.open(tmp_path_factory.mktemp("deliver") / "home")


def image(store: Store, code: bytes) -> Image:
    """8 MB that do not compress, and a layer of code."""
    with store.writing():
        return make(store, NAME, {"torch": random.Random(1).randbytes(8_000_000)}, {"train.py": code})


def deliver(store: Store, image: Image, engine: str, **environ: str) -> Told:
    told = Told()
    site = Site(store, {**os.environ, **environ}, told)
    table.engine(engine, site).deliver(image, NAME)
    return told


def twice(store: Store, engine: str, **environ: str) -> list[str]:
    """What is said when an image gets there, then one with other code, which moves little, then that again."""
    first = image(store, b"1")
    told = deliver(store, first, engine, **environ)
    assert told.moved > 8_000_000
    assert known(store, engine, **environ) == first.manifest.config.digest.hex
    second = image(store, b"2")
    again = deliver(store, second, engine, **environ)
    assert again.moved < SMALL
    assert known(store, engine, **environ) == second.manifest.config.digest.hex
    assert deliver(store, second, engine, **environ).moved == 0
    return told.lines


def known(store: Store, engine: str, **environ: str) -> str:
    """The id that ``trainload images --engine`` shows beside the name."""
    done = subprocess.run(
        [sys.executable, "-m", "trainload", "--home", str(store.home), "images", "--engine", engine, "--json"],
        env={**os.environ, **environ}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    (named,) = [one for one in found if one["names"]]
    assert named["names"] == ["localhost/trainload/team/digits:v1"]
    assert named["size"] > 8_000_000
    return str(named["id"]).removeprefix("sha256:")


@contextmanager
def docker(network: OtherNetwork | None = None) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="docker-") as short, docker_daemon(Path(short), network) as host:
        yield host


def test_docker_here_pulls_what_it_lacks(store: Store) -> None:
    with docker() as host:
        assert twice(store, "docker", DOCKER_HOST=host) == []


def test_docker_in_another_network_gets_an_archive_and_that_is_said(store: Store) -> None:
    with OtherNetwork() as network, docker(network) as host:
        said = twice(store, "docker", DOCKER_HOST=host)
    assert said == ["Docker runs in another network and cannot pull from here: it gets an archive of what it lacks"]


def test_docker_on_another_machine_gets_an_archive_and_that_is_said(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with docker() as host, Sshd(tmp_path / "s", ["docker"], {"DOCKER_HOST": host}) as sshd:
        monkeypatch.setenv("PATH", sshd.environ["PATH"])
        environ = {"DOCKER_HOST": f"ssh://{sshd.address()}"}
        said = deliver(store, image(store, b"1"), "docker", **environ)
        second = image(store, b"2")
        assert deliver(store, second, "docker", **environ).moved < SMALL
        assert known(store, "docker", DOCKER_HOST=host) == second.manifest.config.digest.hex
        text = f"Docker is at ssh://{sshd.address()}, not here: it gets an archive of what it lacks"
        assert said.lines == [text]


def test_podman_here_reads_the_store(store: Store, tmp_path: Path) -> None:
    with Podman(tmp_path / "podman") as podman:
        first = image(store, b"1")
        assert deliver(store, first, "podman", **podman.environ).lines == []
        assert known(store, "podman", **podman.environ) == first.manifest.config.digest.hex
        second = image(store, b"2")
        deliver(store, second, "podman", **podman.environ)
        assert known(store, "podman", **podman.environ) == second.manifest.config.digest.hex


def test_podmans_service_elsewhere_gets_an_archive_and_that_is_said(store: Store, tmp_path: Path) -> None:
    """As on macOS, and with ``podman --remote``: it reads no file of ours."""
    with Podman(tmp_path / "podman") as podman, tempfile.TemporaryDirectory(prefix="podman-") as short:
        address = f"unix://{short}/sock"
        service = subprocess.Popen(
            ["podman", "system", "service", "--time=0", address], env={**os.environ, **podman.environ},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            while not Path(short, "sock").exists() and service.poll() is None:
                time.sleep(0.1)
            said = twice(store, "podman", **podman.environ, CONTAINER_HOST=address)
        finally:
            service.terminate()
            service.wait()
    assert said == ["Podman runs elsewhere: it gets an archive of what it lacks"]

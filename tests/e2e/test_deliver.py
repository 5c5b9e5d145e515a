"""Images into Docker and Podman: only what is missing, and into those that cannot reach us, too."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.peers import Docker, OtherNetwork, Podman, Sshd, docker_daemon, short_folder

from trainload.errors import TrainloadError
from trainload.events import Ended, Event, Said
from trainload.image.model import Image
from trainload.run.engines import table
from trainload.run.engines.docker import legs
from trainload.run.engines.docker.api import Api, ApiError
from trainload.run.engines.docker.deliver import Delivery
from trainload.run.engines.table import Site
from trainload.store.store import Store
from trainload.system.daemon import Address, DaemonError
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


def layered(store: Store) -> Image:
    """Four layers of a megabyte."""
    contents = [{str(number): random.Random(number).randbytes(1_000_000)} for number in range(4)]
    with store.writing():
        return make(store, NAME, *contents)


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
    with short_folder("docker-") as short, docker_daemon(Path(short), network) as host:
        yield host


class Containerds(Api):
    """Says of itself that it has containerd's image store, which the distribution's Docker has not yet."""

    def get(self, path: str, **query: object) -> Any:  # noqa: ANN401 - a document
        found = super().get(path, **query)
        kind = {"DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}
        return {**found, **kind} if path == "/info" else found


class Watched(Api):
    """Calls ``before`` before an archive goes out, with its number."""

    def __init__(self, address: Address, before: Callable[[int], object]) -> None:
        super().__init__(address)
        self._before, self.loads = before, 0

    def progress(
        self, path: str, body: Iterable[bytes] | None = None, headers: Mapping[str, str] | None = None,
        **query: object,
    ) -> Iterator[Mapping[str, Any]]:  # fmt: skip
        if path == "/images/load":
            self.loads += 1
            self._before(self.loads)
        return super().progress(path, body, headers, **query)


def through(api: Api, store: Store, image: Image) -> Told:
    told = Told()
    Delivery(api, store, told, image, NAME).run()
    return told


def listed(host: str) -> list[str]:
    """Ids of every image of a Docker."""
    return [one["Id"] for one in Api(Address(host)).get("/images/json", all=1)]


def test_docker_here_is_given_what_it_lacks(store: Store) -> None:
    with docker() as host:
        assert twice(store, "docker", DOCKER_HOST=host) == []


def test_an_engine_that_dies_in_the_midst_keeps_what_came_and_gets_only_the_rest(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(legs, "_LEG", 1)  # each layer is one
    image = layered(store)
    with Docker(tmp_path / "docker", driver="vfs") as daemon:
        # the third begins when the first has arrived
        api = Watched(Address(daemon.host), lambda number: daemon.kill() if number == 3 else None)
        with pytest.raises(DaemonError):
            through(api, store, image)
    with Docker(tmp_path / "docker", driver="vfs") as daemon:
        assert set(listed(daemon.host)) <= legs.parts(image)
        assert listed(daemon.host)
        told = through(Api(Address(daemon.host)), store, image)
        assert told.lines == []
        assert 1_000_000 < told.moved <= image.size - image.manifest.layers[0].size
        assert listed(daemon.host) == [str(image.manifest.config.digest)]  # nothing of the way is left


def test_layers_that_were_seen_there_and_have_gone_meanwhile_travel_after_all(store: Store) -> None:
    first, second = image(store, b"1"), image(store, b"2")
    with docker() as host:
        deliver(store, first, "docker", DOCKER_HOST=host)

        def prune(number: int) -> None:
            if number == 1:
                Api(Address(host)).delete(f"/images/{first.manifest.config.digest}", force=1)

        api = Watched(Address(host), prune)
        assert through(api, store, second).moved > 8_000_000
        assert api.loads == 2
        assert listed(host) == [str(second.manifest.config.digest)]


def test_inflated_layers_that_docker_does_not_take_are_pulled_and_that_is_said(store: Store) -> None:
    whole = image(store, b"1")

    def refuse(number: int) -> None:
        raise ApiError(500, "no space left on device")

    with docker() as host:
        told = through(Watched(Address(host), refuse), store, whole)
        assert known(store, "docker", DOCKER_HOST=host) == whole.manifest.config.digest.hex
    text = "Docker did not take inflated layers (no space left on device): another way is tried"
    assert told.lines == [text]


def test_a_blob_that_is_not_whole_leaves_nothing_in_docker(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "home")
    broken = image(store, b"1")
    blob = store.path(broken.manifest.layers[0].digest)
    before = blob.stat()
    blob.chmod(0o644)
    with blob.open("r+b") as file:
        file.seek(4_000_000)
        file.write(bytes(1000))
    os.utime(blob, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a failing disk does, nobody is told
    with docker() as host:
        with pytest.raises(TrainloadError):
            deliver(store, broken, "docker", DOCKER_HOST=host)
        assert listed(host) == []


def test_dockers_containerd_store_pulls_what_it_lacks(store: Store) -> None:
    with docker() as host:
        api = Containerds(Address(host))
        told = through(api, store, image(store, b"1"))
        assert (told.lines, told.moved > 8_000_000) == ([], True)
        second = image(store, b"2")
        assert through(api, store, second).moved < SMALL
        assert known(store, "docker", DOCKER_HOST=host) == second.manifest.config.digest.hex


def test_one_in_another_network_gets_an_archive_and_that_is_said(store: Store) -> None:
    with OtherNetwork() as network, docker(network) as host:
        api = Containerds(Address(host))
        told = through(api, store, image(store, b"1"))
        assert through(api, store, image(store, b"2")).moved < SMALL
    text = "Docker runs in another network and cannot pull from here: it gets an archive of what it lacks"
    assert told.lines == [text]


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


def listens(place: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as one:
        return one.connect_ex(str(place)) == 0


def test_podmans_service_elsewhere_gets_an_archive_and_that_is_said(store: Store, tmp_path: Path) -> None:
    """As on macOS, and with ``podman --remote``: it reads no file of ours."""
    with Podman(tmp_path / "podman") as podman, short_folder("podman-") as short:
        address = f"unix://{short}/sock"
        service = subprocess.Popen(
            ["podman", "system", "service", "--time=0", address], env={**os.environ, **podman.environ},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            while not listens(Path(short, "sock")) and service.poll() is None:
                time.sleep(0.1)
            said = twice(store, "podman", **podman.environ, CONTAINER_HOST=address)
        finally:
            service.terminate()
            service.wait()
    assert said == ["Podman runs elsewhere: it gets an archive of what it lacks"]

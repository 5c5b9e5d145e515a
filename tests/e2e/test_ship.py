"""``ship`` between us and a real sshd: into its Docker, its Podman, and a folder where there is neither."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from tests.e2e.calling import small_disk
from tests.peers import ENV, PATH, OtherNetwork, Sshd, call, docker_daemon, podman_of_our_own, short_folder

from trainload.address import Address
from trainload.destinations.cargo import Cargo, from_store
from trainload.destinations.ship.engines import Choice
from trainload.destinations.ship.ship import Shipment, Shipped, Target
from trainload.errors import HostError
from trainload.events import SILENT, Event, Reporter, Said
from trainload.image.model import Image
from trainload.store.store import Store
from trainload.system import scratch
from trainload.testing.images import make
from trainload.testing.people import with_more_ids
from trainload.testing.verifier import images, violations

TRAINLOAD = (sys.executable, "-m", "trainload")
NAME = "team/digits:v1"
SMALL = 100_000
PYTHON = "/usr/bin/python3"
IN_FLIGHT = (2 << 20) + (256 << 10)
"""Bytes that a cut may cost: OpenSSH's window (CHAN_SES_WINDOW_DEFAULT), what its beginning takes, our frame."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store.open(tmp_path_factory.mktemp("ship") / "home")


@pytest.fixture(scope="module")
def image(store: Store) -> Image:
    """8 MB that do not compress, and a layer of code."""
    with store.writing():
        return make(store, NAME, {"torch": random.Random(1).randbytes(8_000_000)}, {"train.py": b"1"})


@pytest.fixture(scope="module")
def large(store: Store) -> Image:
    """50 MB that do not compress, in two layers."""
    parts = [random.Random(number).randbytes(25_000_000) for number in (1, 2)]
    with store.writing():
        return make(store, "team/large:v1", {"torch": parts[0]}, {"weights": parts[1]}, {"train.py": b"1"})


@pytest.fixture(scope="module")
def edited(store: Store, image: Image) -> Image:
    """After a change of the code: the name moves to it."""
    with store.writing():
        torch = random.Random(1).randbytes(8_000_000)
        return make(store, "team/digits:v2", {"torch": torch}, {"train.py": b"2"})


def ship(store: Store, sshd: Sshd, image: Image, *, name: str = NAME, port: int | None = None,
         choice: Choice = Choice.AUTO, folder: str | None = None, dry_run: bool = False,
         reporter: Reporter = SILENT) -> Shipped:  # fmt: skip
    target = Target(Address.parse(sshd.address(port)), choice, folder)
    cargo: Cargo = from_store(store, image.digest)
    return Shipment(cargo, name, target, reporter, sshd.environ, dry_run).run()


class Told:
    """Keeps the sentences of a shipment."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def report(self, event: Event, /) -> None:
        if isinstance(event, Said):
            self.lines.append(str(event.text))


def home_there(sshd: Sshd) -> Path:
    return sshd.home / ".local/share/trainload"


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """A server with python3 and no engine."""
    with Sshd(tmp_path_factory.mktemp("bare"), [PYTHON]) as sshd:
        yield sshd


@pytest.fixture
def plain(bare: Sshd) -> Sshd:
    """The same with an empty home."""
    shutil.rmtree(bare.home)
    bare.home.mkdir()
    return bare


def test_a_server_with_python_only_gets_the_image_and_later_only_what_changed(
    plain: Sshd, store: Store, image: Image, edited: Image
) -> None:
    first = ship(store, plain, image)
    assert (first.way, first.where) == (Choice.STORE, str(home_there(plain)))
    assert first.sent >= 8_000_000
    assert violations(home_there(plain), clean=True) == []
    dry = ship(store, plain, edited, name="team/digits:v2", dry_run=True)
    assert 0 < dry.sent < SMALL < dry.size
    assert images(home_there(plain)) == {NAME: str(image.digest)}
    second = ship(store, plain, edited, name="team/digits:v2")
    assert second.sent == dry.sent
    assert ship(store, plain, edited, name="team/digits:v2").sent == 0
    assert violations(home_there(plain), clean=True) == []
    assert images(home_there(plain)) == {NAME: str(image.digest), "team/digits:v2": str(edited.digest)}


def test_an_ordinary_user_there_with_python_only(store: Store, image: Image, edited: Image) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    with scratch.folder("ship") as folder:  # pytest's own is closed to others
        folder.chmod(0o755)
        person = with_more_ids(folder)
        with Sshd(folder / "s", [PYTHON], person=person) as sshd:
            assert ship(store, sshd, image).sent > 8_000_000
            assert ship(store, sshd, edited, name="team/digits:v2").sent < SMALL
            assert home_there(sshd).stat().st_uid == person.uid
            assert images(home_there(sshd)) == {NAME: str(image.digest), "team/digits:v2": str(edited.digest)}
            with pytest.raises(HostError, match="may not be written"):
                ship(store, sshd, image, folder="/root/store")


def test_a_trainload_there_finds_the_image_and_gc_keeps_it(plain: Sshd, store: Store, image: Image) -> None:
    ship(store, plain, image)
    there = Store.open(home_there(plain))
    assert there.names().untouched
    assert there.resolve(NAME) == image.digest
    with there.writing():
        make(there, "local:1", {"x": b"y"})
    there.gc()
    assert there.verify(full=True).findings == ()
    there.close()
    ship(store, plain, image, name="other:1")
    assert set(images(home_there(plain))) == {NAME, "other:1", "local:1"}


class Cutter:
    """A line to the server that breaks after some bytes from us."""

    def __init__(self, port: int, limit: int) -> None:
        self._target, self._left = port, limit
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._sock.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Cutter:
        self._thread.start()
        return self

    def __exit__(self, *about: object) -> None:
        self._thread.join(60)
        self._sock.close()

    def _serve(self) -> None:
        near, _ = self._sock.accept()
        with near, suppress(OSError), socket.create_connection(("127.0.0.1", self._target)) as far:
            back = threading.Thread(target=_copy, args=(far, near))
            back.start()
            while self._left > 0 and (data := near.recv(min(self._left, 65536))):
                far.sendall(data)
                self._left -= len(data)
            far.shutdown(socket.SHUT_WR)  # it reads what came; a reset would throw that away
            near.shutdown(socket.SHUT_RDWR)
            back.join()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    """To the end of ``source``, also when nobody listens any more."""
    with suppress(ConnectionResetError):
        while data := source.recv(65536):
            with suppress(OSError):
                sink.sendall(data)


def test_S04_a_connection_cut_at_any_byte_leaves_no_half_image_and_is_gone_on_from(
    plain: Sshd, store: Store, large: Image
) -> None:
    chance = random.Random(7)
    passed = lost = 0
    for _ in range(20):
        limit = chance.choice([chance.randrange(1, 20_000), chance.randrange(20_000, 9_000_000)])
        before = kept(plain)
        with Cutter(plain.port, limit) as line, pytest.raises(HostError) as caught:
            ship(store, plain, large, port=line.port)
        plain.wait_for_sessions()
        assert caught.value.retryable, str(caught.value)
        assert violations(home_there(plain)) == []
        assert not (home_there(plain) / "index.json").exists() or images(home_there(plain)) == {}
        assert kept(plain) >= before
        passed += limit
        lost += min(limit, IN_FLIGHT)
    sent = ship(store, plain, large).sent
    assert passed + sent < blobs_of(large) + lost + IN_FLIGHT
    assert lost < passed / 2, "what is kept shows"
    assert violations(home_there(plain), clean=True) == []
    assert images(home_there(plain)) == {NAME: str(large.digest)}


def kept(sshd: Sshd) -> int:
    """Bytes of blobs that came, whole or in part."""
    folders = [home_there(sshd) / "incoming", home_there(sshd) / "blobs/sha256"]
    return sum(path.stat().st_size for folder in folders if folder.exists() for path in folder.iterdir())


def test_S04_what_came_before_a_cut_is_hashed_again_and_sent_anew_when_it_is_not_right(
    plain: Sshd, store: Store, image: Image
) -> None:
    layer = image.manifest.layers[0]
    incoming = home_there(plain) / "incoming"
    incoming.mkdir(parents=True)
    (incoming / layer.digest.hex).write_bytes(bytes(1_000_000))
    assert ship(store, plain, image).sent > 8_000_000
    assert violations(home_there(plain), clean=True) == []


def test_S07_what_a_login_prints_is_no_answer(plain: Sshd, store: Store, image: Image) -> None:
    (plain.home / ".bashrc").write_text(
        "printf 'Welcome! \\033[31m\\n{\"done\": \"open\"}\\n'; (sleep 0.3; printf 'a job says\\nhello') &\n"
    )
    ship(store, plain, image)
    assert violations(home_there(plain), clean=True) == []


def test_S03_a_folder_may_be_called_anything(plain: Sshd, store: Store, image: Image) -> None:
    name = "a b'c\"d;$(touch x)`y`\n%h \\ é"
    shipped = ship(store, plain, image, folder=f"~/{name}")
    assert shipped.where == str(plain.home / name)
    assert images(plain.home / name) == {NAME: str(image.digest)}
    assert sorted(os.listdir(plain.home)) == [name]


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        ("mkdir -p $S && echo hi > $S/file", "something else than a store"),
        ("mkdir -p $S && echo '{\"version\":99}' > $S/trainload.json", "written by a newer Trainload"),
        ("mkdir -p $(dirname $S) && echo > $S", "something else than a store"),
        ('mkdir -p $S/blobs && echo "{}" > $S/oci-layout', "something else than a store"),
    ],
)
def test_S06_a_folder_that_is_no_store_of_ours_is_left_alone(
    plain: Sshd, store: Store, image: Image, prepare: str, message: str
) -> None:
    subprocess.run(["sh", "-c", prepare], env={**ENV, "S": str(home_there(plain))}, check=True)
    before = subprocess.run(["find", str(plain.home)], capture_output=True, check=True).stdout
    with pytest.raises(HostError, match=message):
        ship(store, plain, image)
    assert subprocess.run(["find", str(plain.home)], capture_output=True, check=True).stdout == before


def test_S06_another_users_store_is_refused(plain: Sshd, store: Store, image: Image) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    ship(store, plain, image)
    os.chown(home_there(plain), 12345, 12345)
    with pytest.raises(HostError, match="belongs to another user"):
        ship(store, plain, image)


def test_S06_a_full_disk_is_told_before_the_first_byte(plain: Sshd, store: Store, image: Image) -> None:
    with small_disk(home_there(plain), "2m"):
        with pytest.raises(HostError, match="the disk of .* is full") as caught:
            ship(store, plain, image)
        assert "bytes free" in str(caught.value.got)
        assert os.listdir(home_there(plain) / "incoming") == []


def test_S02_an_unknown_key_is_refused_with_its_fingerprint_and_how_to_add_it(
    plain: Sshd, store: Store, image: Image
) -> None:
    fingerprint = call("ssh-keygen", "-lf", str(plain.folder / "host.pub")).split()[1]
    plain.write_client(known="")
    try:
        with pytest.raises(HostError, match="is not known here") as caught:
            ship(store, plain, image)
        assert caught.value.got == fingerprint
        assert "StrictHostKeyChecking=ask" in str(caught.value.hints[1])
        assert (plain.folder / "known").read_text() == ""
        other = (plain.folder / "user.pub").read_text()
        plain.write_client(known=f"peer {other}")
        with pytest.raises(HostError, match="is not the one it had") as caught:
            ship(store, plain, image)
        assert caught.value.got == fingerprint
    finally:
        plain.write_client()
    assert not home_there(plain).exists()


def test_who_is_not_let_in_is_told_what_ssh_said(plain: Sshd, store: Store, image: Image) -> None:
    target = Target(Address("127.0.0.1", "nobody", plain.port))
    with pytest.raises(HostError, match="does not let us in") as caught:
        Shipment(from_store(store, image.digest), NAME, target, environ=plain.environ).run()
    assert any("Permission denied" in line for line in caught.value.said)


def test_what_an_account_says_that_runs_nothing_is_told(tmp_path: Path, store: Store, image: Image) -> None:
    settings = ["ForceCommand echo this account is closed"]
    with Sshd(tmp_path / "s", [PYTHON], settings=settings) as sshd:
        with pytest.raises(HostError, match="ended too early") as caught:
            ship(store, sshd, image)
        assert "this account is closed" in caught.value.said


def test_several_images_at_once_are_all_there_afterwards(plain: Sshd, store: Store, image: Image) -> None:
    names = [f"many:{number}" for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: ship(store, plain, image, name=name), names))
    assert violations(home_there(plain), clean=True) == []
    assert sorted(images(home_there(plain))) == names


def test_a_server_without_python_is_told_so(tmp_path: Path, store: Store, image: Image) -> None:
    with Sshd(tmp_path / "s") as sshd, pytest.raises(HostError, match="has no python3"):
        ship(store, sshd, image)


def test_a_python_that_only_seems_to_be_there_is_told_so(tmp_path: Path, store: Store, image: Image) -> None:
    broken = tmp_path / "python3"
    broken.write_text("#!/bin/sh\necho 'pyenv: python3: command not found' >&2\nexit 127\n")
    broken.chmod(0o755)
    with Sshd(tmp_path / "s", [str(broken)]) as sshd:
        with pytest.raises(HostError, match="does not start") as caught:
            ship(store, sshd, image)
        assert "pyenv: python3: command not found" in caught.value.said


def pyenv(version: str) -> str:
    found = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python3"))
    if not found:
        pytest.skip(f"no Python {version} here")
    return str(found[-1])


def test_a_python_that_is_too_old_is_told_so(tmp_path: Path, store: Store, image: Image) -> None:
    with Sshd(tmp_path / "s", [pyenv("3.6")]) as sshd, pytest.raises(HostError, match="is too old") as caught:
        ship(store, sshd, image)
    assert caught.value.got == "Python 3.6"


@pytest.mark.parametrize("version", ["3.8", "3.10"])
def test_the_runner_works_in_old_pythons(tmp_path: Path, store: Store, image: Image, version: str) -> None:
    with Sshd(tmp_path / "s", [pyenv(version)]) as sshd:
        ship(store, sshd, image)
        assert violations(home_there(sshd), clean=True) == []
        assert images(home_there(sshd)) == {NAME: str(image.digest)}


def script(folder: Path, name: str, *argv: str, environ: Mapping[str, str] | None = None) -> str:
    """A program that calls another one."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    lines = [f"export {key}='{value}'" for key, value in {"PATH": PATH, **(environ or {})}.items()]
    path.write_text("\n".join(["#!/bin/sh", *lines, f'exec {" ".join(argv)} "$@"']) + "\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def docker() -> Iterator[str]:
    """The address of a Docker's socket; a socket's path has at most 107 bytes."""
    with short_folder("docker-") as short, docker_daemon(Path(short)) as host:
        yield host


def test_docker_there_pulls_what_it_lacks(
    tmp_path: Path, store: Store, image: Image, edited: Image, docker: str
) -> None:
    with Sshd(tmp_path / "s", ["docker", PYTHON], {"DOCKER_HOST": docker}) as sshd:
        assert ship(store, sshd, image, dry_run=True).sent > 8_000_000
        first = ship(store, sshd, image)
        assert first.way is Choice.DOCKER
        assert first.sent > 8_000_000
        dry = ship(store, sshd, edited, dry_run=True)
        second = ship(store, sshd, edited)
        assert dry.sent < SMALL
        assert second.sent < SMALL
        listed = call("docker", "-H", docker, "image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split()
        assert [name for name in listed if name != "<none>:<none>"] == [NAME]
        assert docker_id(docker) == str(edited.manifest.config.digest)
        assert not home_there(sshd).exists()


def test_S04_a_cut_while_docker_there_gets_an_image_leaves_none_and_what_came_is_kept(
    tmp_path: Path, store: Store, large: Image, edited: Image, docker: str
) -> None:
    chance = random.Random(11)
    with Sshd(tmp_path / "s", ["docker", PYTHON], {"DOCKER_HOST": docker}) as sshd:
        cache = sshd.home / ".cache/trainload/ship"
        ship(store, sshd, edited)  # what it has stays
        passed = lost = 0
        for _ in range(10):
            limit = chance.choice([chance.randrange(1, 30_000), chance.randrange(30_000, 9_000_000)])
            with Cutter(sshd.port, limit) as line, pytest.raises(HostError) as caught:
                ship(store, sshd, large, port=line.port)
            sshd.wait_for_sessions()
            assert caught.value.retryable, str(caught.value)
            assert docker_id(docker) == str(edited.manifest.config.digest)
            passed += limit
            lost += min(limit, IN_FLIGHT)
        sent = ship(store, sshd, large).sent
        assert passed + sent < blobs_of(large) + lost + IN_FLIGHT
        assert lost < passed / 2, "what is kept shows"
        assert docker_id(docker) == str(large.manifest.config.digest)
        assert [path for path in cache.rglob("*") if path.parent.name in ("sha256", "incoming", "leases")] == []


def test_two_at_once_into_docker_are_both_there_afterwards(
    tmp_path: Path, store: Store, image: Image, edited: Image, docker: str
) -> None:
    with Sshd(tmp_path / "s", ["docker", PYTHON], {"DOCKER_HOST": docker}) as sshd, ThreadPoolExecutor(2) as pool:
        one = pool.submit(ship, store, sshd, image, name="one:1")
        two = pool.submit(ship, store, sshd, edited, name="two:1")
        assert (one.result().way, two.result().way) == (Choice.DOCKER, Choice.DOCKER)
        names = {"one:1": image, "two:1": edited}
        for name, shipped in names.items():
            (seen,) = json.loads(call("docker", "-H", docker, "image", "inspect", name))
            assert seen["Id"] == str(shipped.manifest.config.digest)
        assert not list((sshd.home / ".cache/trainload/ship/blobs/sha256").iterdir())


def test_where_nothing_can_be_kept_docker_pulls_through_the_tunnel(
    tmp_path: Path, store: Store, image: Image, docker: str
) -> None:
    with Sshd(tmp_path / "s", ["docker", PYTHON], {"DOCKER_HOST": docker}) as sshd:
        (sshd.home / ".cache").write_text("no folder")
        said = Told()
        assert ship(store, sshd, image, reporter=said).way is Choice.DOCKER
        assert any("nothing can be kept" in line for line in said.lines), said.lines
        assert docker_id(docker) == str(image.manifest.config.digest)


FORBIDS = ["AllowTcpForwarding no"]


def test_docker_there_gets_an_archive_of_what_it_lacks_where_forwarding_is_forbidden(
    tmp_path: Path, store: Store, image: Image, edited: Image, docker: str
) -> None:
    with Sshd(tmp_path / "s", ["docker"], {"DOCKER_HOST": docker}, FORBIDS) as sshd:
        said = Told()
        first = ship(store, sshd, image, reporter=said)
        assert (first.way, first.sent) == (Choice.DOCKER, blobs_of(image))
        assert any("forbids forwarding" in line for line in said.lines)
        assert ship(store, sshd, edited, dry_run=True).sent < SMALL
        assert ship(store, sshd, edited).sent < SMALL
        assert docker_id(docker) == str(edited.manifest.config.digest)
        assert ship(store, sshd, image).sent < SMALL
        assert docker_id(docker) == str(image.manifest.config.digest)


def blobs_of(image: Image) -> int:
    """Bytes of its blobs."""
    return image.manifest.config.size + sum(layer.size for layer in image.manifest.layers)


def test_a_server_without_internet_pulls_through_the_connection(
    tmp_path: Path, store: Store, image: Image, edited: Image
) -> None:
    with ExitStack() as stack:
        short = stack.enter_context(short_folder("docker-"))
        network = stack.enter_context(OtherNetwork())
        host = stack.enter_context(docker_daemon(Path(short), network))
        sshd = stack.enter_context(
            Sshd(tmp_path / "s", ["docker", PYTHON, "ip"], {"DOCKER_HOST": host}, network=network)
        )
        routes = call("ssh", *sshd.words(), "ip route", env=sshd.environ)
        assert "default" not in routes
        assert network.address in routes
        first = ship(store, sshd, image)
        assert (first.way, docker_id(host)) == (Choice.DOCKER, str(image.manifest.config.digest))
        second = ship(store, sshd, edited)
        assert second.sent < SMALL
        assert docker_id(host) == str(edited.manifest.config.digest)
        assert ship(store, sshd, image, choice=Choice.STORE).way is Choice.STORE
        assert violations(home_there(sshd), clean=True) == []


@pytest.mark.parametrize("programs", [["docker"], ["docker", PYTHON]])
def test_a_docker_there_that_runs_in_another_network_gets_an_archive(
    tmp_path: Path, store: Store, image: Image, edited: Image, programs: list[str]
) -> None:
    """As Docker without root does: its daemon has a loopback of its own."""
    with ExitStack() as stack:
        short = stack.enter_context(short_folder("docker-"))
        network = stack.enter_context(OtherNetwork())
        host = stack.enter_context(docker_daemon(Path(short), network))
        sshd = stack.enter_context(Sshd(tmp_path / "s", programs, {"DOCKER_HOST": host}))
        said = Told()
        assert ship(store, sshd, image, reporter=said).way is Choice.DOCKER
        assert any("runs in another network" in line for line in said.lines)
        assert docker_id(host) == str(image.manifest.config.digest)
        assert ship(store, sshd, edited).sent < SMALL
        assert docker_id(host) == str(edited.manifest.config.digest)


def docker_id(host: str) -> str:
    (seen,) = json.loads(call("docker", "-H", host, "image", "inspect", NAME))
    return str(seen["Id"])


@pytest.mark.parametrize("settings", [[], FORBIDS])
def test_podman_there_takes_what_it_lacks(
    tmp_path: Path, store: Store, image: Image, edited: Image, settings: list[str]
) -> None:
    with podman_of_our_own(tmp_path) as (argv, environ):
        program = script(tmp_path / "bin", "podman", *argv, environ=environ)
        with Sshd(tmp_path / "s", [program, PYTHON], settings=settings) as sshd:
            for limit in () if settings else (20_000, 3_000_000, 3_500_000):
                with Cutter(sshd.port, limit) as line, pytest.raises(HostError) as caught:
                    ship(store, sshd, image, port=line.port)
                sshd.wait_for_sessions()
                assert caught.value.retryable, str(caught.value)
                assert call(*argv, "image", "ls", "--quiet", env=environ) == "", "never a half image"
            first = ship(store, sshd, image)
            assert first.way is Choice.PODMAN
            assert settings or first.sent < 7_000_000, "what came before a cut is kept"
            dry = ship(store, sshd, edited, dry_run=True)
            second = ship(store, sshd, edited)
            assert dry.sent < SMALL
            assert second.sent < SMALL
        seen = json.loads(call(*argv, "image", "inspect", NAME, env=environ))[0]
        assert seen["Id"] == edited.manifest.config.digest.hex


def test_an_engine_that_may_not_be_used_is_told_and_a_folder_takes_the_image(
    tmp_path: Path, store: Store, image: Image
) -> None:
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\necho 'permission denied while trying to connect to the daemon' >&2\nexit 1\n")
    docker.chmod(0o755)
    with Sshd(tmp_path / "s", [str(docker), PYTHON]) as sshd:
        with pytest.raises(HostError, match="docker on .* cannot be used") as caught:
            ship(store, sshd, image, choice=Choice.DOCKER)
        assert "usermod -aG docker" in str(caught.value.hints[0])
        argv = [*TRAINLOAD, "--home", str(store.home), "ship", NAME, sshd.address(), "--json"]
        done = subprocess.run(argv, env=sshd.environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "usermod -aG docker" in done.stderr
        assert json.loads(done.stdout)["engine"] == "store"

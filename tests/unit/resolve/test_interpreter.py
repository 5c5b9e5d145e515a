"""A Python the base lacks: a stand-in of python-build-standalone served on loopback."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainload.errors import FetchError, LockError
from trainload.lock.model import Url
from trainload.resolve import interpreter
from trainload.resolve.fetch import Fetcher
from trainload.resolve.interpreter import Build, fill, known_builds, mirrored, resolve_interpreter
from trainload.resolve.places import Places
from trainload.resolve.uv import Uv
from trainload.store.store import Store
from trainload.system.http import Http, Retry
from trainload.testing.server import FaultServer

BUILDS = {"amd64": Build("3.12.8", "20250106"), "arm64": Build("3.12.8", "20250106")}
ARCHIVE = b"a stand-in"


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as made:
        yield made


def http() -> Http:
    # a proxy that is not there: nothing but loopback is asked, whatever the machine can reach
    return Http(sleep=lambda seconds: None, retry=Retry(tries=1), proxies={"https": "http://127.0.0.1:9"})


def pattern(server: FaultServer) -> str:
    return server.url + "/{tag}/cpython-{version}+{tag}-{triple}-install_only_stripped.tar.gz"


def release(server: FaultServer) -> str:
    """Serve a release with an archive per architecture; returns the pattern."""
    lines = []
    for machine in ("x86_64", "aarch64"):
        name = f"cpython-3.12.8+20250106-{machine}-unknown-linux-gnu-install_only_stripped.tar.gz"
        server.serve(f"/20250106/{name}", ARCHIVE)
        lines.append(f"{hashlib.sha256(ARCHIVE).hexdigest()}  {name}\n")
    server.serve("/20250106/SHA256SUMS", ("0" * 64 + "  other.tar.gz\n" + "".join(lines)).encode())
    return pattern(server)


def test_an_archive_is_locked_by_its_releases_hash_and_canonical_address(server: FaultServer) -> None:
    made = resolve_interpreter("3.12", ["amd64", "arm64"], BUILDS, http(), [release(server)])
    assert made.version == "3.12.8" and list(made.archives) == ["amd64", "arm64"]
    file = made.archives["arm64"]
    assert file.name == "cpython-3.12.8+20250106-aarch64-unknown-linux-gnu-install_only_stripped.tar.gz"
    assert file.sha256 == hashlib.sha256(ARCHIVE).hexdigest()
    assert file.location == Url(fill(interpreter.PATTERN, BUILDS["arm64"], "arm64"))


def test_it_is_fetched_from_the_mirror_and_verified(server: FaultServer, tmp_path: Path) -> None:
    mirror = release(server)
    made = resolve_interpreter("3.12", ["amd64"], BUILDS, http(), [mirror])
    fetcher = Fetcher(Store.open(tmp_path / "store").files, http(), Places(interpreters=(mirror,)))
    with fetcher.open(made.archives["amd64"]) as opened:
        assert opened.read() == ARCHIVE


def test_a_release_without_the_hash_is_refused(server: FaultServer) -> None:
    server.serve("/20250106/SHA256SUMS", b"nonsense\n")
    with pytest.raises(LockError, match="states no hash"):
        resolve_interpreter("3.12", ["amd64"], BUILDS, http(), [pattern(server)])


def test_a_release_that_cannot_be_reached_is_told(server: FaultServer) -> None:
    with pytest.raises(FetchError, match="SHA256SUMS could not be fetched") as caught:
        resolve_interpreter("3.12", ["amd64"], BUILDS, http(), [pattern(server)])
    assert 'set base = "apt:noble", which has Python 3.12' in str(caught.value)


def test_a_python_that_is_not_built_is_told() -> None:
    with pytest.raises(LockError, match=r"no standalone Python 3\.7 for arm64"):
        resolve_interpreter("3.7", ["amd64", "arm64"], {"amd64": Build("3.7.9", "20200101")}, http())


def test_architectures_get_one_version() -> None:
    builds = {"amd64": Build("3.12.8", "20250106"), "arm64": Build("3.12.7", "20241016")}
    with pytest.raises(LockError, match="not the same everywhere"):
        resolve_interpreter("3.12", ["amd64", "arm64"], builds, http())


def test_a_pattern_with_unknown_places_is_refused() -> None:
    with pytest.raises(LockError, match="not a pattern"):
        fill("https://m.example/{surprise}", BUILDS["amd64"], "amd64")


def test_mirrors_are_found_by_the_archives_name() -> None:
    name = "cpython-3.12.8+20250106-aarch64-unknown-linux-gnu-install_only_stripped.tar.gz"
    assert mirrored(name, ["https://m.example/{tag}/{version}/{triple}"]) == (
        "https://m.example/20250106/3.12.8/aarch64-unknown-linux-gnu",
    )
    assert mirrored("numpy-2.0-py3-none-any.whl", ["https://m.example/{tag}"]) == ()


def test_the_newest_build_uv_knows_is_taken_without_a_network(tmp_path: Path) -> None:
    found = known_builds("3.12", Uv(offline=True), tmp_path)
    assert set(found) == {"amd64", "arm64"} and found["amd64"] == found["arm64"]
    assert found["amd64"].version.startswith("3.12.") and len(found["amd64"].tag) == 8


def test_a_full_version_is_taken_as_it_is(tmp_path: Path) -> None:
    version = known_builds("3.12", Uv(offline=True), tmp_path)["amd64"].version
    older = f"3.12.{int(version.split('.')[2]) - 1}"
    assert known_builds(older, Uv(offline=True), tmp_path)["amd64"].version == older


def test_a_python_nobody_knows_has_no_builds(tmp_path: Path) -> None:
    assert known_builds("3.99", Uv(offline=True), tmp_path) == {}


def test_uv_that_lists_something_else_is_not_followed(tmp_path: Path) -> None:
    fake = tmp_path / "uv"
    fake.write_text(
        f"#!/bin/sh\ncat <<'E'\n{json.dumps([{'url': 'https://x.example/pypy.tar.gz'}, {'url': None}])}\nE\n"
    )
    fake.chmod(0o755)
    assert os.access(fake, os.X_OK)
    assert known_builds("3.12", Uv(program=str(fake)), tmp_path) == {}

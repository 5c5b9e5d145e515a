"""Archives and layouts between us and the real programs: Docker, Podman, skopeo and containerd.

Every one reads what we save and we read what every one saves; config and diff_ids stay what they were everywhere,
the manifest wherever the form has one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.peers import ENV, call, docker_daemon, needs, podman_of_our_own

from trainload.image.model import Image
from trainload.store.store import Store
from trainload.testing.images import make
from trainload.testing.verifier import violations

TRAINLOAD = (sys.executable, "-m", "trainload")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("archives")


@pytest.fixture(scope="module")
def image(base: Path) -> Image:
    """Saved as one.tar, and together with another as all.tar."""
    store = Store.open(base / "home")
    with store.writing():
        image = make(store, "team/digits:v1", {"a": b"1"}, {"b": b"2" * 50_000})
        make(store, "other:v2", {"a": b"1"}, {"c": b"3"})
    store.close()
    trainload(base, "save", "team/digits:v1", "-o", "one.tar")
    trainload(base, "save", "team/digits:v1", "other:v2", "-o", "all.tar")
    return image


def trainload(base: Path, *argv: str, home: str = "home") -> str:
    return call(*TRAINLOAD, "-C", str(base), "--home", str(base / home), *argv)


def loaded(base: Path, archive: Path, home: str) -> Store:
    trainload(base, "load", "-i", str(archive), home=home)
    assert violations(base / home, clean=True) == []
    store = Store.open(base / home)
    assert store.verify(full=True).findings == ()
    return store


def same_content(store: Store, name: str, image: Image) -> None:
    """Config and tar streams are the same bytes; the manifest may be another."""
    got = store.image(store.resolve(name))
    assert got.config_bytes == image.config_bytes


@pytest.fixture(scope="module")
def docker(base: Path) -> Iterator[str]:
    (base / "docker").mkdir()
    with docker_daemon(base / "docker") as socket:
        yield socket


def test_docker_loads_what_we_save_and_we_load_what_docker_saves(base: Path, image: Image, docker: str) -> None:
    engine = ("docker", "-H", docker)
    assert call(*engine, "load", "-i", str(base / "all.tar")).split() == [
        "Loaded", "image:", "team/digits:v1", "Loaded", "image:", "other:v2",
    ]  # fmt: skip
    seen = json.loads(call(*engine, "image", "inspect", "team/digits:v1"))[0]
    assert seen["Id"] == str(image.manifest.config.digest)
    assert seen["RootFS"]["Layers"] == [str(diff_id) for diff_id in image.config.diff_ids]
    back = base / "docker.tar"
    call(*engine, "save", "-o", str(back), "team/digits:v1", "other:v2")
    same_content(loaded(base, back, "from-docker"), "team/digits:v1", image)


def test_docker_loads_through_a_pipe_and_only_what_it_has_not(base: Path, image: Image, docker: str) -> None:
    argv = [*TRAINLOAD, "--home", str(base / "home"), "save", "team/digits:v1", "--compress", "gzip"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as save:
        load = subprocess.run(
            ["docker", "-H", docker, "load"], stdin=save.stdout, capture_output=True, env=ENV, check=False
        )
    assert (load.returncode, save.wait()) == (0, 0), load.stderr


def test_containerd_imports_what_we_save_and_we_load_what_it_exports(base: Path, image: Image, docker: str) -> None:
    needs("ctr")
    sockets = list((base / "docker" / "exec").rglob("containerd.sock"))
    if not sockets:
        pytest.skip("this Docker keeps its containerd elsewhere")
    ctr = ("ctr", "-a", str(sockets[0]), "-n", "trainload")
    call(*ctr, "images", "import", str(base / "all.tar"))
    listed = call(*ctr, "images", "ls")
    assert f"docker.io/team/digits:v1 {image.manifest.media_type} {image.digest}" in " ".join(listed.split())
    back = base / "containerd.tar"
    call(*ctr, "images", "export", str(back), "docker.io/team/digits:v1")
    store = loaded(base, back, "from-containerd")
    assert store.image(store.resolve("team/digits:v1")) == image


def test_podman_loads_what_we_save_and_we_load_what_podman_saves(base: Path, image: Image, tmp_path: Path) -> None:
    with podman_of_our_own(tmp_path) as (podman, env):
        call(*podman, "load", "-q", "-i", str(base / "one.tar"), env=env)
        name = "docker.io/team/digits:v1"
        seen = json.loads(call(*podman, "image", "inspect", name, env=env))[0]
        assert seen["Digest"] == str(image.digest)
        assert seen["RootFS"]["Layers"] == [str(diff_id) for diff_id in image.config.diff_ids]
        for form in ("docker-archive", "oci-archive"):
            back = tmp_path / f"{form}.tar"
            call(*podman, "save", "-q", "--format", form, "-o", str(back), name, env=env)
            store = loaded(base, back, f"from-podman-{form}")
            got = store.image(store.resolve("team/digits:v1"))
            assert got.config.diff_ids == image.config.diff_ids
            assert got.config.runtime == image.config.runtime


def test_skopeo_copies_both_ways_with_every_digest(base: Path, image: Image, tmp_path: Path) -> None:
    needs("skopeo")
    for source in ("oci-archive:{}:team/digits:v1", "docker-archive:{}:team/digits:v1"):
        call("skopeo", "inspect", source.format(base / "all.tar"))
    back = tmp_path / "skopeo.tar"
    call("skopeo", "copy", f"oci-archive:{base / 'one.tar'}", f"oci-archive:{back}:team/digits:v1")
    store = loaded(base, back, "from-skopeo")
    assert store.image(store.resolve("team/digits:v1")) == image
    older = tmp_path / "older.tar"
    call("skopeo", "copy", f"oci-archive:{base / 'one.tar'}", f"docker-archive:{older}:team/digits:v1")
    same_content(loaded(base, older, "from-skopeo-docker"), "team/digits:v1", image)


def test_a_layout_goes_through_skopeo_with_every_digest(base: Path, image: Image, tmp_path: Path) -> None:
    needs("skopeo")
    trainload(base, "export", "layout", "team/digits:v1", "other:v2", str(tmp_path / "ours"))
    call("skopeo", "copy", f"oci:{tmp_path / 'ours'}:team/digits:v1", f"oci:{tmp_path / 'theirs'}:again:v3")
    trainload(base, "export", "layout", "other:v2", str(tmp_path / "theirs"))
    trainload(base, "import", "layout", str(tmp_path / "theirs"), home="from-layout")
    store = Store.open(base / "from-layout")
    assert store.image(store.resolve("again:v3")) == image
    assert [one.names for one in store.images()] == [("again:v3",), ("other:v2",)]

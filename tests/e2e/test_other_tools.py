"""Our store is an ordinary OCI image layout: skopeo, umoci, Podman and Docker read it and run what is in it.

Every digest stays what it was: manifest and layer blobs where a tool keeps them, config and diff_ids everywhere.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.peers import call, docker_daemon, needs, podman_of_our_own

from trainload.destinations.server.listener import Served
from trainload.destinations.server.serve import Settings, serving
from trainload.image.assemble import assemble
from trainload.image.model import LAYER_GZIP, Descriptor, Image, Layer
from trainload.layers.writer import LayerWriter, Owner
from trainload.store.store import Store
from trainload.testing.images import plan_of
from trainload.testing.verifier import images, violations

ME = Owner(1000, 1000)
COMMAND = ("/bin/sh", "-c", "cat /workspace/link; id -u; echo $COLOUR; pwd")
SAID = "hello from the layer\n1000\nblue\n/workspace\n"
NAMES = ("digits", "registry.example:5000/team/digits:v1")


def make_layer(store: Store, fill: Callable[[LayerWriter], None]) -> Layer:
    with store.ingest() as ingest:
        with LayerWriter(ingest) as writer:
            fill(writer)
            written = writer.close()
        digest, size = ingest.commit()
    return Layer(Descriptor(LAYER_GZIP, digest, size), written.diff_id, written.unpacked)


def programs_of_this_machine(writer: LayerWriter) -> None:
    """A shell and three programs with their libraries."""
    programs = [shutil.which(name) or pytest.fail(name) for name in ("cat", "id", "sh", "sleep")]
    linked = "".join(call("ldd", program) for program in programs)
    files = {f"bin/{Path(program).name}": Path(program) for program in programs}
    files |= {library.lstrip("/"): Path(library) for library in re.findall(r"(/\S+) \(0x", linked)}
    folders = {str(parent) for name in files for parent in Path(name).parents} - {"."}
    for name in sorted({*files, *folders}):
        if name in folders:
            writer.directory(name)
        else:
            writer.file(name, files[name].read_bytes(), mode=0o755)


def code(writer: LayerWriter) -> None:
    writer.directory("workspace", owner=ME)
    writer.file("workspace/hello.txt", b"hello from the layer\n", owner=ME)
    writer.symlink("workspace/link", "hello.txt", owner=ME)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("other-tools") / "home"


@pytest.fixture(scope="module")
def image(home: Path) -> Image:
    store = Store.open(home)
    with store.writing():
        layers = [make_layer(store, programs_of_this_machine), make_layer(store, code)]
        plan = plan_of("digits", ("base", "your code"), COMMAND)
        env = {"PATH": "/bin", "COLOUR": "blue"}
        config = dataclasses.replace(plan.config, workdir="/workspace", env=env)
        made = assemble(dataclasses.replace(plan, config=config), layers)
        store.commit_image(made, NAMES)
    return made


def test_skopeo_reads_every_name_and_keeps_every_digest(home: Path, image: Image, tmp_path: Path) -> None:
    needs("skopeo")
    for name in NAMES:
        seen = json.loads(call("skopeo", "inspect", f"oci:{home}:{name}"))
        assert seen["Digest"] == str(image.digest)
        assert seen["Layers"] == [str(layer.digest) for layer in image.manifest.layers]
    out = tmp_path / "out"
    call("skopeo", "copy", f"oci:{home}:digits", f"dir:{out}")
    assert (out / "manifest.json").read_bytes() == image.manifest_bytes
    assert (out / image.manifest.config.digest.hex).read_bytes() == image.config_bytes


def test_what_skopeo_writes_into_the_store_is_ours_too(home: Path, image: Image, tmp_path: Path) -> None:
    needs("skopeo")
    copy = tmp_path / "copy"
    shutil.copytree(home, copy)
    Store.open(copy).untag("digits")
    call("skopeo", "copy", f"oci:{home}:digits", f"oci:{copy}:again:v2")
    store = Store.open(copy)
    assert store.image(store.resolve("again:v2")) == image
    assert "another tool" in str(store.verify().findings[0].text)
    store.tag("again:v2", "digits")
    store.gc()
    assert images(copy) == {name: str(image.digest) for name in (*NAMES, "again:v2")}
    assert store.verify(full=True).findings == ()


def test_umoci_unpacks_what_was_put_in(home: Path, image: Image, tmp_path: Path) -> None:
    needs("umoci")
    assert set(call("umoci", "list", "--layout", str(home)).split()) == set(NAMES)
    bundle = tmp_path / "bundle"
    rootless = [] if os.geteuid() == 0 else ["--rootless"]
    call("umoci", "unpack", *rootless, "--image", f"{home}:digits", str(bundle))
    rootfs = bundle / "rootfs"
    assert (rootfs / "workspace" / "link").read_text() == "hello from the layer\n"
    assert (rootfs / "bin" / "sh").stat().st_mode & 0o7777 == 0o755
    config = json.loads((bundle / "config.json").read_bytes())
    assert config["process"]["args"] == list(COMMAND)
    assert config["process"]["user"]["uid"] == 1000
    assert violations(home) == []


@pytest.fixture
def podman(tmp_path: Path) -> Iterator[tuple[list[str], dict[str, str]]]:
    with podman_of_our_own(tmp_path) as podman:
        yield podman


def test_podman_pulls_the_layout_keeps_every_digest_and_runs_it(
    home: Path, image: Image, podman: tuple[list[str], dict[str, str]]
) -> None:
    argv, env = podman
    found = call(*argv, "pull", "-q", f"oci:{home}:digits", env=env).strip()
    assert found == image.manifest.config.digest.hex
    seen = json.loads(call(*argv, "image", "inspect", found, env=env))[0]
    assert seen["Digest"] == str(image.digest)
    assert seen["RootFS"]["Layers"] == [str(diff_id) for diff_id in image.config.diff_ids]
    assert call(*argv, "run", "--rm", "--network", "none", found, env=env) == SAID


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    needs("skopeo")
    with docker_daemon(tmp_path_factory.mktemp("docker")) as socket:
        yield socket


def docker_has(socket: str, name: str, image: Image) -> None:
    seen = json.loads(call("docker", "-H", socket, "image", "inspect", name))[0]
    assert seen["Id"] == str(image.manifest.config.digest)
    assert seen["RootFS"]["Layers"] == [str(diff_id) for diff_id in image.config.diff_ids]
    history = call("docker", "-H", socket, "history", "--no-trunc", "--format", "{{.CreatedBy}}", name)
    assert history.splitlines() == [entry.created_by for entry in image.config.history[::-1]]
    run = ("docker", "-H", socket, "run", "--rm", "--network", "none", name)
    assert call(*run) == SAID


def test_docker_takes_it_from_skopeo_and_runs_it(home: Path, image: Image, docker: str) -> None:
    copy = ("skopeo", "copy", "--dest-daemon-host", docker)
    call(*copy, f"oci:{home}:digits", "docker-daemon:digits:skopeo")
    docker_has(docker, "digits:skopeo", image)


def test_docker_loads_an_archive_of_it(home: Path, image: Image, docker: str, tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    call("skopeo", "copy", f"oci:{home}:digits", f"docker-archive:{archive}:digits:archive")
    call("docker", "-H", docker, "load", "-i", str(archive))
    docker_has(docker, "digits:archive", image)


def test_docker_pulls_from_our_registry_runs_it_and_pushes_it_back(
    home: Path, image: Image, docker: str, tmp_path: Path
) -> None:
    """Its own manifest of the same config; layers that it pulled it mounts, others it packs again."""
    copy = tmp_path / "copy"
    shutil.copytree(home, copy)
    log: list[Served] = []
    with serving(Settings(copy), log.append) as server:
        name = f"{server.address}/digits"
        call("docker", "-H", docker, "pull", "-q", name)
        docker_has(docker, name, image)
        call("docker", "-H", docker, "tag", name, f"{server.address}/team/from-docker:v1")
        call("docker", "-H", docker, "push", "-q", f"{server.address}/team/from-docker:v1")
        call("docker", "-H", docker, "rmi", name, f"{server.address}/team/from-docker:v1")
        call("docker", "-H", docker, "pull", "-q", f"{server.address}/team/from-docker:v1")
        docker_has(docker, f"{server.address}/team/from-docker:v1", image)
    store = Store.open(copy)
    pushed = store.image(store.resolve("team/from-docker:v1"))
    assert pushed.config_bytes == image.config_bytes
    assert violations(copy) == []
    assert [one for one in log if one.status >= 500] == []


def test_podman_pulls_from_our_registry_and_pushes_back(
    home: Path, image: Image, podman: tuple[list[str], dict[str, str]], tmp_path: Path
) -> None:
    argv, env = podman
    copy = tmp_path / "copy"
    shutil.copytree(home, copy)
    with serving(Settings(copy)) as server:
        found = call(*argv, "pull", "-q", "--tls-verify=false", f"{server.address}/digits", env=env).strip()
        assert found == image.manifest.config.digest.hex
        assert call(*argv, "run", "--rm", "--network", "none", found, env=env) == SAID
        call(*argv, "push", "-q", "--tls-verify=false", found, f"{server.address}/team/from-podman:v1", env=env)
    store = Store.open(copy)
    pushed = store.image(store.resolve("team/from-podman:v1"))
    assert pushed.config.diff_ids == image.config.diff_ids
    assert violations(copy) == []

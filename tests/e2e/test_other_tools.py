"""Our store is an ordinary OCI image layout: skopeo, umoci, Podman and Docker read it and run what is in it.

Every digest stays what it was: manifest and layer blobs where a tool keeps them, config and diff_ids everywhere.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

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


def needs(*programs: str) -> None:
    missing = [program for program in programs if shutil.which(program, path=PATH) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
ENV = {"PATH": PATH, "HOME": "/nonexistent", "LANG": "C.UTF-8"}


def call(*argv: str, env: dict[str, str] | None = None, timeout: float = 120) -> str:
    whole = {**ENV, **(env or {})}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False, env=whole)
    assert done.returncode == 0, f"{argv}: {done.stderr}{done.stdout}"
    return done.stdout


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
    """Podman's command line with folders of its own, and its environment."""
    needs("podman")
    runtime = "runc" if shutil.which("runc", path=PATH) else "crun"  # crun refuses hybrid cgroups
    config = tmp_path / "containers.conf"
    config.write_text('[containers]\ndefault_ulimits = []\n[engine]\nevents_logger = "file"\n')
    with tempfile.TemporaryDirectory(prefix="podman-") as short:  # podman: at most 50 characters
        roots = ["--root", f"{short}/root", "--runroot", f"{short}/run", "--tmpdir", f"{short}/tmp"]
        engine = ["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--runtime", runtime]
        yield ["podman", *roots, *engine], {"CONTAINERS_CONF": str(config)}


@pytest.mark.skipif(os.geteuid() != 0, reason="podman without root needs subuids")
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
    """A Docker daemon of our own; the address of its socket."""
    needs("dockerd", "docker", "skopeo")
    if os.geteuid() != 0:
        pytest.skip("dockerd needs root")
    base = tmp_path_factory.mktemp("docker")
    socket = f"unix://{base}/docker.sock"
    argv = ["dockerd", "--bridge=none", "--iptables=false", "-H", socket, "--storage-driver", "vfs"]
    argv += ["--data-root", f"{base}/data", "--exec-root", f"{base}/exec", "--pidfile", f"{base}/pid"]
    with (base / "log").open("wb") as log, subprocess.Popen(argv, stdout=log, stderr=log, env=ENV) as daemon:
        try:
            for _ in range(120):
                info = ["docker", "-H", socket, "info"]
                asked = subprocess.run(info, capture_output=True, env=ENV, check=False)
                if asked.returncode == 0 or daemon.poll() is not None:
                    break
                time.sleep(0.5)
            else:
                daemon.terminate()
            if daemon.poll() is not None:
                pytest.skip(f"dockerd does not start here: {(base / 'log').read_text()[-1000:]}")
            yield socket
        finally:
            daemon.terminate()
            daemon.wait(60)


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

"""Projects over images of a real registry, run in the sandbox, by Docker and Podman (needs Ubuntu's archive).

Docker Hub is not asked: the bases are made here, laid out as their originals are, and served by Debian's registry.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.peers import DockerRegistry, call, docker_daemon, needs, podman_of_our_own

from trainload.digest import Digest, canonical_json
from trainload.errors import FetchError, Text
from trainload.image.assemble import assemble, make_index
from trainload.image.model import LAYER_GZIP, Descriptor, Image, Layer
from trainload.layers.debian.base import write_base
from trainload.layers.model import ByteSink
from trainload.layers.writer import LayerWriter
from trainload.lock.distribution.choose import choose
from trainload.lock.distribution.index import Stanza
from trainload.lock.model import ArchivePath, DistributionPackage, File
from trainload.plan.model import BaseRecipe, ImageLayerRecipe, Kind, Plan, PlannedLayer, RuntimeConfig
from trainload.platform import Platform
from trainload.resolve.archives import find_archives
from trainload.resolve.cache import FolderCache
from trainload.resolve.distribution import open_index
from trainload.resolve.fetch import Fetcher
from trainload.resolve.indexes import Services
from trainload.resolve.places import Places
from trainload.store.store import Store
from trainload.system.http import Http
from trainload.testing.index import wheel

pytestmark = pytest.mark.skipif(bool(DockerRegistry.missing()), reason=DockerRegistry.missing())

SMALL = (
    "base-files",
    "base-passwd",
    "bash",
    "coreutils",
    "dash",
    "debconf",
    "dpkg",
    "libc-bin",
    "perl-base",
    "sed",
    "grep",
)
"""What distributions' own images have, as far as it matters here: no Python."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CUDA = {
    "PATH": f"/usr/local/nvidia/bin:/usr/local/cuda/bin:{PATH}", "CUDA_VERSION": "12.4.1",
    "NV_CUDA_LIB_VERSION": "12.4.1-1", "NVIDIA_REQUIRE_CUDA": "cuda>=12.4", "NVIDIA_VISIBLE_DEVICES": "all",
    "NVIDIA_DRIVER_CAPABILITIES": "compute,utility",
    "LD_LIBRARY_PATH": "/usr/local/nvidia/lib:/usr/local/nvidia/lib64",
}  # fmt: skip
ENTRYPOINT = b'#!/bin/bash\necho "== CUDA =="\nexec "$@"\n'
LEFT_OUT = re.compile(r"/(__pycache__|test|tests|site-packages|config-[^/]*|ensurepip|idlelib)/")
TORCH = "2.3.0a0+6ddf5cf85e.nv24.4"
Content = Mapping[str, bytes | str | tuple[bytes, int]]
"""Path → file, (file, mode), or for a text: where a link leads."""


def tree(content: Content) -> dict[str, bytes | str | tuple[bytes, int] | None]:
    """With the folders above, which have None."""
    folders = {"/".join(path.split("/")[:n]) for path in content for n in range(1, path.count("/") + 1)}
    return {**dict.fromkeys(folders), **content}


@dataclass
class Maker:
    """Makes bases in a store of its own and pushes them."""

    store: Store
    services: Services
    fetcher: Fetcher
    registry: DockerRegistry

    @property
    def host(self) -> str:
        return self.registry.host

    @contextmanager
    def silent(self) -> Iterator[None]:
        """While the registry does not answer."""
        self.registry.__exit__(None, None, None)
        try:
            yield
        finally:
            self.registry.__enter__()

    def packages(self, suite: str, *more: str) -> Layer:
        names = [*SMALL, *more]
        chosen = choose(open_index(suite, "amd64", self.services), "amd64", names)
        locked = tuple(
            DistributionPackage(one.name, one.version, one.architecture, _file(one), 0) for one in chosen
        )
        self.fetcher.prefetch([package.file for package in locked])
        distribution = "ubuntu" if suite in ("jammy", "noble") else "debian"
        recipe = BaseRecipe(distribution, suite, "slim", "amd64", (), locked)
        return self.layer(lambda sink: write_base(recipe, self.fetcher, sink))

    def files(self, content: Content) -> Layer:
        def write(sink: ByteSink) -> object:
            with LayerWriter(sink) as out:
                for path, each in sorted(tree(content).items()):
                    if each is None:
                        out.directory(path)
                    elif isinstance(each, str):
                        out.symlink(path, each)
                    else:
                        data, mode = each if isinstance(each, tuple) else (each, 0o644)
                        out.file(path, data, mode=mode)
                return out.close()

        return self.layer(write)

    def layer(self, write: object) -> Layer:
        assert callable(write)
        with self.store.writing(), self.store.ingest() as blob:
            written = write(blob)
            digest, size = blob.commit()
        return Layer(Descriptor(LAYER_GZIP, digest, size), written.diff_id, written.unpacked)

    def push(self, name: str, layers: Sequence[Layer], config: RuntimeConfig, *options: str) -> Image:
        """Publish an image; ``options`` go to skopeo."""
        planned = tuple(
            PlannedLayer(
                Kind.BASE,
                "RUN make it",
                ImageLayerRecipe(str(one.descriptor.digest), one.descriptor.size, str(one.diff_id), LAYER_GZIP),
                None,
                Text("for a test"),
            )
            for one in layers
        )
        made = assemble(Plan(name, Platform(), planned, config), layers)
        with self.store.writing():
            self.store.commit_image(made, [name])
        target = f"docker://{self.host}/{name}"
        call("skopeo", "copy", *options, "--dest-tls-verify=false", f"oci:{self.store.home}:{name}", target)
        return made


def _file(stanza: Stanza) -> File:
    path = stanza["Filename"]
    location = ArchivePath(stanza.archive, path)
    return File(path.rpartition("/")[2], stanza["SHA256"], int(stanza["Size"]), location)


def config(env: Mapping[str, str], entrypoint: tuple[str, ...] = ()) -> RuntimeConfig:
    return RuntimeConfig("", "", ("bash",), entrypoint, env, {"maintainer": "them"})


def metadata(name: str, version: str, *requires: str) -> bytes:
    lines = "".join(f"Requires-Dist: {one}\n" for one in requires)
    return f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{lines}".encode()


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Maker]:
    needs("skopeo")
    folder = tmp_path_factory.mktemp("bases")
    archives, http = find_archives(), Http(connect_timeout=5)
    services = Services(http, archives, FolderCache(folder / "indexes"), datetime.now(UTC), allow_stale=True)
    store = Store.open(folder / "store")
    fetcher = Fetcher(store.files, Http(), Places(archive_urls=archives.urls))
    try:
        http.get(f"{archives.of('ubuntu')[0].url}/dists/jammy/InRelease", limit=1 << 20)
    except FetchError as error:
        pytest.skip(f"no archive of Ubuntu can be reached: {error}")
    with DockerRegistry(folder / "registry") as registry:
        yield Maker(store, services, fetcher, registry)
    store.close()


@pytest.fixture(scope="module")
def jammy(maker: Maker) -> Layer:
    return maker.packages("jammy")


@pytest.fixture(scope="module")
def cuda(maker: Maker, jammy: Layer) -> str:
    """As nvidia/cuda lays its images out: no Python, an entrypoint; in Docker's format, as Docker Hub has it."""
    files = maker.files({
        "opt/nvidia/nvidia_entrypoint.sh": (ENTRYPOINT, 0o755), "usr/local/cuda": "/usr/local/cuda-12.4",
        "usr/local/cuda-12.4/lib64/libcudart.so.12": b"\x7fELF",
    })  # fmt: skip
    runs = config(CUDA, ("/opt/nvidia/nvidia_entrypoint.sh",))
    maker.push("nvidia/cuda:12.4.1", [jammy, files], runs, "--format", "v2s2")
    return f"{maker.host}/nvidia/cuda:12.4.1"


@pytest.fixture(scope="module")
def ngc(maker: Maker) -> str:
    """As NVIDIA's PyTorch images: the distribution's Python, with a torch that no index has."""
    base = maker.packages("jammy", "python3", "tini")
    place = "usr/local/lib/python3.10/dist-packages"
    files = maker.files({
        f"{place}/torch/__init__.py": f"import numpy\n__version__ = {TORCH!r}\n".encode(),
        f"{place}/torch-{TORCH}.dist-info/METADATA": metadata("torch", TORCH, "numpy"),
        f"{place}/numpy/__init__.py": b"__version__ = '1.24.4'\n",
        f"{place}/numpy-1.24.4.dist-info/METADATA": metadata("numpy", "1.24.4"),
    })  # fmt: skip
    maker.push("nvidia/pytorch:24.04", [base, files], config(CUDA))
    return f"{maker.host}/nvidia/pytorch:24.04"


class Project:
    """A folder, and trainload in it; all share a store, so that an archive's indexes are fetched once."""

    def __init__(self, folder: Path, wheels: Path, home: Path) -> None:
        self.root = folder / "project"
        self.root.mkdir()
        self.home = home
        self.wheels = wheels

    def write(self, base: str, code: str, requirements: str = "", *settings: str) -> None:
        (self.root / "train.py").write_text(code)
        (self.root / "requirements.txt").write_text(requirements)
        lines = [f'base = "{base}"', f'find-links = ["{self.wheels}"]', 'name = "over-base"', *settings]
        (self.root / "trainload.toml").write_text("\n".join(lines) + "\n")

    def __call__(self, *words: str, fails: bool = False) -> str:
        """What the command says and prints."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("TRAINLOAD_")}
        done = subprocess.run(
            [sys.executable, "-m", "trainload", *words], cwd=self.root, capture_output=True, text=True, check=False,
            env={**environ, "TRAINLOAD_HOME": str(self.home), "LANG": "C.UTF-8"}, timeout=120,
        )  # fmt: skip
        assert (done.returncode != 0) is fails, done.stderr + done.stdout
        return done.stdout + done.stderr

    @property
    def lock(self) -> str:
        return (self.root / "pylock.trainload.toml").read_text()


@pytest.fixture
def project(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for name, data in (wheel("trainload-mine", "1.0", requires=["torch>=2.0"]), wheel("trainload-plain", "1.0")):
        (wheels / name).write_bytes(data)
    return Project(tmp_path, wheels, tmp_path_factory.getbasetemp() / "base-images")


WHO = "import os, pwd; print(pwd.getpwuid(os.getuid()).pw_name, os.path.expanduser('~'))\n"


def test_nvidias_torch_is_imported_and_not_placed_again(project: Project, ngc: str) -> None:
    code = "import torch, trainload_mine as m; print(torch.__version__, torch.numpy.__version__, m.__file__)\n"
    project.write(ngc, code, "torch>=2.0\ntrainload-mine\n")
    said = project("run")
    assert f"of the base: numpy 1.24.4, torch {TORCH}" in said
    assert f"{TORCH} 1.24.4 /opt/venv/lib/python3.10/site-packages/trainload_mine/__init__.py" in said
    assert f'"torch=={TORCH}",' in project.lock and 'name = "torch"' not in project.lock
    (project.root / "requirements.txt").write_text("torch>=2.3\n")
    said = project("lock", fails=True)
    assert f"the base has torch {TORCH}, which the project does not take" in said and "Traceback" not in said


def test_a_base_without_python_gets_one_and_packages_on_top(project: Project, cuda: str) -> None:
    code = WHO + "import trainload_plain, sqlite3, sys; print(sys.version_info[:2], os.environ['CUDA_VERSION'])\n"
    project.write(cuda, code, "trainload-plain\n", 'system = ["jq"]')
    said = project("run")
    assert "== CUDA ==" in said and "app /home/app" in said and "(3, 10) 12.4.1" in said
    assert 'name = "libjq1"' in project.lock and 'name = "libc6"' not in project.lock
    plan = json.loads(project("--json", "plan"))
    assert [layer["kind"] for layer in plan["layers"]] == ["base", "base", "system", "venv", "packages", "code"]
    assert plan["config"]["entrypoint"] == ["/opt/nvidia/nvidia_entrypoint.sh"]
    assert plan["config"]["labels"] == {"maintainer": "them"}
    assert plan["config"]["env"]["LD_LIBRARY_PATH"] == CUDA["LD_LIBRARY_PATH"]
    assert plan["config"]["env"]["PATH"] == f"/opt/venv/bin:{CUDA['PATH']}"


def test_what_is_here_needs_no_network_and_no_registry(project: Project, maker: Maker, jammy: Layer) -> None:
    maker.push("gone:v1", [jammy], config({"PATH": PATH}))
    project.write(f"{maker.host}/gone:v1", WHO, "")
    digest = re.findall(r"sha256:[0-9a-f]{64}", project("build"))[-1]
    project("gc")
    with maker.silent():
        assert digest in project("build", "--offline")
        assert digest in project("build")
        assert "app /home/app" in project("run")


def test_R20_a_tag_that_moved_is_told_and_followed_only_when_asked(
    project: Project, maker: Maker, jammy: Layer
) -> None:
    name = f"{maker.host}/moving:v1"
    maker.push("moving:v1", [jammy], config({"PATH": PATH, "WHICH": "old"}))
    code = "import os; print(os.environ['WHICH'])\n"
    project.write(name, code)
    assert "old" in project("run")
    maker.push("moving:v1", [jammy], config({"PATH": PATH, "WHICH": "new"}))
    project.write(name, code, "trainload-plain\n")
    said = project("run")
    assert f"{name} means" in said and "\nold" in f"\n{said}"
    assert "base: " in project("lock", "--upgrade")
    assert "new" in project("run")


def test_an_index_is_followed_for_each_platform(project: Project, maker: Maker, ngc: str) -> None:
    one = maker.store.image(maker.store.resolve("nvidia/pytorch:24.04"))
    other = _with_config(one, canonical_json({**json.loads(one.config_bytes), "architecture": "arm64"}))
    with maker.store.writing():
        maker.store.commit_image(other, ["arm64"])
        maker.store.commit_index(make_index([one, other]), ["many"])
    target = f"{maker.host}/many:v1"
    call("skopeo", "copy", "--all", "--dest-tls-verify=false", f"oci:{maker.store.home}:many", f"docker://{target}")
    project.write(target, WHO, "trainload-plain\n", 'platforms = ["linux/amd64", "linux/arm64"]')
    project("lock")
    assert f'manifest = {{ digest = "{one.digest}"' in project.lock
    assert f'manifest = {{ digest = "{other.digest}"' in project.lock
    plan = json.loads(project("--json", "plan", "--platform", "linux/arm64"))
    assert plan["platform"] == "linux/arm64"
    project.write(ngc, WHO, "", 'platforms = ["linux/arm64"]')
    assert "the image is not made for linux/arm64" in project("lock", fails=True)


def _with_config(image: Image, config_bytes: bytes) -> Image:
    from trainload.image.parse import make_image

    manifest = json.loads(image.manifest_bytes)
    manifest["config"] |= {"digest": str(Digest.sha256(config_bytes)), "size": len(config_bytes)}
    return make_image(canonical_json(manifest), config_bytes, "changed")


def test_docker_and_podman_take_and_run_what_was_built_over_dockers_format(
    project: Project, cuda: str, maker: Maker, tmp_path_factory: pytest.TempPathFactory
) -> None:
    project.write(cuda, WHO, "trainload-plain\n")
    project("build")
    name = f"{maker.host}/built:v1"
    copy = ("skopeo", "copy", "--dest-tls-verify=false", f"oci:{project.home}:over-base")
    call(*copy, f"docker://{name}")
    raw = json.loads(call("skopeo", "inspect", "--tls-verify=false", "--raw", f"docker://{name}"))
    assert {layer["mediaType"] for layer in raw["layers"]} == {LAYER_GZIP}
    # one run each: with these storage drivers a container is a copy of all files
    program = ("sh", "-c", "python train.py && dpkg --audit && dpkg --verify")
    with docker_daemon(tmp_path_factory.mktemp("docker")) as socket:
        docker = ("docker", "-H", socket)
        call(*docker, "pull", "-q", name)
        ran = call(*docker, "run", "--rm", "--network", "none", name, *program)
        assert ran.splitlines() == ["== CUDA ==", "app /home/app"]
    with podman_of_our_own(tmp_path_factory.mktemp("podman")) as (podman, env):
        call(*podman, "pull", "-q", "--tls-verify=false", name, env=env)
        ran = call(*podman, "run", "--rm", "--network", "none", name, *program, env=env)
        assert ran.splitlines() == ["== CUDA ==", "app /home/app"]


def test_dockers_python_image_keeps_its_python_and_what_it_has(
    project: Project, maker: Maker, jammy: Layer
) -> None:
    """A Python that lies in /usr/local, as in Docker's own images: the one that runs this test."""
    prefix, minor = Path(sys.base_prefix), f"3.{sys.version_info.minor}"
    programs = [prefix / "bin" / f"python{minor}", *(prefix / "lib").glob("libpython3*.so*")]
    newest = max(int(n) for path in programs for n in re.findall(rb"GLIBC_2\.(\d+)", path.read_bytes()))
    if str(prefix) == "/usr" or newest > 35:
        pytest.skip("this Python is the distribution's, or needs a newer C library than jammy's")
    content: dict[str, bytes | str | tuple[bytes, int]] = {
        f"usr/local/{path.relative_to(prefix)}": (path.resolve().read_bytes(), 0o755) for path in programs
    }
    for path in (prefix / "lib" / f"python{minor}").rglob("*.py"):
        if not LEFT_OUT.search(str(path)):
            content[f"usr/local/{path.relative_to(prefix)}"] = path.read_bytes()
    packages = f"usr/local/lib/python{minor}/site-packages"
    content |= {
        "usr/local/bin/python3": f"python{minor}", "usr/local/bin/python": "python3",
        f"{packages}/trainload_plain/__init__.py": b"__version__ = 'of the base'\n",
        f"{packages}/trainload_plain-1.0.dist-info/METADATA": metadata("trainload-plain", "1.0"),
    }  # fmt: skip
    env = {"PATH": PATH, "LANG": "C.UTF-8", "PYTHON_VERSION": "0.0.0", "LD_LIBRARY_PATH": "/usr/local/lib"}
    maker.push("library/python:slim", [jammy, maker.files(content)], config(env))
    code = "import trainload_plain as plain, sys; print(plain.__version__, sys.prefix, sys.base_prefix)\n"
    project.write(f"{maker.host}/library/python:slim", code, "trainload-plain\n")
    said = project("run")
    assert "of the base /opt/venv /usr/local" in said
    version = ".".join(map(str, sys.version_info[:3]))
    assert f'path = "/usr/local/bin/python{minor}", version = "{version}"' in project.lock


def test_wrong_names_are_told_without_a_trace(project: Project, maker: Maker, jammy: Layer) -> None:
    for base in (f"{maker.host}/none:v1", f"{maker.host}/many@{Digest.sha256(b'x')}"):
        project.write(base, WHO)
        said = project("build", fails=True)
        assert "Traceback" not in said and base.partition("@")[0].rpartition(":")[0].rpartition("/")[0] in said
        assert not (project.root / "pylock.trainload.toml").exists()
    maker.push("musl:v1", [maker.files({"lib/ld-musl-x86_64.so.1": b"\x7fELF"})], config({"PATH": PATH}))
    project.write(f"{maker.host}/musl:v1", WHO)
    assert "has the C library musl" in project("build", fails=True)

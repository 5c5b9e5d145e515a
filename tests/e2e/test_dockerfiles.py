"""Dockerfiles that we write or mend are built by Docker, classic and BuildKit, and do what they should.

Needs Debian's archive, not Docker Hub: the base is composed here, pushed to a registry on loopback, and pinned by
its digest; what it would get from apt is in it already.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.peers import PATH, Docker, DockerRegistry, call, needs

from trainload.cli.main import run
from trainload.lint.check import check
from trainload.lint.dockerfile.document import read_dockerfile
from trainload.lint.source import Source
from trainload.testing.index import PackageIndex, wheel
from trainload.testing.server import FaultServer

pytestmark = pytest.mark.skipif(bool(DockerRegistry.missing()), reason=DockerRegistry.missing())

TRAIN = """\
import os, sys
import tinymath
print(tinymath.__version__, sys.version_info[:2], sys.prefix, os.getuid(), os.getcwd(), os.environ["COLOUR"])
print(sorted(set(os.listdir(".")) - {"requirements.trainload.txt"}), open("lib/words.txt").read())
torch = os.environ.get("TORCH_HOME")
print(torch and open(f"{torch}/hub/checkpoints/tiny.pth").read(), torch and open("best.pt").read())
open("made.txt", "w").write("a place to write")
"""


@dataclass
class Site:
    """A folder with a project, a registry with a base, and a Docker."""

    folder: Path
    base: str
    docker: tuple[str, ...]

    def trainload(self, folder: str, *argv: str) -> str:
        stdout, stderr = io.StringIO(), io.StringIO()
        home = {"HOME": str(self.folder), "TRAINLOAD_HOME": f"{self.folder}/home", "LANG": "C.UTF-8"}
        environ = {"PATH": os.environ["PATH"], **home}
        code = run(argv, environ=environ, cwd=self.folder / folder, stdout=stdout, stderr=stderr)
        assert code == 0, stderr.getvalue()
        return stdout.getvalue()

    def build(self, name: str, folder: Path, *, kit: bool) -> None:
        env = {"DOCKER_BUILDKIT": "1" if kit else "0", "HOME": str(self.folder)}
        docker = (with_buildkit(), *self.docker[1:]) if kit else self.docker
        call(*docker, "build", "--network", "host", "-t", name, str(folder), env=env, timeout=300)

    def config(self, name: str) -> dict[str, object]:
        said = json.loads(call(*self.docker, "image", "inspect", name))[0]["Config"]
        return {key: said[key] for key in ("User", "WorkingDir", "Cmd", "Entrypoint")} | {"Env": set(said["Env"])}


def with_buildkit() -> str:
    """A command line of Docker that reaches the daemon's BuildKit: an old one, or one with its buildx."""
    for folder in PATH.split(":"):
        program = f"{folder}/docker"
        if Path(program).is_file():
            version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
            buildx = (
                subprocess.run([program, "buildx", "version"], capture_output=True, check=False).returncode == 0
            )
            if buildx or int(version.split("version ")[1].split(".")[0]) < 23:
                return program
    pytest.skip("docker has no buildx")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    needs("docker", "dockerd")
    folder = tmp_path_factory.mktemp("export")
    (folder / "base").mkdir()
    (folder / "base" / "trainload.toml").write_text(
        'name = "base"\nsystem = ["apt", "passwd", "python3-venv", "python3-pip"]\n'
        'user = 0\ncommand = ["sh"]\nentrypoint = []\n'
    )
    if Docker.missing():
        pytest.skip(Docker.missing())
    with DockerRegistry(folder / "registry") as registry, Docker(folder / "docker") as daemon:
        made = Site(folder, f"{registry.host}/debian:bookworm-slim", ("docker", "-H", daemon.host))
        made.trainload("base", "build", "-q")
        made.trainload("base", "save", "base", "-o", "base.tar")
        call(*made.docker, "load", "-i", f"{folder}/base/base.tar")
        # nothing can be fetched in a build here: apt finds everything installed, and asks nobody
        (folder / "base" / "Dockerfile").write_text("FROM base\nRUN rm /etc/apt/sources.list.d/*\n")
        made.build(made.base, folder / "base", kit=False)
        call(*made.docker, "push", made.base)
        yield made


@pytest.fixture
def project(site: Site) -> Iterator[Path]:
    folder = site.folder / "project"
    (folder / "lib").mkdir(parents=True)
    (folder / "train.py").write_text(TRAIN)
    (folder / "lib" / "words.txt").write_text("words")
    (folder / "requirements.txt").write_text("tinymath\n")
    (folder / ".env").write_text("A=1\n")
    yield folder
    call("rm", "-rf", str(folder))


CORPUS = Path(__file__).parents[1] / "unit" / "lint" / "corpus" / "faulty"
MENDED = {
    "pip-latest.Dockerfile": ({"requirements.txt": "torch==2.3.0\nnumpy\n"}, "import torch, numpy"),
    "fastapi.Dockerfile": ({"requirements.txt": "numpy\n", "app/main.py": ""}, "import numpy, app.main"),
    "gunicorn-multi.Dockerfile": ({"requirements.txt": "flask\n", "app.py": ""}, "import flask, app"),
    "weights.Dockerfile": (
        {"app.py": "", "model.safetensors": "w", "data/a": ""},
        "import torch, app",
    ),
    "launch.Dockerfile": ({"train.py": "loader = DataLoader(d, num_workers=4)\n"}, "import torch, torchvision"),
}
"""Files of the corpus whose programs are in the base here, what lies beside them, and what must work there."""


@pytest.fixture(scope="module")
def index(site: Site) -> Iterator[PackageIndex]:
    """A base with pip that asks an index on loopback, and the index."""
    with FaultServer() as server:
        found = PackageIndex(server)
        for name, version in [("torch", "2.3.0"), ("torch", "2.3.0+cpu"), ("torch", "2.3.1"), ("numpy", "2.0.0"),
                              ("flask", "3.0.0"), ("torchvision", "0.18.0")]:  # fmt: skip
            found.add(wheel(name, version))
        folder = site.folder / "pip"
        folder.mkdir()
        (folder / "Dockerfile").write_text(
            f"FROM {site.base}\nRUN ln -s python3 /usr/bin/python\n"
            f"ENV PIP_INDEX_URL={found.url} PIP_BREAK_SYSTEM_PACKAGES=1 PIP_ROOT_USER_ACTION=ignore\n"
            "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"  # not our environment
        )
        site.build("with-pip", folder, kit=False)
        yield found


@pytest.mark.parametrize("name", MENDED)
def test_what_lint_mended_builds_and_does_not_run_as_root(
    site: Site, index: PackageIndex, tmp_path: Path, name: str
) -> None:
    beside, works = MENDED[name]
    for path, text in {"Dockerfile": (CORPUS / name).read_text(), **beside}.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    stdout, environ = (
        io.StringIO(),
        {"TRAINLOAD_HOME": f"{site.folder}/home", "LANG": "C.UTF-8", "PATH": "/usr/bin"},
    )
    run(["lint", "Dockerfile", "--fix-all"], environ=environ, cwd=tmp_path, stdout=stdout, stderr=stdout)
    mended = (tmp_path / "Dockerfile").read_text()
    assert mended != (CORPUS / name).read_text()
    for stage in read_dockerfile(name, Source.of(mended)).stages:
        if stage.parent is None:
            call(*site.docker, "tag", "with-pip", stage.base)
    image = f"mended:{name.split('.', maxsplit=1)[0]}"
    site.build(image, tmp_path, kit="--mount" in mended)
    code = f"{works}; import os; assert os.getuid(); print('works')"
    python = ["--entrypoint", "python3", image, "-c", code]
    assert call(*site.docker, "run", "--rm", "--network", "none", *python) == "works\n"


def configure(project: Path, *lines: str) -> None:
    text = "\n".join(['name = "answer"', *lines, '[env]\nCOLOUR = "blue $HOME"'])
    (project / "trainload.toml").write_text(f"{text}\n")


def same(site: Site, project: Path, *, kit: bool, options: tuple[str, ...] = ()) -> str:
    """Exports, builds and runs; what our own image and Docker's say must be the same. The Dockerfile's text."""
    site.trainload("project", "build", "-q")
    ours = site.trainload("project", "save", "answer", "-o", f"{site.folder}/ours.tar")
    assert "ours.tar" in ours
    call(*site.docker, "load", "-i", f"{site.folder}/ours.tar")
    site.trainload("project", "export", "dockerfile", "--from", site.base, *options)
    text = (project / "Dockerfile").read_text()
    assert check("Dockerfile", text) == ()
    assert f"FROM {site.base}@sha256:" in text
    site.build("theirs", project, kit=kit)
    said = [call(*site.docker, "run", "--rm", "--network", "none", name) for name in ("answer", "theirs")]
    assert said[0] == said[1].replace(", 'Dockerfile'", "")
    assert "1.5 (3, 11) /opt/venv 1000 /app blue $HOME\n" in said[0]
    assert ("weights mine\n" in said[0]) is ("weights" in text)
    ours_config, theirs = site.config("answer"), site.config("theirs")
    assert theirs == ours_config
    return text


def test_docker_builds_it_with_the_wheels_beside(site: Site, project: Path) -> None:
    links = site.folder / "links"
    links.mkdir(exist_ok=True)
    name, data = wheel("tinymath", "1.5")
    (links / name).write_bytes(data)
    with FaultServer() as server:  # an index that has nothing
        server.serve("/tiny.pth", b"weights")
        address = f"{server.url}/tiny.pth#sha256={hashlib.sha256(b'weights').hexdigest()}"
        (project / "best.pt").write_bytes(b"mine")
        sources = f'index = "{PackageIndex(server).url}"', f'weights = ["./best.pt", "{address}"]'
        configure(project, 'find-links = ["../links"]', *sources)
        text = same(site, project, kit=False, options=("--wheels", "wheels"))
    assert "--mount" not in text
    assert "COPY --from=weights /weights/ /" in text
    assert (project / "wheels" / name).read_bytes() == data


def test_buildkit_builds_it_from_an_index_with_a_cache_for_downloads(site: Site, project: Path) -> None:
    with FaultServer() as server:
        index = PackageIndex(server)
        index.add(wheel("tinymath", "1.5"), wheel("tinymath", "1.4"))
        configure(project, f'index = "{index.url}"')
        text = same(site, project, kit=True)
    assert "--mount=type=cache" in text
    requirements = (project / "requirements.trainload.txt").read_text()
    assert f"--index-url {index.url}\n" in requirements
    assert "tinymath==1.5 \\\n    --hash=sha256:" in requirements

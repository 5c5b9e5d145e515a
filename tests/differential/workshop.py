"""Where both builders find the same things: a registry with the bases, an index, a PPA, a channel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from tests.differential import bases, deadsnakes, systems, wheels
from tests.peers import Docker, DockerRegistry

from trainload.dockerfile.config import PATH
from trainload.testing.conda import Content, Spec, write_channel
from trainload.testing.index import PackageIndex
from trainload.testing.server import FaultServer

TRAINLOAD = Path(sys.executable).with_name("trainload")
CORPUS = Path(__file__).with_name("corpus")
NAMES = {
    "debian": ("library/debian:bookworm-slim",),
    "python": ("library/python:3.11-slim", "library/python:3.11"),
    "cuda": ("nvidia/cuda:12.1.1-cudnn8-runtime-ubuntu22.04",),
    "ubuntu": ("library/ubuntu:22.04",),
    "miniconda": ("continuumio/miniconda3:latest",),
    "pytorch": ("pytorch/pytorch:2.1.0-cuda12.1-cudnn8-runtime",),
    "torchserve": ("pytorch/torchserve:latest-cpu",),
    "serving": ("tensorflow/serving:2.14.1",),
}
TEXTS = {
    "debian": bases.DEBIAN, "python": bases.PYTHON, "cuda": bases.CUDA, "ubuntu": bases.UBUNTU,
    "miniconda": bases.CONDA,
    "pytorch": bases.PYTORCH, "torchserve": bases.TORCHSERVE, "serving": bases.SERVING,
}  # fmt: skip
NEEDS = {"cuda": "jammy", "ubuntu": "jammy", "pytorch": "miniconda", "torchserve": "python", "serving": "python",
         "debian": "bookworm", "python": "bookworm", "miniconda": "bookworm"}  # fmt: skip


@dataclass
class Workshop:
    """Used as a context manager."""

    folder: Path
    systems: Path | None = None
    """Where the distributions are made by mmdebstrap, and kept; None: we compose them."""

    def __enter__(self) -> Workshop:
        self._stack = ExitStack()
        self.server = self._stack.enter_context(FaultServer())
        self.index = PackageIndex(self.server, sizes=False)  # pip of Ubuntu 22.04 reads no JSON
        wheels.publish(self.index)
        self.registry = self._stack.enter_context(DockerRegistry(self.folder / "registry"))
        self._made: set[str] = set()
        (self.folder / "bases").mkdir(parents=True)
        for file in wheels.download(self.folder / "wheels" / "base", "pip==24.0"):
            shutil.copy(file, self.folder / "bases")
        self._publish("pip==24.2")
        if self.systems is None:
            wheels.publish_servers(self.index)
        else:
            self._publish(*wheels.SERVERS, whole=True)
        return self

    def _publish(self, *names: str, whole: bool = False) -> None:
        files = wheels.download(self.folder / "wheels" / names[0], *names, whole=whole)
        self.index.add(*((file.name, file.read_bytes()) for file in files))

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def environ(self) -> dict[str, str]:
        mirrors = f"docker.io=http://{self.registry.host}"
        return {
            **os.environ, "TRAINLOAD_HOME": str(self.folder / "ours"), "TRAINLOAD_MIRRORS_REGISTRY": mirrors,
            "TRAINLOAD_MIRRORS_CONDA": self.server.url,
        }  # fmt: skip

    def trainload(self, folder: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        environ = {**self.environ, **more}
        done = subprocess.run(
            [TRAINLOAD, *words], cwd=folder, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done

    @cached_property
    def docker(self) -> Docker:
        return self._stack.enter_context(Docker(self.folder / "docker"))

    def base(self, name: str) -> None:
        """In the registry, once."""
        if name in self._made:
            return
        if name in NEEDS:
            self.base(NEEDS[name])
        self._made.add(name)
        at = self.folder / "bases"
        own = {"TRAINLOAD_HOME": str(self.folder / "theirs")}
        if name in ("bookworm", "jammy"):
            self._system(name, at, own)
            return
        self._materials(name, at)
        text = TEXTS[name].format(
            system="bookworm", jammy="jammy", index=self.index.url, channels=f"{self.server.url}/conda"
        )
        (at / f"{name}.Dockerfile").write_text(text)
        self.trainload(at, "-q", "build", "-f", f"{name}.Dockerfile", "-t", name, "--network", "host", **own)
        for target in NAMES[name]:
            self.trainload(at, "-q", "push", name, f"{self.registry.host}/{target}", **own)

    def _system(self, name: str, at: Path, own: Mapping[str, str]) -> None:
        if self.systems is not None:
            docker = ["docker", "-H", self.docker.host]
            target = f"{self.registry.host}/systems/{name}:1"
            config = ["-c", 'CMD ["/bin/bash"]', "-c", f"ENV PATH={PATH}"]
            made = systems.make(name, self.systems)
            subprocess.run([*docker, "import", *config, made, target], check=True)
            subprocess.run([*docker, "push", "-q", target], check=True)
            (at / f"{name}.Dockerfile").write_text(f"FROM {target}\n")
            self.trainload(at, "-q", "build", "-f", f"{name}.Dockerfile", "-t", name, **own)
            return
        place = at / name
        place.mkdir()
        (place / "trainload.toml").write_text(
            f'base = "apt:{name}"\nsystem = ["passwd", "login", "apt"]\nuser = 0\n'
        )
        self.trainload(place, "-q", "build", "-t", name, **own)

    def _materials(self, name: str, at: Path) -> None:
        for program, text in bases.PROGRAMS.items():
            (at / program).write_text(text.replace("ARCHIVE", self.server.url))
        if name in ("python", "miniconda"):
            pip = (at / "pip-24.0-py3-none-any.whl").read_bytes()
            (at / "python.tar.gz").write_bytes(
                bases.python_tree("/usr/local" if name == "python" else "/opt/conda", pip)
            )
        if name == "miniconda":
            (at / "rattler.tar.gz").write_bytes(bases.rattler_tree())
            self._channel()
        if name == "cuda":
            for path, data in deadsnakes.files("/deadsnakes/ppa/ubuntu").items():
                self.server.serve(path, data)

    def _channel(self) -> None:
        from tests.conda_python import python_spec
        from tests.e2e.test_conda import library

        jupyter = b"""import http.server, os, signal, sys


def main():
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    port = next(int(word.partition("=")[2]) for word in sys.argv if word.startswith("--port="))
    print("Jupyter", *sys.argv[1:], sys.prefix, flush=True)
    http.server.ThreadingHTTPServer(("0.0.0.0", port), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
        import_hello = b"import ctypes, sys\nLIB = ctypes.CDLL(sys.prefix + '/lib/libhello.so')\n"
        hello = library()
        # conda runs it, which the stand-in for conda does not
        hello = replace(hello, files={k: v for k, v in hello.files.items() if not k.endswith("-post-link.sh")})
        pip = {
            "site-packages/pip/__init__.py": Content(b"__version__ = '24.0'\n"),
            "site-packages/pip-24.0.dist-info/METADATA": Content(b"Name: pip\nVersion: 24.0\n"),
        }
        packages = [
            python_spec(), hello, Spec("pip", "24.0", "pyh0_0", pip, "noarch", noarch="python", depends=["python"]),
            Spec("jupyter", "1.0", "pyh0_0", {"site-packages/jupyter.py": Content(jupyter),
                 "site-packages/hello.py": Content(import_hello)}, "noarch", depends=["python >=3.8", "libhello"],
                 noarch="python", entry_points=["jupyter = jupyter:main"]),
        ]  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            write_channel(Path(folder) / "conda-forge", packages)
            for path in Path(folder).rglob("*"):
                if path.is_file():
                    for start in ("/conda", ""):
                        self.server.serve(f"{start}/{path.relative_to(folder)}", path.read_bytes())

    def bases_of(self, case: str) -> list[str]:
        text = (CORPUS / case / "Dockerfile").read_text()
        text = text.replace("${PYTHON_VERSION}", "3.11")
        found = []
        for name, targets in NAMES.items():
            for target in targets:
                word = target.removeprefix("library/").removesuffix(":latest")
                if f"FROM {word}\n" in text or f"FROM {word} AS" in text:
                    found.append(name)
        return found

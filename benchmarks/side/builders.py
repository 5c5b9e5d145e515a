"""What builds, pushes and runs the project; each has a state of its own that can be emptied."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.measure import LONGEST, process, timed
from benchmarks.peers import PATH
from benchmarks.project import TRAINLOAD
from benchmarks.side.dockerfiles import Installer, Recipe
from benchmarks.side.materials import Materials

UV = str(Path(sys.executable).with_name("uv"))


class Builder(Protocol):
    """A tool as it is used for one project."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def pushes(self) -> bool:
        """It makes an image that a registry takes."""

    @property
    def compiles(self) -> bool:
        """Bytecode goes in: pip compiles what it installs, uv and we do when told."""

    def prepare(self, folder: Path) -> None:
        """Write what it reads besides the project."""

    def forget(self) -> None:
        """As on a machine that has never built anything."""

    def build(self, folder: Path, target: str) -> None: ...
    def push(self, folder: Path, target: str) -> None: ...
    def deliver(self, folder: Path, target: str) -> None:
        """Both, with one command where it has one."""

    def again_elsewhere(self, folder: Path, target: str) -> None:
        """Build what the registry knows as ``target`` on a machine that has nothing, and push it."""

    def run(self, folder: Path, target: str) -> float | None:
        """Build what is not built yet, and run it: seconds until the program's first line; None: it cannot."""


def call(
    argv: Sequence[str], cwd: Path | None = None, environ: Mapping[str, str] | None = None, path: str = PATH
) -> str:
    """Raises CalledProcessError with what the tool said, and TimeoutExpired when it hangs."""
    words = {**(environ or os.environ), "PATH": path}
    done = subprocess.run(
        argv, cwd=cwd, env=words, capture_output=True, text=True, check=False, timeout=LONGEST,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, argv, done.stdout, done.stderr)
    return done.stdout


@dataclass(frozen=True, slots=True)
class Trainload:
    made: Materials
    home: Path
    name: str = "trainload"
    compiles: bool = False
    pushes: bool = True

    @property
    def version(self) -> str:
        return call([TRAINLOAD, "--version"]).split()[-1]

    @property
    def environ(self) -> Mapping[str, str]:
        return {**self.made.environ, **self.own}

    @property
    def own(self) -> Mapping[str, str]:
        """Where everything is kept from one build to the next; uv, which we ask, has a cache too."""
        return {"TRAINLOAD_HOME": str(self.home), "UV_CACHE_DIR": str(self._uv)}

    @property
    def _uv(self) -> Path:
        return self.home.with_name(f"{self.home.name}.uv")

    def prepare(self, folder: Path) -> None:
        if self.compiles:
            with (folder / "trainload.toml").open("a") as settings:
                settings.write("bytecode = true\n")

    def forget(self) -> None:
        for folder in (self.home, self._uv):
            _aside(folder)

    def build(self, folder: Path, target: str) -> None:
        call([TRAINLOAD, "-q", "build", "-t", target], folder, self.environ)

    def push(self, folder: Path, target: str) -> None:
        call([TRAINLOAD, "-q", "push", target], folder, self.environ)

    def deliver(self, folder: Path, target: str) -> None:
        call([TRAINLOAD, "-q", "build", "--push", target], folder, self.environ)

    def again_elsewhere(self, folder: Path, target: str) -> None:
        self.deliver(folder, target)

    def run(self, folder: Path, target: str) -> float | None:
        # run builds by itself
        return process([TRAINLOAD, "-q", "run"], cwd=folder, environ=self.environ).first_output


@dataclass(frozen=True, slots=True)
class Docker:
    """Docker with its classic builder, or with BuildKit."""

    made: Materials
    recipe: Recipe
    title: str
    client: tuple[str, ...]
    """The client and the engine it talks to."""
    buildkit: bool
    pushes: bool = True

    @property
    def compiles(self) -> bool:
        return self.recipe.installer is Installer.PIP

    @property
    def name(self) -> str:
        return f"{self.title} + {self.recipe.label}"

    @property
    def version(self) -> str:
        return call([*self.client, "version", "--format", "{{.Server.Version}}"]).strip()

    @property
    def environ(self) -> Mapping[str, str]:
        return {**os.environ, "DOCKER_BUILDKIT": str(int(self.buildkit))}

    def prepare(self, folder: Path) -> None:
        (folder / "Dockerfile").write_text(self.recipe.dockerfile(self.made))

    def forget(self) -> None:
        call([*self.client, "system", "prune", "-af", "--volumes"])
        if self.buildkit:
            call([*self.client, "builder", "prune", "-af"])

    def build(self, folder: Path, target: str) -> None:
        self._build(folder, target)

    def _build(self, folder: Path, target: str, *options: str) -> None:
        verb = ["buildx", "build", "--build-arg", "BUILDKIT_INLINE_CACHE=1"] if self.buildkit else ["build"]
        words = [*verb, "-q", "--network", "host", *options, "-t", target, str(folder)]
        call([*self.client, *words], folder, self.environ)

    def push(self, folder: Path, target: str) -> None:
        call([*self.client, "push", "-q", target])

    def deliver(self, folder: Path, target: str) -> None:
        if self.buildkit:
            self._build(folder, target, "--push")
        else:
            self.build(folder, target)
            self.push(folder, target)

    def again_elsewhere(self, folder: Path, target: str) -> None:
        if not self.buildkit:  # its --cache-from looks at images that are here
            call([*self.client, "pull", "-q", target])
        self._build(folder, target, "--cache-from", target)
        self.push(folder, target)

    def run(self, folder: Path, target: str) -> float | None:
        built = timed(lambda: self.build(folder, target))
        argv = [*self.client, "run", "--rm", "--network", "host", target]
        return built + process(argv, cwd=folder, environ={**os.environ, "PATH": PATH}).first_output


@dataclass(frozen=True, slots=True)
class Buildah:
    made: Materials
    recipe: Recipe
    root: Path
    """Its storage."""
    pushes: bool = True

    @property
    def compiles(self) -> bool:
        return self.recipe.installer is Installer.PIP

    @property
    def name(self) -> str:
        return f"buildah + {self.recipe.label}"

    @property
    def version(self) -> str:
        return call(["buildah", "--version"]).split()[2]

    @property
    def _storage(self) -> list[str]:
        root, runs = str(self.root / "root"), str(self.root / "run")
        return ["--root", root, "--runroot", runs, "--storage-driver", "overlay"]

    def prepare(self, folder: Path) -> None:
        (folder / "Dockerfile").write_text(self.recipe.dockerfile(self.made))

    def forget(self) -> None:
        if self.root.exists():
            call(["buildah", *self._storage, "rmi", "-a", "-f"])
        shutil.rmtree("/var/tmp/buildah-cache-0", ignore_errors=True)  # noqa: S108 - where it keeps cache mounts
        shutil.rmtree("/var/tmp/buildah-cache", ignore_errors=True)  # noqa: S108

    def build(self, folder: Path, target: str) -> None:
        self._build(folder, target)

    def _build(self, folder: Path, target: str, *options: str) -> None:
        words = ["--layers", "--isolation", "chroot", "--network", "host", "--tls-verify=false", "-q", *options]
        call(["buildah", *self._storage, "build", *words, "-t", target, str(folder)], folder)

    def push(self, folder: Path, target: str) -> None:
        call(["buildah", *self._storage, "push", "-q", "--tls-verify=false", target])

    def deliver(self, folder: Path, target: str) -> None:
        self.build(folder, target)
        self.push(folder, target)

    def again_elsewhere(self, folder: Path, target: str) -> None:
        call(["buildah", *self._storage, "pull", "-q", "--tls-verify=false", target])
        self._build(folder, target)
        self.push(folder, target)

    def run(self, folder: Path, target: str) -> float | None:
        return None


@dataclass(frozen=True, slots=True)
class PlainUv:
    """``uv pip install`` into a virtual environment of this machine: no image at all."""

    made: Materials
    root: Path
    """Its environment and its cache."""
    name: str = "uv pip install (no image)"
    pushes: bool = False
    compiles: bool = False

    @property
    def version(self) -> str:
        return call([UV, "--version"]).split()[1]

    @property
    def python(self) -> Path:
        return self.root / "venv" / "bin" / "python"

    def prepare(self, folder: Path) -> None:
        """Nothing: it reads the requirements."""

    def forget(self) -> None:
        _aside(self.root)

    def build(self, folder: Path, target: str) -> None:
        environ = {**os.environ, "UV_CACHE_DIR": str(self.root / "cache")}
        if not self.python.exists():
            call([UV, "venv", "-q", "-p", "3.11", str(self.root / "venv")], folder, environ)
        sources = ["--no-index", "--find-links", self.made.links, "-r", "requirements.txt"]
        call([UV, "pip", "install", "-q", "--python", str(self.python), *sources], folder, environ)

    def push(self, folder: Path, target: str) -> None:
        """There is nothing to push."""

    def deliver(self, folder: Path, target: str) -> None:
        self.build(folder, target)

    def again_elsewhere(self, folder: Path, target: str) -> None:
        self.build(folder, target)

    def run(self, folder: Path, target: str) -> float | None:
        built = timed(lambda: self.build(folder, target))
        return built + process([str(self.python), "train.py"], cwd=folder, environ=os.environ).first_output


def _aside(folder: Path) -> None:
    """Out of the way. Removing a large tree makes ext4 slow for minutes, for whoever comes next."""
    if folder.exists():
        number = sum(1 for _ in folder.parent.glob(f"{folder.name}-*"))
        folder.rename(folder.with_name(f"{folder.name}-{number}"))

"""Small complete values for tests: a project, a lock, a plan, without any file behind them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TypeVar

from trainload.errors import Text
from trainload.lock.model import (
    ArchivePath,
    DistributionBase,
    DistributionPackage,
    File,
    Found,
    Lock,
    PythonFile,
    StandalonePython,
)
from trainload.platform import Platform
from trainload.project.model import (
    Chosen,
    Mirrors,
    NoDependencies,
    Origin,
    Profile,
    Project,
    Resources,
    Settings,
)

T = TypeVar("T")


def chosen(value: T) -> Chosen[T]:
    return Chosen(value, Origin.DEFAULT, Text("for a test"))


def settings(**changed: object) -> Settings:
    """Settings with every default a test does not care about; ``changed`` gives plain values."""
    values: dict[str, object] = {
        "name": "digits",
        "python": None,
        "base": "apt:bookworm",
        "profile": Profile.SLIM,
        "system": (),
        "dependencies": NoDependencies(),
        "find_links": (),
        "indexes": (),
        "accelerator": "cpu",
        "command": ("python", "train.py"),
        "user": 1000,
        "workdir": "/workspace",
        "env": {},
        "bytecode": False,
        "configure": "never",
        "include": ("**",),
        "exclude": (),
        "platforms": ("linux/amd64",),
        "mirrors": Mirrors(),
        "run": Resources(),
    }
    return Settings(**{name: chosen(value) for name, value in (values | changed).items()})  # type: ignore[arg-type]


def project(**changed: object) -> Project:
    return Project(settings(**changed))


def wheel(name: str, version: str = "1.0", size: int | None = 1_000) -> PythonFile:
    """A pure wheel that is locked but exists nowhere."""
    file_name = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    sha256 = hashlib.sha256(file_name.encode()).hexdigest()
    return PythonFile(name, version, File(file_name, sha256, size, Found(file_name)))


def deb(name: str, version: str = "1.0-1", architecture: str = "amd64") -> DistributionPackage:
    file_name = f"{name}_{version}_{architecture}.deb"
    sha256 = hashlib.sha256(file_name.encode()).hexdigest()
    path = ArchivePath("debian", f"pool/main/{name[0]}/{name}/{file_name}")
    return DistributionPackage(name, version, architecture, File(file_name, sha256, 5_000, path), 20_480)


def lock(
    *,
    base: Mapping[str, tuple[DistributionPackage, ...]] | None = None,
    interpreter: StandalonePython | None = None,
    accelerator: str = "cpu",
) -> Lock:
    """A lock without Python packages over a base of two distribution packages."""
    packages = base if base is not None else {"amd64": (deb("base-files"), deb("tini"))}
    return Lock(
        inputs="0" * 64,
        python="3.11",
        packages=(),
        base=DistributionBase("debian", "bookworm", "slim", ("tini",), (), packages, "3.11", (2, 36)),
        platforms=tuple(Platform("linux", architecture) for architecture in packages),
        interpreter=interpreter,
        accelerator=accelerator,
    )

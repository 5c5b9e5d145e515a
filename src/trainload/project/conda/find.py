"""Which of conda's files a project has, and whether it is the one that counts."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from trainload.errors import ConfigError, Place, Text
from trainload.project.config import Sources
from trainload.project.keys import ALLOW_INDEX_OPTIONS, CONDA_FILE
from trainload.project.model import Chosen, CondaLockFile, CondaLockKind, Dependencies, Origin
from trainload.tree import Tree

ENVIRONMENTS = ("environment.yml", "environment.yaml", "conda.yml", "conda.yaml")
LOCKS = {
    "conda-lock.yml": CondaLockKind.CONDA_LOCK,
    "pixi.lock": CondaLockKind.PIXI,
    "conda-linux-64.lock": CondaLockKind.EXPLICIT,
}
_OTHER = re.compile(r"conda-(?:linux|osx|win)-[a-z0-9_]+\.lock")
_HEAD = 64 << 10


def configured(tree: Tree, sources: Sources, environ: Mapping[str, str]) -> Chosen[Dependencies] | None:
    """What ``conda.file`` names. Raises :class:`ConfigError`."""
    chosen = sources.choose(CONDA_FILE)
    if chosen.value is None:
        return None
    if tree.find(chosen.value) is None:
        raise ConfigError(
            Text("{file} does not exist", file=chosen.value), place=Place(sources.file or "", "conda.file")
        )
    return Chosen(_read(tree, chosen.value, sources, environ), chosen.origin, chosen.reason)


def lock_here(tree: Tree, present: Collection[str]) -> Chosen[Dependencies] | None:
    """A lock of a conda environment that lies in the project."""
    for name, kind in LOCKS.items():
        if name in present:
            return Chosen(CondaLockFile(name, kind), Origin.DETECTED, Text("{file} is here", file=name))
    if "requirements.txt" in present and is_explicit(tree, "requirements.txt"):
        reason = Text("{file} is what `conda list --explicit` writes", file="requirements.txt")
        return Chosen(CondaLockFile("requirements.txt", CondaLockKind.EXPLICIT), Origin.DETECTED, reason)
    return None


def lock_of_another_platform(present: Collection[str]) -> Chosen[Dependencies] | None:
    """``conda-osx-arm64.lock``, where nothing else says what the project needs: it is told, and not overlooked."""
    for name in sorted(present):
        if _OTHER.fullmatch(name):
            return Chosen(
                CondaLockFile(name, CondaLockKind.EXPLICIT), Origin.DETECTED, Text("{file} is here", file=name)
            )
    return None


def environment_here(present: Collection[str]) -> str | None:
    return next((name for name in ENVIRONMENTS if name in present), None)


def takes_in(tree: Tree, present: Collection[str]) -> bool:
    """Whether the project's environment reads its requirements.txt, so that it stands for both."""
    name = environment_here(present)
    if name is None:
        return False
    from trainload.project.conda.environment import includes

    return includes(tree, name, "requirements.txt")


def environment(tree: Tree, name: str, sources: Sources, environ: Mapping[str, str]) -> Chosen[Dependencies]:
    """The environment at ``name``. Raises :class:`ConfigError`."""
    return Chosen(_read(tree, name, sources, environ), Origin.DETECTED, Text("{file} is here", file=name))


def _read(tree: Tree, path: str, sources: Sources, environ: Mapping[str, str]) -> Dependencies:
    name = path.rpartition("/")[2]
    if name in LOCKS or name.endswith(("conda-lock.yml", "pixi.lock")):
        kind = LOCKS.get(name, CondaLockKind.PIXI if name.endswith("pixi.lock") else CondaLockKind.CONDA_LOCK)
        return CondaLockFile(path, kind)
    if is_explicit(tree, path):
        return CondaLockFile(path, CondaLockKind.EXPLICIT)
    from trainload.project.conda.environment import read_environment

    allow = sources.choose(ALLOW_INDEX_OPTIONS).value
    return read_environment(tree, path, environ, allow_index_options=allow)


def is_explicit(tree: Tree, path: str) -> bool:
    """Whether the file is one that ``conda list --explicit`` writes."""
    with tree.open(path) as file:
        head = file.read(_HEAD)
    return any(line.strip() == b"@EXPLICIT" for line in head.splitlines())

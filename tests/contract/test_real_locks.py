"""Locks from uv's own default index, judged by other readers of the standard: packaging and uv itself."""

from __future__ import annotations

import os
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.pylock import Pylock
from packaging.tags import Tag
from tests.network import index_answers

from trainload.lock.model import DistributionBase, Lock
from trainload.lock.select import Target, select
from trainload.lock.toml import dumps, loads
from trainload.platform import Platform
from trainload.project.model import RequirementFiles
from trainload.resolve.python import resolve_python
from trainload.resolve.request import PythonRequest
from trainload.resolve.uv import Uv

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
GLIBC = (2, 36)


@pytest.fixture(scope="module")
def uv() -> Uv:
    """uv as this machine configures it, if it reaches an index."""
    if not index_answers():
        pytest.skip("no package index can be reached")
    return Uv(dict(os.environ))


def lock(uv: Uv, root: Path, requirements: str, python: str = "3.11") -> Lock:
    (root / "requirements.txt").write_text(requirements)
    targets = tuple(Target(platform, python, GLIBC) for platform in (AMD64, ARM64))
    request = PythonRequest(root, RequirementFiles(("requirements.txt",)), targets, accelerator="cuda")
    adopted = resolve_python(request, uv)
    assert adopted.misfits == {}
    base = DistributionBase("debian", "bookworm", "slim", (), (), {"amd64": (), "arm64": ()}, python, GLIBC)
    return Lock("0" * 64, python, adopted.packages, base, (AMD64, ARM64))


def chosen_by_packaging(text: bytes, target: Target) -> dict[str, str]:
    """What the reference implementation of PEP 751 installs from the file, for the target."""
    tags = [Tag(*tag.split("-")) for tag in target.ranks()]
    pylock = Pylock.from_dict(tomllib.loads(text.decode()))
    selected = pylock.select(environment=target.environment(), tags=tags)  # type: ignore[arg-type]
    return {str(package.name): str(getattr(file, "filename", "")) for package, file in selected}


@pytest.mark.parametrize(
    ("requirements", "python"),
    [
        ("scikit-learn\nrequests\ncolorama; sys_platform == 'win32'\n", "3.11"),
        ("fastapi[standard]\ntransformers\npydantic-core\n", "3.13"),
        ("torch\ntorchvision\n", "3.12"),
    ],
    ids=["sklearn", "web", "torch"],
)
def test_other_readers_of_the_lock_choose_the_same_files(
    uv: Uv, tmp_path: Path, requirements: str, python: str
) -> None:
    made = lock(uv, tmp_path, requirements, python)
    text = dumps(made)
    assert loads(text, "pylock.trainload.toml") == made
    for platform in (AMD64, ARM64):
        ours = {item.name: item.file.name for item in select(made, platform).python}
        assert ours == chosen_by_packaging(text, Target(platform, python, GLIBC))
        assert len(ours) > 3


def test_uv_installs_from_the_lock(uv: Uv, tmp_path: Path) -> None:
    if Platform.host() != AMD64:
        pytest.skip("the host is not amd64")
    python = ".".join(map(str, sys.version_info[:2]))
    made = lock(uv, tmp_path, "rich\nnumpy\n", python)
    (tmp_path / "pylock.trainload.toml").write_bytes(dumps(made))
    arguments = ["-r", "pylock.trainload.toml", "--target", "out", "--dry-run"]
    done = uv.run("pip install", arguments, tmp_path)
    assert done.exit_code == 0, done.complaint
    for item in select(made, AMD64).python:
        assert f"{item.name}=={item.version}" in done.complaint

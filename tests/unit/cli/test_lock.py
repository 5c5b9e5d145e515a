"""``trainload lock`` as users see it; the base is the last lock's, the packages come from an index on loopback."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from trainload.cli.main import run
from trainload.lock.model import ArchivePath, DistributionBase, DistributionPackage, File, Lock
from trainload.lock.toml import FILE_NAME, dumps, loads
from trainload.platform import Platform
from trainload.testing.index import PackageIndex, wheel
from trainload.testing.server import FaultServer


@dataclass
class Folder:
    """A project whose base is locked already."""

    root: Path
    index: PackageIndex
    server: FaultServer
    out: str = ""
    err: str = ""

    def __call__(self, *argv: str) -> int:
        stdout, stderr = io.StringIO(), io.StringIO()
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_", "TRAINLOAD_"))
        }
        environ = {**kept, "TRAINLOAD_HOME": str(self.root.parent / "home"), "LANG": "C.UTF-8", "UV_NO_CACHE": "1"}
        code = run(["lock", *argv], environ=environ, cwd=self.root, stdout=stdout, stderr=stderr)
        self.out, self.err = stdout.getvalue(), stderr.getvalue()
        return code

    def require(self, text: str) -> None:
        (self.root / "requirements.txt").write_text(text)

    @property
    def file(self) -> Path:
        return self.root / FILE_NAME

    def versions(self) -> dict[str, str]:
        return {package.name: package.version for package in loads(self.file.read_bytes(), FILE_NAME).packages}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    root = tmp_path / "project"
    root.mkdir()
    with FaultServer() as server:
        made = Folder(root, PackageIndex(server), server)
        (root / "train.py").write_text("print('hello')\n")
        (root / "trainload.toml").write_text(f'index = "{made.index.url}"\n')
        base = DistributionBase("debian", "bookworm", "slim", ("tini",), (), {"amd64": ()}, "3.11", (2, 36))
        made.file.write_bytes(dumps(Lock("0" * 64, "3.11", (), base, (Platform(),))))
        made.index.add(wheel("a", "1.0", requires=["b"]), wheel("b", "1.0"))
        made.require("a\n")
        yield made


def test_it_tells_what_changed_with_bytes_and_then_that_the_lock_holds(folder: Folder) -> None:
    assert folder() == 0, folder.err
    assert "locking anew" in folder.err and "2 Python packages new: a 1.0, b 1.0" in folder.err
    assert folder.out == ""
    written = folder.file.read_bytes()
    assert folder() == 0
    assert f"{FILE_NAME} holds what the project asks for" in folder.err
    assert folder.file.read_bytes() == written


@pytest.mark.parametrize("flag", ["--check", "--frozen"])
def test_a_stale_lock_is_refused_and_left_alone(folder: Folder, flag: str) -> None:
    before = folder.file.read_bytes()
    assert folder(flag) == 1
    assert "does not hold what the project asks for" in folder.err and "trainload lock" in folder.err
    assert folder.file.read_bytes() == before
    assert folder() == 0 and folder(flag) == 0


def test_versions_stay_until_an_upgrade_of_one_or_of_all(folder: Folder) -> None:
    assert folder() == 0
    folder.index.add(wheel("a", "2.0", requires=["b"]), wheel("b", "2.0"))
    folder.require("a\nb\n")
    assert folder() == 0
    assert folder.versions() == {"a": "1.0", "b": "1.0"}
    assert folder("--upgrade", "b") == 0, folder.err
    assert folder.versions() == {"a": "1.0", "b": "2.0"}
    assert "b 1.0 → 2.0" in folder.err and "locking anew" not in folder.err


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("numpi", "did you mean numpy?"),
        ("NumPi<2", "did you mean numpy?"),
        ("zzzz", "write it into the project's dependencies"),
        ("tini", "tini is a package of bookworm"),
    ],
)
def test_an_upgrade_of_what_the_lock_does_not_have_is_told(folder: Folder, word: str, hint: str) -> None:
    folder.index.add(wheel("numpy", "1.0"))
    folder.require("numpy\n")
    archive = File("tini_1_amd64.deb", "1" * 64, 1, ArchivePath("debian", "pool/tini_1_amd64.deb"))
    packages = {"amd64": (DistributionPackage("tini", "1", "amd64", archive, 0),)}
    lock = loads(folder.file.read_bytes(), FILE_NAME)
    assert isinstance(lock.base, DistributionBase)
    folder.file.write_bytes(dumps(replace(lock, base=replace(lock.base, packages=packages))))
    before = folder.file.read_bytes()
    assert folder("--upgrade", word) == 2
    assert "the lock has no Python package" in folder.err and hint in folder.err
    assert folder.file.read_bytes() == before
    assert folder("--upgrade", "NumPy>=1") == 0, folder.err
    assert folder.versions() == {"numpy": "1.0"}


def test_json_has_everything_that_is_told(folder: Folder) -> None:
    assert folder("--json") == 0
    document = json.loads(folder.out)
    assert (document["file"], document["changed"], document["python"]) == (FILE_NAME, True, "3.11")
    assert document["platforms"]["linux/amd64"]["files"] == 2 and document["platforms"]["linux/amd64"]["bytes"] > 0
    (first, _) = document["changes"]["packages"]
    assert (first["part"], first["name"], first["old"], first["new"]) == ("python", "a", None, "1.0")
    assert folder("--json") == 0
    assert json.loads(folder.out)["changed"] is False


def test_a_failure_leaves_the_lock_as_it_was(folder: Folder) -> None:
    before = folder.file.read_bytes()
    folder.require("nowhere-to-be-found\n")
    assert folder() == 1
    assert "nowhere-to-be-found" in folder.err and "Traceback" not in folder.err
    assert folder.file.read_bytes() == before
    assert sorted(path.name for path in folder.root.iterdir()) == sorted(
        [FILE_NAME, "requirements.txt", "train.py", "trainload.toml"]
    )


def test_F05_a_lock_of_the_future_is_refused_and_left_alone(folder: Folder) -> None:
    future = folder.file.read_bytes().replace(b"[tool.trainload]\nversion = 1", b"[tool.trainload]\nversion = 2")
    folder.file.write_bytes(future)
    assert folder() == 1
    assert "does not know" in folder.err and "tool.trainload.version" in folder.err
    assert folder.file.read_bytes() == future


@pytest.mark.parametrize("words", [["a"], ["--upgrade", "--check"], ["--upgrade", "a", "--frozen"]])
def test_what_makes_no_sense_is_a_wrong_command_line(folder: Folder, words: list[str]) -> None:
    assert folder(*words) == 2
    assert "--upgrade" in folder.err


def test_fault_9_offline_asks_nobody_and_leaves_the_lock_alone(folder: Folder) -> None:
    before = folder.file.read_bytes()
    assert folder("--offline") == 1
    assert "offline" in folder.err and "run again with a network" in folder.err
    folder.file.unlink()
    assert folder("--offline") == 1
    assert "the packages of bookworm cannot be chosen offline" in folder.err
    assert folder.server.requests == [] and not folder.file.exists()
    folder.file.write_bytes(before)
    assert folder() == 0
    assert folder("--offline") == 0, folder.err


def test_a_platform_is_refused_because_a_lock_is_for_all_of_them(folder: Folder) -> None:
    before = sorted(folder.root.iterdir())
    assert folder("--platform", "linux/arm64") == 2
    assert "a lock is for all platforms of the project at once" in folder.err
    assert "TRAINLOAD_PLATFORMS" in folder.err
    assert sorted(folder.root.iterdir()) == before


def test_what_was_asked_for_is_saved_beside_what_is_written_there_already(folder: Folder) -> None:
    settings = folder.root / "trainload.toml"
    settings.write_text(f"# ours\n{settings.read_text()}")
    assert folder("--accelerator", "cuda", "--save") == 0, folder.err
    assert settings.read_text() == f'# ours\nindex = "{folder.index.url}"\naccelerator = "cuda"\n'
    assert 'trainload.toml: accelerator = "cuda"' in folder.err
    assert folder("--check") == 0, folder.err
    assert loads(folder.file.read_bytes(), FILE_NAME).accelerator == "cuda"


def test_in_a_pyproject_its_own_table_takes_it(folder: Folder) -> None:
    (folder.root / "trainload.toml").unlink()
    (folder.root / "pyproject.toml").write_text(
        f'[project]\nname = "x"\n\n[tool.trainload]\nindex = "{folder.index.url}"\n'
    )
    assert folder("--accelerator", "cuda", "--save") == 0, folder.err
    written = (folder.root / "pyproject.toml").read_text()
    assert written.endswith(f'[tool.trainload]\nindex = "{folder.index.url}"\naccelerator = "cuda"\n')
    assert folder("--check") == 0, folder.err


def test_nothing_is_saved_when_nothing_was_said_or_nothing_may_change(folder: Folder) -> None:
    before = (folder.root / "trainload.toml").read_bytes()
    assert folder("--save") == 2
    assert "there is nothing to save" in folder.err
    assert folder("--save", "--check", "--accelerator", "cuda") == 2
    assert (folder.root / "trainload.toml").read_bytes() == before

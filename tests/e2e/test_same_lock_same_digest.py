"""One lock is one image: whoever builds it, with which Python, umask, time zone, language, cores, folder and cache.

Real packages from the index and the distribution's archive; every build is a process of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
NOBODY = 65534
TRAINLOAD = Path(sys.executable).with_name("trainload")


@dataclass(frozen=True)
class Maker:
    """Builds the project of the test under the circumstances it is given."""

    area: Path
    project: Path
    home: Path
    digest: str

    def build(self, **changed: object) -> str:
        return build(self.area, self.project, Circumstances(**changed), self.home)["digest"]  # type: ignore[arg-type]


@dataclass(frozen=True)
class Circumstances:
    trainload: Path = TRAINLOAD
    prefix: tuple[str, ...] = ()
    user: int | None = None
    umask: int = 0o022
    environ: Mapping[str, str] = field(default_factory=dict)
    folder: str = "project"
    downloads: bool = True
    """Fetched files are there already; no layer is."""


@pytest.fixture(scope="module")
def area() -> Iterator[Path]:
    """A folder other users may look into, which pytest's own is not."""
    folder = Path(tempfile.mkdtemp(prefix="trainload-digest-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def maker(area: Path) -> Maker:
    project = area / "locked"
    project.mkdir()
    (project / "requirements.txt").write_text("numpy\nrich\n")
    (project / "train.py").write_text("import numpy\nprint(numpy.arange(3).sum())\n")
    (project / "run.sh").write_text("#!/bin/sh\nexec python train.py\n")
    (project / "run.sh").chmod(0o755)
    home = area / "first home"
    first = build(area, project, Circumstances(folder="first", downloads=False), home, frozen=False)
    shutil.copy(area / "first" / "pylock.trainload.toml", project)
    return Maker(area, project, home, first["digest"])


def build(area: Path, project: Path, how: Circumstances, home: Path, *, frozen: bool = True) -> dict[str, str]:
    folder = area / how.folder
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(project, folder)
    chosen = home
    if frozen:
        chosen = Path(tempfile.mkdtemp(prefix="home-", dir=area))
        if how.downloads:
            shutil.copytree(home / "files", chosen / "files", copy_function=os.link)
    if how.user is not None:
        for path in (folder, *folder.rglob("*"), chosen, *chosen.rglob("*")):
            if path.is_dir() or path.parent == folder:
                os.chown(path, how.user, how.user)
    environ = {**os.environ, "TRAINLOAD_HOME": str(chosen), "HOME": str(chosen), **how.environ}
    command = [*how.prefix, str(how.trainload), "build", "--json", *(["--frozen"] if frozen else [])]
    done = subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, umask=how.umask, check=False
    )
    assert done.returncode == 0, done.stderr
    document: dict[str, str] = json.loads(done.stdout)
    return document


def host(area: Path, python: str) -> Path:
    """Trainload installed for another Python, where every user can run it."""
    folder = area / f"host-{Path(python).name}-{abs(hash(python))}"
    if not folder.exists():
        uv = Path(sys.executable).with_name("uv")
        subprocess.run([uv, "venv", "-q", "--python", python, folder], check=True)
        subprocess.run(
            [uv, "pip", "install", "-q", "--python", folder / "bin/python", "--link-mode", "copy", CHECKOUT],
            check=True,
        )
    return folder / "bin" / "trainload"


def interpreter(version: str) -> str:
    """A CPython of that minor version on this machine."""
    installed = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}"))
    found = shutil.which(f"python{version}")
    for candidate in [*map(str, installed), *([found] if found else [])]:
        if runs(candidate, "import sys"):
            return candidate
    pytest.skip(f"needs Python {version} on this machine")


def runs(python: str, program: str) -> bool:
    """Whether that Python is there and runs ``program`` to a good end."""
    try:
        return subprocess.run([python, "-c", program], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("version", [v for v in ("3.11", "3.12", "3.13") if not sys.version.startswith(v)])
def test_same_lock_same_digest_whatever_the_hosts_python(maker: Maker, version: str) -> None:
    assert maker.build(trainload=host(maker.area, interpreter(version))) == maker.digest


@pytest.mark.parametrize(
    ("umask", "environ"),
    [
        (0o000, {"TZ": "Asia/Shanghai", "LANG": "zh_CN.UTF-8"}),
        (0o077, {"TZ": "America/New_York", "LC_ALL": "C", "PYTHONHASHSEED": "12345"}),
    ],
    ids=lambda value: f"{value:o}" if isinstance(value, int) else "-".join(value.values()),
)
def test_same_lock_same_digest_whatever_umask_time_zone_and_language(
    maker: Maker, umask: int, environ: dict[str, str]
) -> None:
    assert maker.build(umask=umask, environ=environ, folder=f"umask {umask:o}") == maker.digest


def test_same_lock_same_digest_on_one_core_as_on_all_and_in_turkish(maker: Maker) -> None:
    core = min(os.sched_getaffinity(0))
    changed = {"prefix": ("taskset", "-c", str(core)), "umask": 0o027, "environ": {"LC_ALL": "tr_TR.UTF-8"}}
    assert maker.build(**changed) == maker.digest


def test_same_lock_same_digest_from_an_empty_cache(maker: Maker) -> None:
    assert maker.build(downloads=False, folder="another checkout/of it") == maker.digest


def test_same_lock_same_digest_from_a_warm_store(maker: Maker) -> None:
    again = Circumstances(folder="first")
    done = subprocess.run(
        [again.trainload, "build", "--json"],
        cwd=maker.area / "first",
        env={**os.environ, "TRAINLOAD_HOME": str(maker.home)},
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout)["digest"] == maker.digest


def test_same_lock_same_digest_for_an_ordinary_user(maker: Maker) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user; every other test here is an ordinary user's already")
    if not runs("/usr/bin/python3", "import sys; sys.exit(sys.version_info < (3, 11))"):
        pytest.skip("needs a Python 3.11 or newer in /usr/bin, which other users can run")
    ordinary = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    assert maker.build(prefix=ordinary, user=NOBODY, trainload=host(maker.area, "/usr/bin/python3")) == maker.digest

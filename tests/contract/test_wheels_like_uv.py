"""Real wheels of all kinds become the files, modes and RECORDs that uv makes of them in a virtual environment.

The wheels come from the machine's package index, once, into pytest's cache; without an index the test is skipped.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pytest
from uv import find_uv_bin

from trainload.layers.model import Written
from trainload.layers.wheels import write_wheels
from trainload.lock.model import File, Found
from trainload.plan.model import WheelsRecipe

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
KINDS = {
    "pure": "click==8.5.1 rich==15.0.0 urllib3==2.8.0 idna==3.20 jinja2==3.1.6 pygments==2.21.0 tqdm==4.70.0",
    "console scripts": "pip==26.3 setuptools==84.2.1 docutils==0.23 flake8==7.5.0 pytest==9.2.0",
    "abi3": "cryptography==50.0.2 psutil==7.2.2 protobuf==7.36.2 safetensors==0.8.0",
    "manylinux": "markupsafe==3.0.4 pyyaml==6.0.3 lxml==6.1.3 pillow==13.0.0 greenlet==3.5.6 cffi==2.1.1",
    "data scripts": "ruff==0.17.6 ninja==1.13.2 jmespath==1.1.0 xlsxwriter==3.3.1",
    "data": "ipykernel==7.4.0 jupyterlab-widgets==3.0.17 widgetsnbextension==4.0.16 yt-dlp==2026.10.26 "
    "notebook==7.6.5",
    "namespace": "google-api-core==2.44.0 googleapis-common-protos==1.76.0 google-auth==2.62.2 azure-core==1.41.0 "
    "azure-identity==1.27.0 sphinxcontrib-applehelp==2.0.0 sphinxcontrib-htmlhelp==2.1.0 zope.interface==8.7",
    "the same file": "nvidia-nvtx-cu12 nvidia-cuda-runtime-cu12==12.9.79",
    "windows": "sniffio==1.3.1 pywin32-ctypes==0.2.3",
    "big, with directory entries": "numpy==2.4.6 scikit-learn==1.9.1 scipy==1.17.1 pandas==3.1.1",
}
UNLIKE = ("INSTALLER", "direct_url.json", "uv_cache.json", "uv_build.json")
"""What each installer says of itself."""


@dataclass(frozen=True, slots=True)
class OnDisk:
    paths: dict[str, Path]

    def open(self, file: File, /) -> BinaryIO:
        return self.paths[file.name].open("rb")


@pytest.fixture(scope="module")
def wheels(pytestconfig: pytest.Config) -> list[Path]:
    """The wheels, in pytest's cache."""
    assert pytestconfig.cache is not None
    folder = pytestconfig.cache.mkdir(f"wheels-{PYTHON}")
    wanted = [name for names in KINDS.values() for name in names.split()]

    def download(names: list[str]) -> str:
        command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary", ":all:", "--prefer-binary", "-d", str(folder), *names]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=500).stderr

    stamp = folder / hashlib.sha256(" ".join(wanted).encode()).hexdigest()
    if not stamp.exists():
        for old in folder.iterdir():
            old.unlink()
        with ThreadPoolExecutor(4) as pool:
            said = list(pool.map(download, (wanted[part::4] for part in range(4))))
        if len(list(folder.glob("*.whl"))) != len(wanted):
            pytest.skip(f"no package index with all of the wheels: {' '.join(said)[-500:]}")
        stamp.touch()
    return sorted(folder.glob("*.whl"))


def ours(paths: list[Path], at: Path) -> Written:
    recipe = WheelsRecipe(tuple(File(path.name, "0" * 64, None, Found(path.name)) for path in paths), PYTHON)
    with at.open("wb") as sink:
        return write_wheels(recipe, OnDisk({path.name: path for path in paths}), sink)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def our_tree(layer: Path) -> dict[str, tuple[int, str | list[str]]]:
    found: dict[str, tuple[int, str | list[str]]] = {}
    with tarfile.open(layer) as tar:
        for info in tar:
            name = info.name.removeprefix("opt/venv").removeprefix("/")
            file = tar.extractfile(info) if info.isreg() else None
            found[name] = (info.mode, _content(name, file.read(), b"/opt/venv") if file else "folder")
    return found


def uvs_tree(venv: Path) -> dict[str, tuple[int, str | list[str]]]:
    return {
        str(path.relative_to(venv)): (
            path.lstat().st_mode & 0o7777,
            "folder"
            if path.is_dir()
            else _content(str(path.relative_to(venv)), path.read_bytes(), str(venv).encode()),
        )
        for path in venv.rglob("*")
    }


def _content(name: str, data: bytes, venv: bytes) -> str | list[str]:
    """A digest; the interpreter's path and what depends on it left out."""
    if name.endswith(".dist-info/RECORD"):
        rows = data.decode().splitlines()
        rows = [row for row in rows if not row.rsplit(",", 2)[0].endswith(UNLIKE)]
        return [row.rsplit(",", 2)[0] if row.startswith("../../../bin/") else row for row in rows]
    if data.startswith(b"#!" + venv + b"/bin/python"):
        return digest(data.replace(b"#!" + venv, b"#!", 1))
    return digest(data)


def uv_installs(paths: list[Path], tmp: Path) -> tuple[set[str], Path]:
    """(what an empty environment has, the environment)."""
    venv = tmp / "venv"
    uv = find_uv_bin()
    env = {**os.environ, "UV_CACHE_DIR": str(tmp / "cache"), "UV_NO_CONFIG": "1"}
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(venv)], check=True, env=env)
    before = {str(path.relative_to(venv)) for path in venv.rglob("*")}
    command = [uv, "pip", "install", "-q", "--offline", "--no-deps", "--link-mode", "copy"]
    command += ["--python", str(venv / "bin" / "python"), *map(str, paths)]
    subprocess.run(command, check=True, env=env, umask=0o022)
    return before, venv


def compare(paths: list[Path], tmp: Path) -> list[str]:
    """Every path that is not as uv has it."""
    ours(paths, tmp / "layer.tar.gz")
    mine = our_tree(tmp / "layer.tar.gz")
    before, venv = uv_installs(paths, tmp)
    theirs = uvs_tree(venv)
    differ = []
    for path in sorted(mine.keys() | theirs.keys()):
        if path.endswith(UNLIKE) or path in ("", "opt", ".lock") or (path in before and path not in mine):
            continue
        if mine.get(path) != theirs.get(path):
            differ.append(f"{path}: {mine.get(path)}, uv has {theirs.get(path)}")
    return differ


def test_forty_wheels_of_all_kinds_become_what_uv_makes_of_them(wheels: list[Path], tmp_path: Path) -> None:
    assert len(wheels) >= 40
    differ = compare(wheels, tmp_path)
    assert differ[:20] == []


def test_a_wheel_found_in_a_folder_becomes_what_uv_makes_of_it(tmp_path: Path) -> None:
    folder = os.environ.get("PIP_FIND_LINKS")
    found = sorted(Path(folder).glob(f"*cp{PYTHON.replace('.', '')}*.whl")) if folder else []
    if not found:
        pytest.skip(f"PIP_FIND_LINKS names no folder with wheels for Python {PYTHON}")
    assert compare(found[:1], tmp_path)[:20] == []


def test_the_layer_does_not_depend_on_order_of_work_umask_or_locale(wheels: list[Path], tmp_path: Path) -> None:
    small = [path for path in wheels if path.stat().st_size < 1_000_000]
    before = os.umask(0)
    try:
        first = ours(small, tmp_path / "a")
        os.umask(0o077)
        second = ours(small, tmp_path / "b")
    finally:
        os.umask(before)
    assert first == second
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()

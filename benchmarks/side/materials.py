"""What all tools are given: one folder of wheels, one base image and one uv image in a registry, two projects."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from benchmarks.measure import LONGEST
from benchmarks.peers import free_port, registry, run, started, wait_for
from benchmarks.project import TRAINLOAD
from benchmarks.registry import Counted, counted
from benchmarks.wheels import WheelWriter

_SMALL = "scikit-learn\n"
_TORCH = "torch==2.13.*"
_LARGE = f"{_TORCH}\nnumpy\nsafetensors\ntqdm\npyyaml\n"
ADDED = ("tabulate", "attrs", "idna", "certifi", "click")
"""Small packages that nothing here needs; one more each round."""
_BUMPS = 3
_TRAIN = 'print("started", flush=True)\n{imports}\nprint("ended")\n'
_PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


@dataclass(frozen=True, slots=True)
class Sort:
    """One of the projects."""

    name: str
    requirements: str
    bumps: tuple[tuple[str, str], ...]
    """One package's line in the requirements, and what it becomes, round by round: of the large project torch."""
    imports: str


@dataclass(frozen=True, slots=True)
class Materials:
    folder: Path
    wheels: Path
    links: str
    """Address of a page with links to the wheels."""
    host: str
    """``127.0.0.1:PORT`` of the registry."""
    way: Counted
    sort: Sort

    @property
    def base(self) -> str:
        return f"{self.host}/base:1"

    @property
    def uv(self) -> str:
        return f"{self.host}/uv:1"

    @property
    def environ(self) -> Mapping[str, str]:
        """Of programs that find the wheels in the folder; the project's ``uv.toml`` says to ask no index."""
        return {**os.environ, "TRAINLOAD_FIND_LINKS": str(self.wheels), "PYTHONUNBUFFERED": "1"}


@contextmanager
def materials(folder: Path, cache: Path, wanted: str) -> Iterator[Materials]:
    """Made anew in ``folder``; what is downloaded is kept in ``cache``, for the next run. ``wanted``: a project."""
    wheels, store = cache / "wheels", cache / "store"
    for each in (folder, wheels):
        each.mkdir(parents=True, exist_ok=True)
    sort = _small(wheels) if wanted == "small" else _large(wheels)
    with ExitStack() as stack:
        port = stack.enter_context(registry(folder))
        way = stack.enter_context(counted(port))
        links = free_port()
        server = [sys.executable, "-m", "http.server", "-b", "127.0.0.1", "-d", str(wheels), str(links)]
        stack.enter_context(started(server, folder / "links.log"))
        wait_for(links)
        made = Materials(folder, wheels, f"http://127.0.0.1:{links}/", f"127.0.0.1:{way.port}", way, sort)
        _read_once(wheels)
        _base_image(made, store)
        _uv_image(made, store)
        yield made


def _read_once(wheels: Path) -> None:
    """So that nobody waits for the disk because he comes first."""
    for wheel in wheels.glob("*.whl"):
        with wheel.open("rb") as file:
            hashlib.file_digest(file, "md5")


def _small(wheels: Path) -> Sort:
    _download(wheels, _SMALL + "\n".join(ADDED))
    name = _SMALL.strip()
    versions = [_versions(wheels, "scikit_learn")[-1]]
    for _ in range(_BUMPS):
        _download(wheels, f"{name}<{versions[-1]}")
        known = _versions(wheels, "scikit_learn")
        versions.append(known[known.index(versions[-1]) - 1])
    lines = [f"{name}=={version}" for version in versions]
    return Sort("small", f"{lines[0]}\n", tuple(pairwise(lines)), "import sklearn.linear_model")


def _large(wheels: Path) -> Sort:
    _download(wheels, _LARGE + "\n".join(ADDED))
    held = _versions(wheels, "torch")[0]
    other = _another_torch(next(wheels.glob(f"torch-{held}-*.whl")))
    line = f"torch=={held}"
    return Sort("large", _LARGE.replace(_TORCH, line), ((line, f"torch=={other}"),), "import torch, numpy")


def _download(wheels: Path, requirements: str) -> None:
    """Wheels for CPython 3.11 on x86-64 Linux and all they need; pip also looks where PIP_FIND_LINKS says.

    Once: a run that has the cache of an earlier one needs no index, and measures with the same packages.
    """
    had = wheels / f".has-{hashlib.sha256(requirements.encode()).hexdigest()[:16]}"
    if had.exists():
        return
    asked = wheels.parent / "asked.txt"
    asked.write_text(requirements)
    platforms = [word for one in _PLATFORMS for word in ("--platform", one)]
    abis = [word for one in ("cp311", "abi3", "none") for word in ("--abi", one)]
    target = ["--python-version", "3.11", "--implementation", "cp", *abis, "--only-binary", ":all:"]
    command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check"]
    links = ["--find-links", str(wheels)]
    run(*command, *platforms, "--platform", "linux_x86_64", *target, *links, "-d", str(wheels), "-r", str(asked))
    had.touch()


def _versions(wheels: Path, name: str) -> list[str]:
    from packaging.utils import parse_wheel_filename

    return [str(one) for one in sorted(parse_wheel_filename(path.name)[1] for path in wheels.glob(f"{name}-*.whl"))]


def _another_torch(wheel: Path) -> str:
    """The same wheel as its next patch release, every file of it other bytes; returns the version.

    One build of torch can be had here. What an update costs depends on the bytes being others, so a byte is put
    before the end of each compressed member: a comment's worth for text, padding for libraries.
    """
    name, old, rest = wheel.name.split("-", 2)
    number, _, local = old.partition("+")
    new = f"{number.rpartition('.')[0]}.{int(number.rpartition('.')[2]) + 1}" + (f"+{local}" if local else "")
    target = wheel.with_name(f"{name}-{new}-{rest}")
    if target.exists():
        return new
    before, after = f"{name}-{old}.dist-info", f"{name}-{new}.dist-info"
    beside = target.with_suffix(".part")
    with zipfile.ZipFile(wheel) as source, WheelWriter(beside, after) as made:
        for member in source.infolist():
            if member.is_dir() or member.filename == f"{before}/RECORD":
                continue
            data = source.read(member)
            path = member.filename.replace(f"{before}/", f"{after}/")
            if path == f"{after}/METADATA":
                data = data.replace(f"\nVersion: {old}\n".encode(), f"\nVersion: {new}\n".encode())
            elif path.endswith((".py", ".h", ".so", ".a")) or ".so." in path:
                data += b"\n"
            made.add(path, data, mode=member.external_attr >> 16)
    beside.rename(target)
    return new


def project(made: Materials, sort: Sort, place: Path) -> Path:
    """A fresh copy of a project."""
    folder = place / sort.name
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / "requirements.txt").write_text(sort.requirements)
    (folder / "train.py").write_text(_TRAIN.format(imports=sort.imports))
    (folder / "trainload.toml").write_text(f'name = "{sort.name}"\nbase = "{made.base}"\nuser = 0\n')
    (folder / "uv.toml").write_text("no-index = true\n")
    own = ("Dockerfile", "Dockerfile.lock", ".dockerignore", "trainload.toml", "pylock.trainload.toml", "uv.toml")
    (folder / ".dockerignore").write_text("".join(f"{name}\n" for name in own))
    return folder


def edit(folder: Path) -> None:
    """One line of train.py is another."""
    script = folder / "train.py"
    kept = [line for line in script.read_text().splitlines() if not line.startswith("# edit")]
    script.write_text("\n".join([*kept, f"# edit {os.urandom(6).hex()}"]) + "\n")


def _base_image(made: Materials, store: Path) -> None:
    """Debian with Python, pip and a virtual environment: what a ``python:3.11-slim`` is for."""
    _download(made.wheels, "pip\nsetuptools\nwheel\n")
    folder = made.folder / "base"
    folder.mkdir()
    (folder / "requirements.txt").write_text("pip\nsetuptools\nwheel\n")
    (folder / "trainload.toml").write_text('name = "base"\nbase = "apt:bookworm"\nuser = 0\ncommand = ["python"]\n')
    _build_and_push(made, store, folder, made.base)


def _uv_image(made: Materials, store: Path) -> None:
    """uv alone, to be copied from, as its documentation has it."""
    from uv import find_uv_bin

    folder = made.folder / "uv"
    folder.mkdir()
    shutil.copy(find_uv_bin(), folder / "uv")
    (folder / "trainload.toml").write_text(
        'name = "uv"\nbase = "apt:bookworm"\nprofile = "distroless"\nuser = 0\nworkdir = "/bin-of-uv"\n'
        'command = ["uv"]\n'
    )
    _build_and_push(made, store, folder, made.uv)


def _build_and_push(made: Materials, store: Path, folder: Path, target: str) -> None:
    """With a store that no measurement uses."""
    environ = {**made.environ, "TRAINLOAD_HOME": str(store)}
    for words in (["build", "-t", folder.name], ["push", folder.name, target]):
        argv = [TRAINLOAD, "-q", *words]
        subprocess.run(argv, cwd=folder, env=environ, check=True, capture_output=True, timeout=LONGEST)

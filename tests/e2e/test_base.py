"""Bases of real distributions: the tree is dpkg's, and what runs in it runs (needs their archives)."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import pytest

from trainload.errors import FetchError
from trainload.layers.debian.ar import Window, members
from trainload.layers.debian.base import write_base
from trainload.layers.debian.exclude import rules
from trainload.lock.model import ArchivePath, File
from trainload.plan.model import BaseRecipe
from trainload.resolve.archives import find_archives
from trainload.resolve.distribution import resolve_distribution
from trainload.resolve.indexes import Services
from trainload.system.http import Http
from trainload.testing.debs import ar

SUITES = ("bookworm", "trixie", "jammy", "noble")
MADE = re.compile(
    r"""(
    etc/(passwd|group|shadow|gshadow|shells|localtime|timezone|networks|inputrc|profile|motd)
    | etc/(nsswitch\.conf|environment)
    | etc/python3
    | etc/(ld\.so\.cache|ca-certificates\.conf|adduser\.conf|python3/debian_config|dpkg/origins/default)
    | etc/ssl/certs/.* | etc/alternatives/.*
    | etc/dpkg/dpkg\.cfg\.d/trainload | etc/apt/(mirrors|sources\.list\.d)(/.*)?
    | etc/security/opasswd
    | etc/opt | var/opt | opt | srv | mnt | media | var/mail | var/spool/mail | var/run | var/lock | run/lock
    | var/log/(wtmp|btmp|lastlog) | var/lib/shells\.state | home/app | root/\.(profile|bashrc) | usr/share/info/dir
    | usr/local(/.*)? | var/lib/dpkg/.*
    | usr/bin/(awk|nawk|which|pager|editor|pico|vi|view|vim|vimdiff|ex|rview|rvim|nano|w)
    | usr/sbin/rmt | usr/share/man/.*
    )""",
    re.VERBOSE,
)
"""What stands for maintainer scripts; everything else must be dpkg's."""


class Folder:
    """Locked files of a distribution, fetched once per session."""

    def __init__(self, path: Path, urls: Callable[[ArchivePath], Sequence[str]]) -> None:
        self._path = path
        self._urls = urls
        self._http = Http()

    def path(self, file: File) -> Path:
        assert isinstance(file.location, ArchivePath)
        where = self._path / file.sha256
        if not where.exists():
            data = self._http.get(self._urls(file.location)[0], limit=1 << 30)
            assert hashlib.sha256(data).hexdigest() == file.sha256
            part = where.with_suffix(".part")
            part.write_bytes(data)
            part.rename(where)
        return where

    def open(self, file: File) -> BinaryIO:
        return self.path(file).open("rb")


@dataclass(frozen=True)
class World:
    """Resolves and fetches, and remembers."""

    folder: Path
    sources: Folder
    services: Services
    known: dict[tuple[str, str], BaseRecipe]

    def recipe(self, suite: str, profile: str = "slim") -> BaseRecipe:
        if (suite, profile) not in self.known:
            base = resolve_distribution(
                suite, profile=profile, system=(), architectures=("amd64",), services=self.services
            )
            packages = base.packages["amd64"]
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda package: self.sources.path(package.file), packages))
            self.known[suite, profile] = BaseRecipe(
                base.distribution, base.suite, profile, "amd64", base.requested, packages
            )
        return self.known[suite, profile]

    def layer(self, suite: str, profile: str = "slim") -> bytes:
        out = io.BytesIO()
        write_base(self.recipe(suite, profile), self.sources, out)
        return out.getvalue()


class Records(dict[str, bytes]):
    def put(self, key: str, data: bytes) -> None:
        self[key] = data


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    archives = find_archives()
    try:
        Http(connect_timeout=5).get(f"{archives.of('debian')[0].url}/dists/bookworm/InRelease", limit=1 << 20)
    except FetchError:
        pytest.skip("the distributions' archives cannot be reached")
    folder = tmp_path_factory.mktemp("debs")
    services = Services(Http(), archives, Records(), datetime.now(UTC))
    return World(folder, Folder(folder, archives.urls), services, {})


Tree = dict[str, tuple[str, int, int, int, str]]
"""Path → kind, mode, uid, gid, link target or sha256."""


def tree_of_layer(layer: bytes) -> Tree:
    """Read by the standard library, which shares no code with what wrote it."""
    tree: Tree = {}
    with tarfile.open(fileobj=io.BytesIO(layer), mode="r:gz") as archive:
        for info in archive:
            assert info.name not in tree
            what = info.linkname if info.issym() else ""
            kind = "dir" if info.isdir() else "link" if info.issym() else "file"
            if info.isfile() or info.islnk():
                file = archive.extractfile(info)
                assert file is not None
                what = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
            tree[info.name] = (kind, info.mode, info.uid, info.gid, what)
    return tree


def tree_of_folder(top: Path) -> Tree:
    tree: Tree = {}
    for folder, names, files in os.walk(top):
        for name in (*names, *files):
            path = Path(folder, name)
            status = path.lstat()
            kind, what = "file", ""
            if path.is_symlink():
                kind, what = "link", str(path.readlink())
            elif path.is_dir():
                kind = "dir"
            else:
                what = hashlib.sha256(path.read_bytes()).hexdigest()
            mode = stat.S_IMODE(status.st_mode)
            tree[str(path.relative_to(top))] = (kind, mode, status.st_uid, status.st_gid, what)
    return tree


def without_scripts(deb: Path, out: Path) -> None:
    """The same package with no maintainer scripts, so that the real dpkg can unpack it anywhere."""
    with deb.open("rb") as file:
        parts = [(m.name, Window(file, m.offset, m.size).read(m.size)) for m in members(file, deb.name)]
    control = next(name for name, _ in parts if name.startswith("control.tar"))
    packed = dict(parts)[control]
    if control.endswith(".zst"):
        packed = subprocess.run(["zstd", "-dc"], input=packed, capture_output=True, check=True).stdout
    kept = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(packed)) as old, tarfile.open(fileobj=kept, mode="w") as new:
        for info in old:
            if info.name.rpartition("/")[2] not in ("preinst", "postinst", "prerm", "postrm", "config", "triggers"):
                new.addfile(info, old.extractfile(info) if info.isfile() else None)
    out.write_bytes(
        ar([("control.tar" if n == control else n, kept.getvalue() if n == control else d) for n, d in parts])
    )


def unpacked_by_dpkg(recipe: BaseRecipe, sources: Folder, top: Path) -> Path:
    """What dpkg makes of the packages over a merged /usr, without their scripts."""
    root = top / "root"
    for name in ("usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "var/lib/dpkg/info", "var/lib/dpkg/updates", "etc"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    (root / "var/lib/dpkg/status").touch()
    first = ("base-files", "base-passwd")
    packages = sorted(recipe.packages, key=lambda package: (package.name not in first, package.name))
    debs = []
    for package in packages:
        deb = top / f"{package.name}.deb"
        without_scripts(sources.path(package.file), deb)
        debs.append(str(deb))
    subprocess.run(
        [
            "dpkg", f"--root={root}", "--force-all", "--force-unsafe-io", "--log=/dev/null", "--install",
            *(f"--path-{verb}={pattern}" for verb, pattern in rules(recipe.profile)), *debs,
        ],
        check=True, capture_output=True, env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    return root


def needs_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can unpack with the packages' owners")


@pytest.mark.parametrize(("suite", "profile"), [*((suite, "slim") for suite in SUITES), ("bookworm", "dev")])
def test_the_tree_is_dpkgs_apart_from_what_stands_for_scripts(
    world: World, suite: str, profile: str, tmp_path: Path
) -> None:
    needs_root()
    if shutil.which("dpkg") is None or shutil.which("zstd") is None:
        pytest.skip("dpkg or zstd is not installed")
    ours = tree_of_layer(world.layer(suite, profile))
    theirs = tree_of_folder(unpacked_by_dpkg(world.recipe(suite, profile), world.sources, tmp_path))
    made = {path for path in ours.keys() - theirs.keys() if not MADE.fullmatch(path)}
    gone = {path for path in theirs.keys() - ours.keys() if not MADE.fullmatch(path)}
    changed = {
        path: (ours[path], theirs[path])
        for path in ours.keys() & theirs.keys()
        if ours[path] != theirs[path] and not MADE.fullmatch(path)
    }
    assert (sorted(made), sorted(gone), changed) == ([], [], {})

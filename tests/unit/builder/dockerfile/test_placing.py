"""Accounts, folders, links and modes of RUN lines, beside the real programs."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from trainload.builder.dockerfile.ground import Ground
from trainload.builder.dockerfile.placing import accounts, files
from trainload.builder.dockerfile.placing.archives import profile
from trainload.builder.dockerfile.placing.draft import Draft
from trainload.builder.dockerfile.placing.packages import _answered
from trainload.builder.dockerfile.placing.place import _draw
from trainload.builder.dockerfile.placing.replaced import below_of, removed_by
from trainload.digest import Digest
from trainload.dockerfile.steps import ChangeOwner, Clear, Link, MakeFolder, PlacedStep, WriteFile
from trainload.dockerfile.understand.line import understand
from trainload.dockerfile.understand.parts import Beyond
from trainload.dockerfile.understood import RunLine, Understood
from trainload.layers.debian.exclude import excluded, rules
from trainload.layers.tarread import MemberKind
from trainload.lock.found import Installed
from trainload.lock.model import DistributionPackage, File, Url
from trainload.plan.placed import InstallScheme
from trainload.store.store import Store
from trainload.testing.images import put_layer
from trainload.testing.tars import TarEntry, folder, symlink, tar

PASSWD = b"root:x:0:0:root:/root:/bin/bash\n_apt:x:42:65534::/nonexistent:/usr/sbin/nologin\nold:x:997:997::/:\n"
GROUP = b"root:x:0:\naudio:x:29:\nvideo:x:44:\nold:x:997:\nusers:x:100:\n"
LOGIN = (
    b"UMASK\t\t022\nUSERGROUPS_ENAB yes\nUID_MIN 1000\nUID_MAX 60000\nGID_MIN 1000\nGID_MAX 60000\n"
    b"PASS_MAX_DAYS 99999\nPASS_MIN_DAYS 0\nPASS_WARN_AGE 7\n"
)
ETC = {
    "etc/passwd": PASSWD, "etc/group": GROUP, "etc/shadow": b"root:*:19000:0:99999:7:::\n", "etc/subuid": b"",
    "etc/gshadow": b"root:*::\naudio:*::\nvideo:*::\n", "etc/subgid": b"", "etc/login.defs": LOGIN,
    "etc/default/useradd": b"SHELL=/bin/sh\n", "etc/skel/.profile": b"# hello\n",
}  # fmt: skip


def ground(at: Path, *layers: Sequence[TarEntry]) -> Ground:
    store = Store.open(at / "home")
    with store.writing():
        made = []
        for entries in layers:
            stream = tar(*entries)
            made.append(put_layer(store, gzip.compress(stream, 1, mtime=0), Digest.sha256(stream)))
    return Ground(store, tuple(made))


def system(at: Path, *more: TarEntry) -> Ground:
    tools = ("useradd", "groupadd", "usermod")
    return ground(
        at,
        (
            *(folder(path) for path in ("etc", "etc/default", "etc/skel", "home", "usr", "usr/sbin", "srv")),
            *(TarEntry(path, data) for path, data in ETC.items()),
            *(TarEntry(f"usr/sbin/{tool}", b"\x7fELF", mode=0o755) for tool in tools),
            *more,
        ),
    )


def steps(script: str) -> tuple[PlacedStep, ...]:
    found = understand(
        RunLine(1, script, ("/bin/sh", "-c", script), ("/bin/sh", "-c"), {"PATH": "/usr/bin"}, workdir="/srv")
    )
    assert isinstance(found, Understood), found
    return found.steps


def drawn(script: str, below: Ground) -> Draft:
    draft = Draft(below)
    for step in steps(script):
        _draw(step, draft)
    return draft


USERADD = (
    "useradd ada",
    "useradd -m ada",
    "useradd -ms /bin/bash -u 1500 ada && useradd bob",
    "groupadd -r web && useradd -r -g web -d /srv/web web",
    "useradd -r one && useradd -r two",
    "groupadd -g 4000 team && useradd -u 4001 -g team -G audio,video bob && usermod -aG users bob",
    'useradd -u 1000 -c "A B" -d /home/elsewhere -m ada && groupadd late && useradd next',
    "groupadd ada2 && useradd ada",
    "groupadd -f audio && groupadd -f -g 4000 team",
)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: useradd")
@pytest.mark.skipif(shutil.which("useradd", path="/usr/sbin:/sbin") is None, reason="this machine has no useradd")
@pytest.mark.parametrize("script", USERADD)
def test_accounts_are_those_that_useradd_makes(tmp_path: Path, script: str) -> None:
    root = tmp_path / "root"
    for path, data in ETC.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    for name in ("home", "srv"):
        (root / name).mkdir()
    real = re.sub(r"(useradd|groupadd|usermod) ", rf"/usr/sbin/\1 --prefix {root} ", script)
    done = subprocess.run(["sh", "-ec", real], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    draft = drawn(script, system(tmp_path))
    for path in ("etc/passwd", "etc/group", "etc/gshadow", "etc/subuid", "etc/subgid"):
        assert (draft.text(path) or "") == (root / path).read_text(), path
    undated = re.sub(r"^([^:]*:!):[0-9]*:", r"\1::", (root / "etc/shadow").read_text(), flags=re.MULTILINE)
    assert draft.text("etc/shadow") == undated
    for home in (root / "home").iterdir():
        entry, skel = draft.find(f"home/{home.name}"), draft.find(f"home/{home.name}/.profile")
        assert entry is not None and skel is not None
        assert (entry.mode, entry.uid) == (stat.S_IMODE(home.stat().st_mode), home.stat().st_uid)
        assert draft.text(f"home/{home.name}/.profile") == "# hello\n"
    assert set(draft.names("home")) == {home.name for home in (root / "home").iterdir()}


@pytest.mark.parametrize(
    "script",
    ["useradd root", "useradd -u 0 zero", "useradd -g nobodys x", "groupadd audio", "useradd -N x",
     "adduser --system x", "useradd audio", "usermod -aG video nobody"],
)  # fmt: skip
def test_what_useradd_would_refuse_is_run(tmp_path: Path, script: str) -> None:
    with pytest.raises(Beyond):
        drawn(script, system(tmp_path))


def test_folders_above_a_users_packages_stay_who_they_belong_to(tmp_path: Path) -> None:
    below = ground(tmp_path, (folder("home"), replace(folder("home/ada"), owner=(1000, 1000))))
    root = "home/ada/.local"
    scheme = InstallScheme(f"{root}/lib", f"{root}/bin", f"{root}/include", root, "/usr/bin/python3")
    kept = below_of(scheme, below, (1000, 1000))
    assert [(each.path, each.mode, each.uid, each.gid) for each in kept] == [("home", 0o755, 0, 0)]


@pytest.mark.parametrize(
    ("script", "left"),
    [
        ("rm file", ["deep", "link"]),
        ("rm -r deep", ["file", "link"]),
        ("rm -rf deep gone link /gone/too", ["file"]),
    ],
)
def test_what_rm_names_is_gone(tmp_path: Path, script: str, left: list[str]) -> None:
    entries = (folder("srv"), TarEntry("srv/file", b"x"), folder("srv/deep"), TarEntry("srv/deep/y", b"y"))
    draft = drawn(script, ground(tmp_path, (*entries, symlink("srv/link", "file"))))
    assert draft.names("srv") == left
    recipe = draft.recipe()
    assert recipe is not None
    assert {entry.kind for entry in recipe.entries} == {"directory", "whiteout"}


@pytest.mark.parametrize("script", ["rm gone", "rm deep", "rm -r /gone/too"])
def test_what_rm_would_refuse_is_run(tmp_path: Path, script: str) -> None:
    below = ground(tmp_path, (folder("srv"), folder("srv/deep")))
    with pytest.raises(Beyond):
        drawn(script, below)


def test_what_an_image_tells_dpkg_to_leave_out_is_left_out(tmp_path: Path) -> None:
    text = b"force-unsafe-io\npath-exclude=/usr/share/doc/*\npath-include /usr/share/doc/*/copyright\n"
    entries = (
        TarEntry("etc/dpkg/dpkg.cfg.d/01_nodoc", text),
        TarEntry("etc/dpkg/dpkg.cfg.d/docker", b"# nothing\n"),
    )
    chosen = rules(profile(ground(tmp_path, entries)))
    assert chosen == (("exclude", "/usr/share/doc/*"), ("include", "/usr/share/doc/*/copyright"))
    assert excluded("usr/share/doc/curl/README", MemberKind.FILE, chosen)
    assert not excluded("usr/share/doc/curl/copyright", MemberKind.FILE, chosen)
    assert not excluded("usr/share/man/man1/curl.1.gz", MemberKind.FILE, chosen)


CHMOD = ("755", "0644", "+x", "u+rwX,go-w", "a=r", "go-rwx,u+X", "2755", "g+w,o=r", "-x", "=rw")


@pytest.mark.parametrize("mode", CHMOD)
@pytest.mark.parametrize("old", [0o644, 0o755, 0o600, 0o2750])
def test_modes_are_those_that_chmod_makes(tmp_path: Path, mode: str, old: int) -> None:
    for name, is_folder in (("file", False), ("folder", True)):
        path = tmp_path / name
        path.mkdir() if is_folder else path.write_text("")
        path.chmod(old)
        subprocess.run(["sh", "-c", f"umask 022; chmod -- {mode} {path}"], check=False, capture_output=True)
        assert oct(files.mode_of(mode, old, is_folder=is_folder)) == oct(stat.S_IMODE(path.stat().st_mode))


@pytest.mark.parametrize(
    "script",
    [
        "s/deb.debian.org/mirror.example/g", "s@http://.*/@x@", "s/^# //;s/ $//", "/main/s/b/B/g", "s|(a+)|{b}|",
        "s/$/ end/", "s/\\./-/g", "s#^.*$#all#",
    ],
)  # fmt: skip
@pytest.mark.parametrize("text", ["deb http://deb.debian.org/debian bb main \n# x (a+)\n\nlast", "", "\n"])
def test_sed_edits_as_the_real_one(tmp_path: Path, script: str, text: str) -> None:
    below = system(tmp_path, TarEntry("usr/bin/sed", mode=0o755), TarEntry("srv/x", text.encode(), mode=0o640))
    draft = drawn(f"sed -i '{script}' x", below)
    (tmp_path / "x").write_text(text)
    subprocess.run(["sed", "-i", script, tmp_path / "x"], check=True, env={"LC_ALL": "C", **os.environ})
    assert draft.text("srv/x") == (tmp_path / "x").read_text()
    entry = draft.find("srv/x")
    assert entry is not None
    assert entry.mode == 0o640


def test_where_sed_would_fail_or_the_locale_counts_the_line_is_run(tmp_path: Path) -> None:
    tool = TarEntry("usr/bin/sed", mode=0o755)
    below = system(tmp_path, tool, TarEntry("srv/u", "ü".encode()), symlink("srv/l", "u"))
    for path in ("u", "l", "gone"):
        with pytest.raises(Beyond):
            drawn(f"sed -i s/a/b/ {path}", below)


def test_a_link_leads_where_which_finds_the_program(tmp_path: Path) -> None:
    tools = [TarEntry("usr/bin/which", mode=0o755), TarEntry("usr/bin/py", mode=0o755)]
    below = system(tmp_path, *tools, folder("opt"), TarEntry("opt/py", b"", mode=0o644))
    draft = Draft(below)
    files.link(Link("py", "/srv/p", finder="which", search="/opt:/usr/bin"), draft)
    entry = draft.find("srv/p")
    assert entry is not None
    assert entry.target == "/usr/bin/py", "what cannot be executed is not found"


def test_an_answer_given_before_has_a_packages_scripts_run(tmp_path: Path) -> None:
    packages = [DistributionPackage(n, "1", "all", File(n, "0", 1, Url("")), 0) for n in ("tzdata", "jq", "mta")]
    config = TarEntry("var/cache/debconf/config.dat", b"Name: mta/kind\nTemplate: mta/kind\n\n")
    zone = symlink("etc/localtime", "/usr/share/zoneinfo/Asia/Shanghai")
    assert list(_answered(packages, system(tmp_path))) == []
    assert list(_answered(packages, system(tmp_path / "b", config, zone))) == ["tzdata", "mta"]


def test_folders_links_files_and_owners(tmp_path: Path) -> None:
    below = system(
        tmp_path,
        TarEntry("srv/app", kind=b"5", mode=0o755), TarEntry("srv/app/a.py", b"1\n"), symlink("srv/link", "app"),
        folder("var"), folder("var/lib"), folder("var/lib/apt"), folder("var/lib/apt/lists"),
        TarEntry("var/lib/apt/lists/x", b"list"), TarEntry("var/lib/apt/lists/.keep", b""),
    )  # fmt: skip
    draft = drawn(
        "useradd ada && mkdir -p link/data/deep && ln -s /srv/app/a.py b.py && chown -R ada:audio app"
        " && echo hello > app/new && echo again >> app/new && rm -rf /var/lib/apt/lists/*",
        below,
    )
    entry = draft.find("srv/app/data/deep")
    assert entry is not None and (entry.kind, entry.mode, entry.uid, entry.gid) == ("directory", 0o755, 1000, 29)
    moved = draft.find("srv/app/a.py")
    assert moved is not None and (moved.uid, moved.gid, moved.origin) == (1000, 29, 0)
    assert draft.text("srv/app/new") == "hello\nagain\n"
    assert draft.real("srv/b.py") == "srv/app/a.py"
    recipe = draft.recipe()
    assert recipe is not None and recipe.below == tuple(str(layer.diff_id) for layer in below.layers)
    assert [one.path for one in recipe.entries if one.kind == "whiteout"] == ["var/lib/apt/lists/x"]
    assert {"srv", "var/lib/apt/lists"} <= {one.path for one in recipe.entries if one.kind == "directory"}


@pytest.mark.parametrize(
    "step",
    [
        MakeFolder("/srv/app"),
        MakeFolder("/nowhere/deep"),
        Link("/x", "/etc/passwd"),
        ChangeOwner("nobody", ("/srv",)),
        ChangeOwner("0", ("/nowhere",)),
        WriteFile("/nowhere/x", ""),
        WriteFile("/srv", ""),
    ],
)
def test_what_would_fail_is_run(tmp_path: Path, step: PlacedStep) -> None:
    with pytest.raises(Beyond):
        _draw(step, Draft(system(tmp_path, folder("srv/app"))))


def test_clearing_what_is_not_there_changes_nothing(tmp_path: Path) -> None:
    draft = Draft(system(tmp_path))
    files.clear(Clear(("/tmp", "/var/lib/apt/lists"), ("/root/.cache",)), draft)
    assert draft.recipe() is None


def test_an_old_version_goes_with_its_folders_and_nothing_else(tmp_path: Path) -> None:
    site = "usr/local/lib/python3.11/site-packages"
    names = ("demo/__init__.py", "demo/deep/x.py", "both/a.py", "both/b.py")
    record = (
        b"demo/__init__.py,,\ndemo/deep/x.py,,\nboth/a.py,,\ndemo-1.0.dist-info/RECORD,,\n../../../bin/demo,,\n"
    )
    below = ground(
        tmp_path,
        (
            *(folder(path) for path in ("usr", "usr/local", "usr/local/bin", "usr/local/lib")),
            *(TarEntry(f"{site}/{name}") for name in names),
            folder(f"{site}/demo"), folder(f"{site}/demo/deep"), folder(f"{site}/both"),
            folder(f"{site}/demo-1.0.dist-info"), TarEntry(f"{site}/demo-1.0.dist-info/RECORD", record),
            TarEntry("usr/local/bin/demo", mode=0o755),
        ),
    )  # fmt: skip
    scheme = InstallScheme(
        site, "usr/local/bin", "usr/local/include/python3.11", "usr/local", "/usr/local/bin/python"
    )
    assert removed_by([Installed("demo", "1.0")], scheme, below) == (
        "usr/local/bin/demo", f"{site}/both/a.py", f"{site}/demo", f"{site}/demo-1.0.dist-info",
        f"{site}/demo-1.0.dist-info/RECORD", f"{site}/demo/__init__.py", f"{site}/demo/deep",
        f"{site}/demo/deep/x.py",
    )  # fmt: skip


def test_numbers_are_given_as_shadow_gives_them(tmp_path: Path) -> None:
    draft = drawn("useradd -r one && useradd two && useradd -u 5000 three && useradd four", system(tmp_path))
    rows = [line.split(":")[:4] for line in (draft.text("etc/passwd") or "").splitlines()[3:]]
    assert [(row[0], row[2], row[3]) for row in rows] == [
        ("one", "996", "996"), ("two", "1000", "1000"), ("three", "5000", "5000"), ("four", "5001", "5001"),
    ]  # fmt: skip
    assert accounts.user_ids("three", draft) == (5000, 5000)


PIP_CONFIG = (
    "pip config set global.index-url https://mirror.example/simple",
    "pip config set global.index-url https://a.example && pip config --user set install.trusted-host 'a.example b'",
    "pip config set global.timeout 60 && pip config set global.timeout 90",
)


@pytest.mark.parametrize("before", [b"", b"# mine\n[global]\nTimeout: 5\n\n[list]\nformat = columns"])
@pytest.mark.parametrize("script", PIP_CONFIG)
def test_pips_file_is_as_pip_writes_it(tmp_path: Path, script: str, before: bytes) -> None:
    real = tmp_path / "home/.config/pip/pip.conf"
    pip = TarEntry("usr/bin/pip", b"#!/usr/bin/python3\nfrom pip._internal.cli.main import main\n", mode=0o755)
    known = [TarEntry("root/.config/pip/pip.conf", before)] if before else []
    folders = [folder("root"), *([folder("root/.config"), folder("root/.config/pip")] if before else [])]
    draft = drawn(script, system(tmp_path, folder("usr/bin"), pip, *folders, *known))
    if before:
        real.parent.mkdir(parents=True)
        real.write_bytes(before)
    env = {"HOME": str(tmp_path / "home"), "PATH": os.environ["PATH"], "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    called = re.sub(r"\bpip config", f"{sys.executable} -m pip config", script)
    done = subprocess.run(
        ["sh", "-ec", f"umask 022; {called}"], env=env, capture_output=True, text=True, check=False
    )
    if "No module named pip" in done.stderr:
        pytest.skip("this Python has no pip")
    assert done.returncode == 0, done.stderr
    assert draft.text("root/.config/pip/pip.conf") == real.read_text()
    entry = draft.find("root/.config/pip/pip.conf")
    made = draft.find("root/.config")
    assert entry is not None and made is not None
    assert (entry.mode, made.mode) == (stat.S_IMODE(real.stat().st_mode), 0o755)


@pytest.mark.parametrize(
    ("tool", "conf"),
    [
        (b"#!/bin/sh\nexec uv pip\n", b""),
        (b"from pip._internal", b"no section\n"),
        (b"from pip._internal", b"# \xc3\xbc\n"),
        (b"from pip._internal", b"[global]\nretries = 1 ; two\n"),
    ],
)
def test_another_pip_or_file_than_usual_is_run(tmp_path: Path, tool: bytes, conf: bytes) -> None:
    more = [TarEntry("usr/bin/pip", tool, mode=0o755), *([TarEntry("etc/pip.conf", conf)] if conf else [])]
    with pytest.raises(Beyond):
        drawn("pip config --global set global.timeout 60", system(tmp_path, folder("usr/bin"), *more))

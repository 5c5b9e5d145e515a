"""``adduser`` and ``addgroup`` beside the real ones of this machine, which see a system of the test's own."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from tests.unit.builder.dockerfile.test_placing import ETC, drawn, ground

from trainload.builder.dockerfile.ground import Ground
from trainload.builder.dockerfile.placing.draft import Draft
from trainload.builder.dockerfile.placing.place import _drawn
from trainload.dockerfile.steps import AddUser, MakeFolder, RunProgram
from trainload.dockerfile.understand.parts import Beyond
from trainload.dockerfile.understood import RunLine
from trainload.plan.lines import RunRecipe
from trainload.plan.placed import FilesRecipe
from trainload.testing.tars import TarEntry, folder, symlink

ADDUSER = Path("/usr/sbin/adduser")
VERSIONS = ("3.134", "3.118+deb11u1", "3.118ubuntu5")
CONF = b'# a comment\nFIRST_SYSTEM_UID=200\nFIRST_UID=3000\nDSHELL=/bin/sh\nDIR_MODE=0711\nQUOTAUSER=""\n'
OWN = {
    **ETC,
    "etc/passwd": ETC["etc/passwd"] + b"ada:x:1000:1000::/home/ada:/bin/sh\n",
    "etc/group": ETC["etc/group"] + b"nogroup:x:65534:\nada:x:1000:\nlate:x:1002:\n",
    "etc/gshadow": ETC["etc/gshadow"] + b"users:*::\nnogroup:*::\nada:!::\nlate:!::\n",
    "etc/shadow": ETC["etc/shadow"] + b"ada:!:19000:0:99999:7:::\n",
    "etc/adduser.conf": b"",
    "etc/skel/.config/app/x": b"deep\n",
}
TOOLS = ("usr/bin/perl", "usr/bin/chfn", "usr/bin/gpasswd", "usr/sbin/useradd", "usr/sbin/groupadd")
PAM = {
    "etc/pam.d/chfn": b"auth sufficient pam_rootok.so\n@include common-auth\n",
    "etc/pam.d/common-auth": b"",
    "usr/lib/x86_64-linux-gnu/security/pam_unix.so": b"\x7fELF",
}
LINES = (
    'adduser --disabled-password --gecos "" app',
    "adduser --disabled-password --gecos 'A B' --uid 1500 app && adduser --disabled-password --gecos '' next",
    "adduser --system --group app && adduser --system other",
    "adduser --system --group --home /srv/deep/app --shell /bin/sh app",
    "adduser --system --no-create-home --home /opt/x --uid 300 --ingroup audio --gecos 'x,2' app",
    "addgroup --system --gid 1001 app && adduser --system --uid 1001 --gid 1001 app",
    "addgroup team && adduser --disabled-login --gecos ',,,' --ingroup team -q bob && adduser bob video",
    "addgroup --system sys && addgroup --system sys && addgroup --gid 5000 big && adduser ada big",
    "adduser --disabled-password --gecos '' --no-create-home --gid 29 app && adduser app users",
    "adduser --system one && adduser --system one && useradd -m two && adduser --system --group three",
    "adduser --disabled-password --gecos 'N,R,1,2' --home /srv/there app",
)


def system(at: Path, conf: bytes = b"", version: str = VERSIONS[0], *more: TarEntry, without: str = "") -> Ground:
    files = {**OWN, "etc/adduser.conf": conf}
    folders = ("etc", "etc/default", "etc/skel", "etc/skel/.config", "etc/skel/.config/app", "home", "srv",
               "srv/there", "usr", "usr/bin", "usr/sbin", "usr/lib", "usr/lib/x86_64-linux-gnu",
               "usr/lib/x86_64-linux-gnu/security", "etc/pam.d")  # fmt: skip
    return ground(
        at,
        (
            *(folder(path) for path in folders),
            *(TarEntry(path, data) for path, data in files.items()),
            TarEntry("usr/sbin/adduser", f'#!/usr/bin/perl\nmy $version = "{version}";\n'.encode(), mode=0o755),
            symlink("usr/sbin/addgroup", "adduser"),
            symlink("etc/skel/.link", ".profile"),
            *(TarEntry(tool, b"\x7fELF", mode=0o755) for tool in TOOLS if tool != without),
            *(TarEntry(path, data) for path, data in PAM.items() if path != without),
            *more,
        ),
    )


def real(root: Path, conf: bytes, script: str) -> subprocess.CompletedProcess[str]:
    """``script`` where /etc, /home and /srv are those below ``root``."""
    for path, data in {**OWN, "etc/adduser.conf": conf}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    (root / "etc/skel/.link").symlink_to(".profile")
    for name in ("home", "srv/there"):
        (root / name).mkdir(parents=True)
    for name in ("pam.d", "nsswitch.conf", "ld.so.cache", "perl"):
        source = Path("/etc") / name
        if source.exists():
            (shutil.copytree if source.is_dir() else shutil.copy)(source, root / "etc" / name)
    binds = " && ".join(f"mount --bind {root}/{name} /{name}" for name in ("etc", "home", "srv"))
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", f"umask 022 && {binds} && {script}"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
    )  # fmt: skip


def test_there_are_the_rules_of_this_machines_release(tmp_path: Path) -> None:
    if not ADDUSER.exists() or os.geteuid() != 0:
        pytest.skip("needs root and Debian's adduser")
    version = re.search(r'^my \$version = "(.*)";', ADDUSER.read_text(), re.MULTILINE)
    if version is None or version[1] not in VERSIONS:
        pytest.skip("this machine has another adduser")
    for number, (conf, script) in enumerate((conf, script) for conf in (b"", CONF) for script in LINES):
        root = tmp_path / f"{number}"
        done = real(root, conf, script)
        assert done.returncode == 0, f"{script}: {done.stderr}"
        draft = drawn(script, system(tmp_path / f"{number}-ours", conf, version[1]))
        for path in ("passwd", "group", "gshadow", "subuid", "subgid"):
            assert (draft.text(f"etc/{path}") or "") == (root / "etc" / path).read_text(), f"{path}: {script}"
        undated = re.sub(
            r"^((?!root|ada:)[^:]*:[^:]*):[0-9]*:", r"\1::", (root / "etc/shadow").read_text(), flags=re.MULTILINE
        )
        assert draft.text("etc/shadow") == undated, script
        for top in ("home", "srv", "opt"):
            assert below(draft, top) == tree(root / top), script


def below(draft: Draft, path: str) -> dict[str, tuple[int, int, int, str]]:
    found = {}
    for name in draft.names(path):
        entry = draft.find(f"{path}/{name}")
        assert entry is not None
        told = entry.target if entry.kind == "symlink" else ""
        told = (draft.text(f"{path}/{name}") or "") if entry.kind == "file" else told
        found[f"{path}/{name}"] = (entry.mode, entry.uid, entry.gid, told)
        found |= below(draft, f"{path}/{name}") if entry.kind == "directory" else {}
    return found


def tree(top: Path) -> dict[str, tuple[int, int, int, str]]:
    found = {}
    for path in sorted(top.rglob("*")):
        info = path.lstat()
        told = str(path.readlink()) if path.is_symlink() else path.read_text() if path.is_file() else ""
        name = str(path.relative_to(top.parent))
        found[name] = (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid, told)
    return found


def test_each_release_has_its_own_rules(tmp_path: Path) -> None:
    script = "adduser --system --group app && adduser --disabled-password --gecos '' bob"
    found = {}
    for version in VERSIONS:
        draft = drawn(script, system(tmp_path / version, b"", version))
        password = re.findall(r"^(?:app|bob):(.)", draft.text("etc/shadow") or "", re.MULTILINE)
        users = [line for line in (draft.text("etc/group") or "").splitlines() if line.startswith("users:")]
        homes = {name: draft.find(f"home/{name}") for name in ("app", "bob")}
        modes = {name: entry.mode for name, entry in homes.items() if entry is not None}
        rows = [line.split(":")[2:6] for line in (draft.text("etc/passwd") or "").splitlines()[-2:]]
        found[version] = (password, users, modes, rows)
    old = (["*", "*"], ["users:x:100:"], {"app": 0o755, "bob": 0o755}, [
        ["100", "101", "", "/home/app"], ["1001", "1001", ",,,", "/home/bob"]])  # fmt: skip
    new = (["!", "!"], ["users:x:100:bob"], {"bob": 0o700}, [
        ["100", "101", "", "/nonexistent"], ["1001", "1001", ",,,", "/home/bob"]])  # fmt: skip
    assert found == {"3.134": new, "3.118+deb11u1": old, "3.118ubuntu5": old}


@pytest.mark.parametrize(
    ("script", "conf", "version"),
    [
        ("adduser --system x", b"", "3.152"),
        ("addgroup x", b"", "?"),
        ("adduser --system x", b"GROUPHOMES=yes\n", "3.134"),
        ("adduser --system x", b"SYS_DIR_MODE=0755\n", "3.118ubuntu5"),
        ("adduser --system x", b"no setting\n", "3.134"),
        ("adduser --system x", b"LAST_SYSTEM_UID=99\n", "3.134"),
        ("adduser --system ada", b"", "3.134"),
        ("adduser --system --uid 0 x", b"", "3.134"),
        ("adduser --system --group audio", b"", "3.134"),
        ("adduser --system --ingroup gone x", b"", "3.134"),
        ("adduser --system --home /srv/ x", b"", "3.134"),
        ("adduser --disabled-password --gecos '' _x", b"", "3.134"),
        ("adduser ada gone", b"", "3.134"),
        ("adduser gone audio", b"", "3.134"),
        ("addgroup audio", b"", "3.134"),
        ("addgroup --gid 29 x", b"", "3.134"),
    ],
)
def test_what_adduser_would_refuse_or_is_not_known_is_run(
    tmp_path: Path, script: str, conf: bytes, version: str
) -> None:
    with pytest.raises(Beyond):
        drawn(script, system(tmp_path, conf, version))


def test_an_account_that_cannot_be_told_leaves_nothing_of_itself_before_it_is_run(tmp_path: Path) -> None:
    program = RunProgram(("/bin/sh", "-c", "adduser …"))
    odd = TarEntry("etc/skel/x.dpkg-new")  # seen only when the lines of /etc/passwd are written
    step = AddUser("app", comment=",,,", debian=True, program=program)
    line = RunLine(1, "mkdir /srv/x && adduser …", (), ("/bin/sh", "-c"), {})
    below = system(tmp_path, b"", VERSIONS[0], odd)
    first = _drawn((MakeFolder("/srv/x"), step), line, below)
    assert first.rest == (program,)
    recipe = first.layers[0].recipe
    assert isinstance(recipe, FilesRecipe)
    assert [entry.path for entry in recipe.entries] == ["srv", "srv/x"]
    alone = _drawn((step,), line, below)
    assert isinstance(alone.layers[0].recipe, RunRecipe)


@pytest.mark.parametrize(
    "more",
    [TarEntry("usr/local/sbin/adduser.local", mode=0o755), TarEntry("usr/bin/adduser", mode=0o755),
     TarEntry("etc/skel/x.dpkg-new"), TarEntry("etc/default/useradd", b"INACTIVE=30\n")],
)  # fmt: skip
def test_what_else_adduser_would_do_or_another_one_is_run(tmp_path: Path, more: TarEntry) -> None:
    with pytest.raises(Beyond):
        drawn(LINES[0], system(tmp_path, b"", VERSIONS[0], more))


@pytest.mark.parametrize("tool", (*TOOLS, *PAM))
def test_an_adduser_that_cannot_start_is_run_and_fails_as_it_does(tmp_path: Path, tool: str) -> None:
    with pytest.raises(Beyond):
        drawn(LINES[0], system(tmp_path, without=tool))

"""What maintainer scripts of the base would do, as values, by the package they stand for (DESIGN § 4)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from trainload.layers.debian import pam
from trainload.layers.debian.accounts import SYSUSERS, Accounts
from trainload.layers.debian.certificates import CERTIFICATES
from trainload.layers.debian.root import Root
from trainload.layers.tarread import MemberKind
from trainload.layers.writer import Owner

_TEXTS = (
    "usr/share/base-passwd/", "usr/share/base-files/", "usr/share/libc-bin/", "usr/share/readline/inputrc",
    "usr/share/adduser/adduser.conf",
    "usr/share/debianutils/shells", "etc/ld.so.conf", SYSUSERS, CERTIFICATES, *pam.TEXTS,
)  # fmt: skip
_COPIES = {
    "usr/share/base-files/dot.profile": "root/.profile",
    "usr/share/base-files/dot.bashrc": "root/.bashrc",
    "usr/share/base-files/profile": "etc/profile",
    "usr/share/base-files/motd": "etc/motd",
    "usr/share/base-files/networks": "etc/networks",
    "usr/share/base-files/info.dir": "usr/share/info/dir",
    "usr/share/libc-bin/nsswitch.conf": "etc/nsswitch.conf",
    "usr/share/readline/inputrc": "etc/inputrc",
    "usr/share/adduser/adduser.conf": "etc/adduser.conf",
}
"""Default → where a postinst copies it if nothing is there (base-files, libc-bin, readline-common, adduser)."""
_FOLDERS = ("mnt", "srv", "opt", "etc/opt", "var/opt", "media")
_LOCAL = ("", "/share", "/share/man", "/bin", "/games", "/lib", "/include", "/sbin", "/src", "/etc")
_ADD_SHELL = re.compile(r"^\s*add-shell\s+(/[\w./-]+)", re.MULTILINE)
_NETWORKS = b"default\t\t0.0.0.0\nloopback\t127.0.0.0\nlink-local\t169.254.0.0\n"
_PYTHON_CONFIG = b"""\
[DEFAULT]
# how to byte-compile (comma separated: standard, optimize)
byte-compile = standard
"""


def wanted(path: str) -> bool:
    """Whether the content of a package's file is needed here, in accounts, certificates or ldcache."""
    return path.startswith(_TEXTS)


def install(root: Root, scripts: Mapping[str, str], accounts: Accounts) -> None:
    """Everything but accounts, certificates, alternatives, the linker's cache and dpkg's database.

    ``scripts``: the postinst of each package, empty where there is none.
    """
    names = frozenset(scripts)
    for source, target in _COPIES.items():
        text = root.text(source)
        if (
            text is not None
            and not root.has(target)
            and (target != "usr/share/info/dir" or root.has("usr/share/info"))
        ):
            root.write(target, text)
    if "base-files" in names:
        _base_files(root, accounts)
    if "debianutils" in names:
        added = [shell for script in scripts.values() for shell in _ADD_SHELL.findall(script) if root.has(shell)]
        _shells(root, added)
    if "tzdata" in names:
        root.link("etc/localtime", "/usr/share/zoneinfo/Etc/UTC")
        root.write("etc/timezone", b"Etc/UTC\n")
    if "netbase" in names and not root.has("etc/networks"):
        root.write("etc/networks", _NETWORKS)
    if "ca-certificates" in names:
        root.folder("usr/local/share/ca-certificates")
    if "libpam-modules" in names:
        root.write("etc/security/opasswd", b"", mode=0o600)
        if not root.has("etc/environment"):
            root.write("etc/environment", b"")
    if "libpam-runtime" in names:
        pam.configure(root)
    _python(root, names)


def _python(root: Root, names: frozenset[str]) -> None:
    if "python3" in names and not root.has("etc/python3/debian_config"):
        root.write("etc/python3/debian_config", _PYTHON_CONFIG)
    for name in sorted(names):
        if name.startswith("python3.") and name.endswith("-minimal"):
            python = name.removesuffix("-minimal")
            root.folder(f"usr/local/lib/{python}/dist-packages")
            root.write(f"var/lib/python/{python}_installed", b"")  # its preinst, of a runtime that is new


def _base_files(root: Root, accounts: Accounts) -> None:
    vendor = "ubuntu" if root.has("etc/dpkg/origins/ubuntu") else "debian"
    if root.has(f"etc/dpkg/origins/{vendor}") and not root.has("etc/dpkg/origins/default"):
        root.link("etc/dpkg/origins/default", vendor)
    for path in _FOLDERS:
        root.folder(path)
    for path in _LOCAL:
        root.folder(f"usr/local{path}")
    root.link("usr/local/man", "share/man")
    root.folder("var/mail", mode=0o2775, owner=Owner(0, accounts.gid(b"mail", 8)))
    root.link("var/spool/mail", "../mail")
    root.folder("run/lock", mode=0o1777)
    utmp = Owner(0, accounts.gid(b"utmp", 43))
    for name, mode in (("wtmp", 0o664), ("btmp", 0o660), ("lastlog", 0o664)):
        if not root.has(f"var/log/{name}"):
            root.write(f"var/log/{name}", b"", mode=mode, owner=utmp)


def _shells(root: Root, added: Iterable[str]) -> None:
    """update-shells(8) of debianutils: what packages declare, each also by its real path, and add-shell(8)."""
    template = root.text("usr/share/debianutils/shells") or b""
    files = [path for path, node in root.below("usr/share/debianutils/shells.d") if node.kind is MemberKind.FILE]
    declared: list[str] = []
    for text in (template, *(root.text(path) or b"" for path in files), _text(added)):
        for line in text.decode("utf-8", "replace").splitlines():
            shell = line.partition("#")[0]
            folder, _, name = shell.rpartition("/")
            real = root.real(folder)
            for spelling in (shell, f"/{real}/{name}" if real is not None else shell):
                if spelling and spelling not in declared:
                    declared.append(spelling)
    lines = template.decode("utf-8", "replace").splitlines()
    lines += [shell for shell in declared if shell not in lines]
    root.write("etc/shells", _text(lines))
    root.write("var/lib/shells.state", _text(declared))


def _text(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()

"""``adduser`` and ``addgroup`` of Debian and Ubuntu: shadow's programs, with numbers and homes of their own.

What it does is in adduser.conf(5) and in the program itself, which differs from release to release. Those named
below were read, and are compared with what they leave; with any other one the line is run.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Mapping

from trainload.builder.dockerfile.placing.accounts import (
    GROUP,
    GSHADOW,
    PASSWD,
    SHADOW,
    append_line,
    copy_tree,
    default,
    join,
    login_numbers,
    login_text,
    new_group,
    rows,
    subordinate,
)
from trainload.builder.dockerfile.placing.draft import Draft
from trainload.builder.dockerfile.placing.files import make_folder
from trainload.dockerfile.steps import AddGroup, AddUser, ChangeUser, MakeFolder
from trainload.dockerfile.understand.parts import Beyond
from trainload.errors import Text
from trainload.plan.placed import PlacedEntry
from trainload.values import dataclass, replace

_PROGRAM, _CONF = "usr/sbin/adduser", "etc/adduser.conf"
_TOOLS = ("usr/bin/perl", "usr/bin/chfn", "usr/bin/gpasswd", *(f"usr/sbin/{name}add" for name in ("user", "group")))
"""What it is written in, and what it calls."""
_VERSION = re.compile(r'^my \$version = "([^"]*)";$', re.MULTILINE)
_OLD = frozenset({"3.118+deb11u1", "3.118ubuntu2", "3.118ubuntu5"})
"""Debian 11, Ubuntu 20.04 and 22.04."""
_NEW = frozenset({"3.134"})
"""Debian 12."""
_SETTING = re.compile(r"\s*([_a-zA-Z0-9]+)\s*=\s*(.*)")
_NUMBERS = {
    f"{end}_{kind}{id_}": number
    for end, system, people in (("first", 100, 1000), ("last", 999, 59999))
    for kind, number in (("system_", system), ("", people))
    for id_ in ("uid", "gid")
}
_FIXED: Mapping[str, Collection[str]] = {
    "grouphomes": ("no",), "letterhomes": ("no",), "setgid_home": ("no",), "usergroups": ("yes",),
    "skel": ("/etc/skel",), "quotauser": ("",), "add_extra_groups": ("0", ""),
    "skel_ignore_regex": ("dpkg-(old|new|dist|save)", r"\.(dpkg|ucf)-(old|new|dist)$"),
}  # fmt: skip
"""Settings that are only known with these values."""
_IGNORED = re.compile(r"\.(?:dpkg|ucf)-|dpkg-")
_PATH = re.compile(r"(?:/[A-Za-z0-9_.-]+)+")
_MODE = re.compile(r"0?[0-7]{3}")


@dataclass(frozen=True, slots=True)
class _Rules:
    is_old: bool
    settings: Mapping[str, str]

    def range(self, id_: str, *, system: bool) -> range:
        """Of the numbers of users (``uid``) or groups (``gid``)."""
        kind = "system_" if system else ""
        ends = [f"{end}_{kind}{id_}" for end in ("first", "last")]
        first, last = (int(self.settings.get(end, _NUMBERS[end])) for end in ends)
        return range(first, last + 1)

    def mode(self, *, system: bool) -> int:
        """Of a home."""
        if self.is_old:
            name, usual = "dir_mode", "0755"
        else:
            name, usual = ("sys_dir_mode", "0755") if system else ("dir_mode", "0700")
        return int(self.settings.get(name, usual), 8)


def add_user(step: AddUser, draft: Draft) -> None:
    """Raises :class:`Beyond` where ``adduser`` would fail, or do what is not known."""
    rules = _rules("adduser", draft)
    people = {row[0]: int(row[2]) for row in rows(PASSWD, draft)}
    here = people.get(step.name)
    if step.system and here in rules.range("uid", system=True) and step.uid in (None, here):
        return  # all is well
    if here is not None or step.uid in people.values():
        raise Beyond(Text("the user {user}, who is there already", user=step.name))
    _check_name(step.name, rules, system=step.system)
    uid, gid = _numbers(step, set(people.values()), rules, draft)
    home = step.home or _home_of(step, rules)
    shell = step.shell or rules.settings.get("dshell", "/bin/bash")
    if step.shell is None and (step.system or (step.nologin and not rules.is_old)):
        shell = "/usr/sbin/nologin"
    if not _PATH.fullmatch(home) or posixpath.normpath(home) != home:
        raise Beyond(Text("the path {path}", path=home))
    append_line(PASSWD, f"{step.name}:x:{uid}:{gid}:{step.comment}:{home}:{shell}", draft)
    append_line(SHADOW, f"{step.name}:{_aging(step, rules, draft)}:", draft)
    subordinate(replace(step, system=False) if rules.is_old else step, uid, draft, login_numbers(draft))
    if not step.system and not rules.is_old and any(row[0] == "users" for row in rows(GROUP, draft)):
        _join(step.name, "users", draft)
    if step.makes_home is not False and (rules.is_old or not re.match("/nonexistent(?:/|$)", home)):
        _make_home(home.strip("/"), (uid, gid), rules, draft, system=step.system)


def add_group(step: AddGroup, draft: Draft) -> None:
    """Raises :class:`Beyond` where ``addgroup`` would fail, or do what is not known."""
    rules = _rules("addgroup", draft)
    groups = {row[0]: int(row[2]) for row in rows(GROUP, draft)}
    allowed = rules.range("gid", system=step.system)
    if step.system and groups.get(step.name) in allowed:
        return  # all is well
    _check_name(step.name, rules, system=step.system)
    gid = step.gid if step.gid is not None else _first(allowed, groups.values())
    new_group(step.name, gid, draft, system=step.system, preferred=None)


def change_user(step: ChangeUser, draft: Draft) -> None:
    """``adduser USER GROUP``."""
    _rules("adduser", draft)
    if step.name not in {row[0] for row in rows(PASSWD, draft)}:
        raise Beyond(Text("the user {user}, who is not there", user=step.name))
    for group in step.groups:
        _join(step.name, group, draft)


def _rules(name: str, draft: Draft) -> _Rules:
    """Of the image's program and its settings."""
    others = [f"{folder}/{name}" for folder in ("usr/local/sbin", "usr/local/bin", "usr/bin")]
    text = draft.text(_PROGRAM) if draft.real(f"usr/sbin/{name}") == _PROGRAM else None
    if text is None or any(draft.find(draft.real(other)) is not None for other in others):
        raise Beyond(Text("an {program} that is not Debian's", program=name))
    for tool in _TOOLS:
        if draft.ground.find(tool) is None:  # perl may be a hard link
            raise Beyond(Text("the image has no {program}", program=posixpath.basename(tool)))
    version = match[1] if (match := _VERSION.search(text)) is not None else "?"
    if version not in _OLD | _NEW:
        raise Beyond(Text("{program} {version}, whose rules are not known", program="adduser", version=version))
    _check_pam(draft)
    if draft.text(SHADOW) is None or draft.text(GSHADOW) is None:
        raise Beyond(Text("{file}, which is not as usual", file=f"/{SHADOW}"))
    return _Rules(version in _OLD, _settings(draft, is_old=version in _OLD))


def _check_pam(draft: Draft) -> None:
    """chfn, which writes the comment, asks it whether root may."""
    modules = [f"usr/lib/{name}/security/pam_unix.so" for name in draft.names("usr/lib") if "-linux-" in name]
    text = draft.text("etc/pam.d/chfn") or ""
    needed = [f"etc/pam.d/{name}" for name in re.findall(r"^@include\s+(\S+)$", text, re.MULTILINE)]
    if "pam_rootok.so" not in text or not any(draft.find(module) for module in modules):
        raise Beyond(Text("{file}, which is not as usual", file="/etc/pam.d/chfn"))
    for file in needed:
        if draft.text(file) is None:
            raise Beyond(Text("{path}, which is not there", path=f"/{file}"))


def _settings(draft: Draft, *, is_old: bool) -> Mapping[str, str]:
    """Of adduser.conf, and checks those of shadow that ``adduser`` does not expect."""
    found: dict[str, str] = {}
    for line in (draft.text(_CONF) or "").splitlines():
        if line.startswith("#") or not line.strip():
            continue
        match = _SETTING.match(line)
        name, value = (match[1].lower(), re.sub(r"""^(["'])(.*)\1$""", r"\2", match[2])) if match else ("", "")
        if not _is_known(name, value, is_old=is_old):
            raise Beyond(Text("{file} has {line}", file=f"/{_CONF}", line=line))
        found[name] = value
    if re.search(r"^CREATE_HOME\s+yes", draft.text("etc/login.defs") or "", re.MULTILINE):
        raise Beyond(Text("{file} has {line}", file="/etc/login.defs", line="CREATE_HOME yes"))
    for name in ("CREATE_MAIL_SPOOL", "INACTIVE", "EXPIRE"):
        value = default(draft, name) or ""
        if value not in ("", "no", "-1"):
            raise Beyond(Text("{file} has {line}", file="/etc/default/useradd", line=f"{name}={value}"))
    return found


def _is_known(name: str, value: str, *, is_old: bool) -> bool:
    if name in _NUMBERS:
        return re.fullmatch("[0-9]{1,9}", value) is not None
    if name in ("dhome", "dshell"):
        return _PATH.fullmatch(value) is not None
    if name == "dir_mode" or (name == "sys_dir_mode" and not is_old):
        return _MODE.fullmatch(value) is not None
    return value in _FIXED.get(name, ()) or name == "extra_groups" or (name == "users_gid" and is_old)


def _check_name(name: str, rules: _Rules, *, system: bool) -> None:
    if name.startswith("_") and (rules.is_old or not system):
        raise Beyond(Text("the account {name}", name=name))


def _numbers(step: AddUser, uids: Collection[int], rules: _Rules, draft: Draft) -> tuple[int, int]:
    """The first free ones, as no program of shadow's would choose them."""
    groups = rows(GROUP, draft)
    gids = {int(row[2]) for row in groups}
    allowed = rules.range("uid", system=step.system)
    apart = rules.is_old or step.system
    by_name = step.group is not None and not step.group.isdigit()
    uid = step.uid
    if uid is None:
        uid = _first(allowed, uids if apart or by_name else {*uids, *gids})
    if step.own_group or (step.group is None and not step.system):
        gid = uid
        if step.uid is None and apart:
            gid = _first(rules.range("gid", system=step.system), gids)
        return uid, new_group(step.name, gid, draft, system=step.system, preferred=None)
    wanted = step.group or next((row[2] for row in groups if row[0] == "nogroup"), "65534")
    for row in groups:
        if wanted == row[0 if by_name else 2]:
            return uid, int(row[2])
    raise Beyond(Text("the group {group}, which is not there", group=wanted))


def _first(allowed: Collection[int], used: Collection[int]) -> int:
    taken = set(used)
    found = next((number for number in allowed if number not in taken), None)
    if found is None:
        raise Beyond(Text("no free number for an account"))
    return found


def _home_of(step: AddUser, rules: _Rules) -> str:
    if step.system and not rules.is_old:
        return "/nonexistent"
    return f"{rules.settings.get('dhome', '/home')}/{step.name}"


def _aging(step: AddUser, rules: _Rules, draft: Draft) -> str:
    """What /etc/shadow says after the name, but for the day."""
    if step.system and not rules.is_old:
        return "!::::::"
    password = "*" if rules.is_old and not step.nologin else "!"
    least, days = login_text(draft, "PASS_MIN_DAYS", "0"), login_text(draft, "PASS_MAX_DAYS", "99999")
    return f"{password}::{least}:{'99999' if step.system else days}:{login_text(draft, 'PASS_WARN_AGE', '7')}::"


def _join(name: str, group: str, draft: Draft) -> None:
    """As gpasswd(1) does, which may write another line where the two files differ."""
    people = {row[0] for row in rows(PASSWD, draft)}
    found = [
        line.rpartition(":")[2]
        for path in (GROUP, GSHADOW)
        for line in (draft.text(path) or "").splitlines()
        if line.startswith(f"{group}:")
    ]
    if len(found) != 2 or found[0] != found[1] or not set(filter(None, found[0].split(","))) <= people:
        raise Beyond(Text("the group {group}, which is not as usual", group=group))
    join(name, group, draft)


def _make_home(path: str, owner: tuple[int, int], rules: _Rules, draft: Draft, *, system: bool) -> None:
    """A folder of the owner's, for people with a copy of ``/etc/skel``; one that is there stays as it is."""
    for program in () if system else ("usr/local/sbin/adduser.local", "usr/sbin/zsysctl"):
        if draft.find(draft.real(program)) is not None:
            raise Beyond(Text("the image has {path}", path=f"/{program}"))
    if draft.find(draft.real(path)) is not None:
        return
    make_folder(MakeFolder(f"/{path}", parents=True), draft)
    real = draft.parent(path)
    draft.put(PlacedEntry(real, "directory", rules.mode(system=system), *owner))
    if system:
        return
    if any(_IGNORED.search(name) for name in _below("etc/skel", draft)):
        raise Beyond(Text("{file}, which is not as usual", file="/etc/skel"))
    copy_tree("etc/skel", real, *owner, draft)


def _below(folder: str, draft: Draft) -> list[str]:
    found = [f"{folder}/{name}" for name in draft.names(folder)]
    return found + [deep for path in found for deep in _below(path, draft)]

"""``/etc/passwd`` and its sisters: base-passwd's masters, sysusers.d, our own user (passwd(5), shadow(5))."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from trainload.errors import LayerError, Place, Text

USER_MASTER = "usr/share/base-passwd/passwd.master"
GROUP_MASTER = "usr/share/base-passwd/group.master"
SYSUSERS = "usr/lib/sysusers.d/"
USER = "app"
USER_ID = 1000
_SYSTEM_IDS = range(999, 99, -1)
"""systemd gives free ids downwards from 999 (sysusers.d(5)); Debian's adduser upwards from 100."""
_NUMBER = re.compile(r"[0-9]{1,10}")
_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_ADDUSER = re.compile(r"^[^#\n]*\badduser\b((?:\\\n|[^\n;&|])*)", re.MULTILINE)
_NOLOGIN = "/usr/sbin/nologin"


@dataclass(frozen=True, slots=True)
class User:
    name: str
    uid: int
    gid: int
    comment: str
    home: str
    shell: str


@dataclass(frozen=True, slots=True)
class Group:
    name: str
    gid: int
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Accounts:
    """Users and groups in the order of their files."""

    users: tuple[User, ...] = ()
    groups: tuple[Group, ...] = ()
    _uids: Mapping[str, int] = field(default_factory=dict)
    _gids: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, users: Iterable[User], groups: Iterable[Group]) -> Accounts:
        users, groups = tuple(users), tuple(groups)
        return cls(users, groups, {u.name: u.uid for u in users}, {g.name: g.gid for g in groups})

    def uid(self, name: bytes, number: int) -> int:
        """What dpkg would give a file of ``name``, and of ``number`` if nobody is called so."""
        return self._uids.get(name.decode("utf-8", "replace"), number)

    def gid(self, name: bytes, number: int) -> int:
        return self._gids.get(name.decode("utf-8", "replace"), number)

    def free(self) -> int:
        """An id for a system user, free as both uid and gid."""
        taken = {user.uid for user in self.users} | {group.gid for group in self.groups}
        return next(number for number in _SYSTEM_IDS if number not in taken)

    def passwd(self) -> bytes:
        return _lines(f"{u.name}:x:{u.uid}:{u.gid}:{u.comment}:{u.home}:{u.shell}" for u in self.users)

    def group(self) -> bytes:
        return _lines(f"{g.name}:x:{g.gid}:{','.join(g.members)}" for g in self.groups)

    def shadow(self) -> bytes:
        """No passwords; no date of change either, which would be the day of the build."""
        return _lines(f"{u.name}:*::0:99999:7:::" for u in self.users)

    def gshadow(self) -> bytes:
        return _lines(f"{g.name}:*::{','.join(g.members)}" for g in self.groups)

    def with_user(self, user: User, group: str) -> Accounts:
        """A new user, and its group if nobody has its id; nothing where the id or the name is known."""
        if any(known.uid == user.uid or known.name == user.name for known in self.users):
            return self
        groups = self.groups
        if not any(known.gid == user.gid for known in groups):
            groups = (*groups, Group(group, user.gid))
        return Accounts.of((*self.users, user), groups)


def read_masters(passwd: bytes | None, group: bytes | None) -> Accounts:
    """The accounts of base-passwd; without its masters, root and nobody. Raises :class:`LayerError`."""
    users = [_user(line) for line in _rows(passwd, USER_MASTER, 7)] if passwd is not None else []
    groups = [_group(line) for line in _rows(group, GROUP_MASTER, 4)] if group is not None else []
    if not users:
        users = [
            User("root", 0, 0, "root", "/root", "/bin/sh"),
            User("nobody", 65534, 65534, "nobody", "/nonexistent", _NOLOGIN),
        ]
    return Accounts.of(users, groups or [Group("root", 0), Group("nogroup", 65534)])


def read_files(passwd: bytes, group: bytes) -> Accounts:
    """The accounts of an image's ``/etc/passwd`` and ``/etc/group``. Raises :class:`LayerError`."""
    users = [_user(line) for line in _rows(passwd, "etc/passwd", 7)]
    return Accounts.of(users, [_group(line) for line in _rows(group, "etc/group", 4)])


def default_user(shell: str) -> User:
    """The user every composed base knows, so that nothing runs as root unasked."""
    return User(USER, USER_ID, USER_ID, USER, f"/home/{USER}", shell)


def numbered_user(uid: int, shell: str) -> User:
    """A user of whom only the number is known."""
    return User(f"user{uid}", uid, uid, f"user {uid}", f"/home/user{uid}", shell)


def from_sysusers(accounts: Accounts, files: Mapping[str, bytes]) -> Accounts:
    """``accounts`` and what sysusers.d(5) files declare; lines with specifiers we do not know are left alone."""
    for name in sorted(files):
        for line in files[name].decode("utf-8", "replace").splitlines():
            words = _words(line)
            if len(words) >= 2 and words[0] in ("u", "u!", "g", "m"):
                accounts = _declared(accounts, words)
    return accounts


def from_scripts(accounts: Accounts, scripts: Sequence[str]) -> Accounts:
    """``accounts`` and the system users that ``adduser --system`` lines of maintainer scripts add, if literal."""
    for script in scripts:
        for match in _ADDUSER.finditer(script):
            accounts = _added(accounts, _words(match[1].replace("\\\n", " ")))
    return accounts


def _declared(accounts: Accounts, words: Sequence[str]) -> Accounts:
    kind, name = words[0], words[1]
    ids = words[2] if len(words) > 2 else "-"
    if kind == "m":
        groups = tuple(
            replace(group, members=(*group.members, name))
            if group.name == ids and name not in group.members
            else group
            for group in accounts.groups
        )
        return Accounts.of(accounts.users, groups)
    uid_text, _, gid_text = ids.partition(":")
    known = {group.name: group.gid for group in accounts.groups}
    number = int(uid_text) if _NUMBER.fullmatch(uid_text) else accounts.free()
    gid = int(gid_text) if _NUMBER.fullmatch(gid_text) else known.get(gid_text or name, number)
    if not _NAME.fullmatch(name) or any(":" in word for word in words[3:]):
        return accounts
    if kind == "g":
        return accounts if name in known else Accounts.of(accounts.users, (*accounts.groups, Group(name, number)))
    more = [word if word != "-" else "" for word in words[3:6]] + ["", "", ""]
    return accounts.with_user(User(name, number, gid, more[0], more[1] or "/", more[2] or _NOLOGIN), name)


def _added(accounts: Accounts, words: Sequence[str]) -> Accounts:
    """One ``adduser`` call (adduser(8)): only system users with nothing that a shell would have to work out."""
    if "--system" not in words or any(mark in word for word in words for mark in "$`*?"):
        return accounts
    with_value = {"--home": "/nonexistent", "--ingroup": "nogroup", "--gecos": "", "--shell": _NOLOGIN, "--uid": ""}
    options = dict(with_value)
    names: list[str] = []
    position = 0
    while position < len(words):
        word, _, value = words[position].partition("=")
        if word in with_value:
            if not value:
                position += 1
                value = words[position] if position < len(words) else ""
            options[word] = value
        elif word == "--group":
            options["--ingroup"] = ""
        elif not word.startswith("-") and not re.match(r"\d?[<>]|true$", word):
            names.append(word)
        position += 1
    if len(names) != 1 or not _NAME.fullmatch(names[0]) or any(":" in value for value in options.values()):
        return accounts
    number = int(options["--uid"]) if _NUMBER.fullmatch(options["--uid"]) else accounts.free()
    known = {group.name: group.gid for group in accounts.groups}
    gid = known.get(options["--ingroup"] or names[0], number)
    user = User(names[0], number, gid, options["--gecos"], options["--home"], options["--shell"])
    return accounts.with_user(user, names[0])


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:
        return []


def _lines(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _rows(data: bytes, file: str, columns: int) -> list[list[str]]:
    rows = [line.split(":") for line in data.decode("utf-8", "replace").splitlines() if line]
    for number, row in enumerate(rows, 1):
        if len(row) != columns or not all(map(_NUMBER.fullmatch, row[2:4] if columns == 7 else row[2:3])):
            raise LayerError(Text("a line of the master file is malformed"), place=Place(file, line=number))
    return rows


def _user(row: Sequence[str]) -> User:
    return User(row[0], int(row[2]), int(row[3]), row[4], row[5], row[6])


def _group(row: Sequence[str]) -> Group:
    return Group(row[0], int(row[2]), tuple(filter(None, row[3].split(","))))

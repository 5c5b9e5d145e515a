"""``useradd``, ``groupadd``, ``usermod`` (shadow) and ``adduser``, ``addgroup`` (Debian): who is to be known."""

from __future__ import annotations

import re
from collections.abc import Sequence

from trainload.dockerfile.steps import AddGroup, AddUser, ChangeUser, PlacedStep
from trainload.dockerfile.understand.options import Options, Table, read
from trainload.dockerfile.understand.parts import Beyond
from trainload.errors import Text

PROGRAMS = frozenset({"useradd", "groupadd", "usermod", "adduser", "addgroup"})
_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
"""What shadow and Debian's adduser both take (NAME_REGEX)."""
_NUMBER = re.compile(r"0|[1-9][0-9]{0,9}")
_MOST = 4_294_967_294
_PATH = re.compile(r"/[A-Za-z0-9_./-]*")
_USERADD = Table(
    flags={
        "-m": "home", "--create-home": "home", "-M": "no-home", "--no-create-home": "no-home", "-r": "system",
        "--system": "system", "-U": "own", "--user-group": "own", "-N": "no-own", "--no-user-group": "no-own",
        "-l": "plain", "--no-log-init": "plain",
    },
    valued={
        "-u": "uid", "--uid": "uid", "-g": "group", "--gid": "group", "-G": "groups", "--groups": "groups",
        "-s": "shell", "--shell": "shell", "-d": "dir", "--home-dir": "dir", "--home": "dir", "-c": "comment",
        "--comment": "comment",
    },
)  # fmt: skip
_GROUPADD = Table(
    flags={"-r": "system", "--system": "system", "-f": "force", "--force": "force"},
    valued={"-g": "gid", "--gid": "gid"},
)
_USERMOD = Table(flags={"-a": "append", "--append": "append"}, valued={"-G": "groups", "--groups": "groups"})
_ADDUSER = Table(
    flags={
        "--disabled-password": "locked", "--disabled-login": "nologin", "--system": "system", "--group": "own",
        "--no-create-home": "no-home", "--quiet": "plain", "-q": "plain",
    },
    valued={
        "--gecos": "comment", "--uid": "uid", "--gid": "gid", "--ingroup": "group", "--home": "dir",
        "--shell": "shell",
    },
)  # fmt: skip
"""What all releases have: Debian 11 has no ``--comment``."""
_ADDGROUP = Table(flags={"--system": "system", "--quiet": "plain"}, valued={"--gid": "gid"})


def read_accounts(words: Sequence[str]) -> tuple[PlacedStep, ...]:
    """Raises :class:`Beyond`."""
    program, *rest = words
    match program:
        case "useradd":
            return (_useradd(read(program, rest, _USERADD)),)
        case "groupadd":
            return (_group(program, read(program, rest, _GROUPADD), debian=False),)
        case "addgroup":
            return (_group(program, read(program, rest, _ADDGROUP), debian=True),)
        case "usermod":
            return (_usermod(read(program, rest, _USERMOD)),)
    return (_adduser(read(program, rest, _ADDUSER)),)


def _useradd(options: Options) -> AddUser:
    name = _one("useradd", options)
    own = "own" in options.flags, "no-own" in options.flags
    homes = {"home", "no-home"} & options.flags
    if all(own) or len(homes) == 2 or (own[0] and "group" in options.values):
        raise Beyond(Text("options of {command} that exclude each other", command="useradd"))
    return AddUser(
        name=name,
        uid=_uid(options),
        group=_group_name(options.one("group")),
        groups=_groups(options.one("groups")),
        own_group=True if own[0] else False if own[1] else None,
        home=_path(options.one("dir")),
        makes_home=True if "home" in homes else False if homes else None,
        shell=_path(options.one("shell")),
        comment=_comment(options.one("comment")),
        system="system" in options.flags,
    )


def _adduser(options: Options) -> AddUser | AddGroup | ChangeUser:
    bare = not options.values
    if len(options.rest) == 2 and not options.flags - {"plain"} and bare:
        return ChangeUser(_name(options.rest[0]), (_name(options.rest[1]),), debian=True)
    name = _one("adduser", options)
    system = "system" in options.flags
    if not system and "own" in options.flags:
        raise Beyond(Text("{command} asks for a password or a name", command="adduser"))
    if not system and (not {"locked", "nologin"} & options.flags or "comment" not in options.values):
        raise Beyond(Text("{command} asks for a password or a name", command="adduser"))
    if ("own" in options.flags) + ("group" in options.values) + ("gid" in options.values) > 1:
        raise Beyond(Text("options of {command} that exclude each other", command="adduser"))
    return AddUser(
        name=name,
        uid=_uid(options),
        group=_primary(options),
        own_group=True if "own" in options.flags else None,
        home=_path(options.one("dir")),
        makes_home=False if "no-home" in options.flags else None,
        shell=_path(options.one("shell")),
        comment=_gecos(options.one("comment")),
        system=system,
        nologin="nologin" in options.flags,
        debian=True,
    )


def _primary(options: Options) -> str | None:
    """Debian tells a number from a name by the option."""
    gid, group = options.one("gid"), options.one("group")
    if gid is not None and not _is_id(gid):
        raise Beyond(Text("the group {group}", group=gid))
    return gid if gid is not None else _name(group) if group is not None else None


def _gecos(text: str | None) -> str:
    """As chfn(1) writes it: a name, a room and two numbers."""
    if text is None:
        return ""
    parts = [*text.split(","), "", "", ""]
    if "=" in text or ":" in text or not text.isascii() or (text and not text.isprintable()) or any(parts[4:]):
        raise Beyond(Text("the comment {text}", text=text))
    return ",".join(parts[:4])


def _group(program: str, options: Options, *, debian: bool) -> AddGroup:
    name = _one(program, options)
    gid = options.one("gid")
    if gid is not None and not _is_id(gid):
        raise Beyond(Text("the group {group}", group=gid))
    return AddGroup(
        name, int(gid) if gid is not None else None, "system" in options.flags, debian, "force" in options.flags
    )


def _usermod(options: Options) -> ChangeUser:
    if options.flags != {"append"} or not options.one("groups"):
        raise Beyond(Text("{command} other than -aG", command="usermod"))
    return ChangeUser(_one("usermod", options), _groups(options.one("groups")))


def _one(program: str, options: Options) -> str:
    if len(options.rest) != 1:
        raise Beyond(Text("{command} without one name", command=program))
    return _name(options.rest[0])


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise Beyond(Text("the account {name}", name=text))
    return text


def _is_id(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None and int(text) <= _MOST


def _uid(options: Options) -> int | None:
    text = options.one("uid")
    if text is not None and not _is_id(text):
        raise Beyond(Text("the user {user}", user=text))
    return int(text) if text is not None else None


def _group_name(text: str | None) -> str | None:
    if text is not None and not _NAME.fullmatch(text) and not _is_id(text):
        raise Beyond(Text("the group {group}", group=text))
    return text


def _groups(text: str | None) -> tuple[str, ...]:
    return tuple(_name(name) for name in text.split(",")) if text else ()


def _path(text: str | None) -> str | None:
    if text is not None and not _PATH.fullmatch(text):
        raise Beyond(Text("the path {path}", path=text))
    return text


def _comment(text: str | None) -> str:
    if text and (":" in text or not text.isprintable()):
        raise Beyond(Text("the comment {text}", text=text))
    return text or ""

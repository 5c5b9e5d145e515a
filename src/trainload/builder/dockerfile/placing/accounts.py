"""``useradd``, ``groupadd`` and ``usermod -aG`` as shadow does them: lines at the ends of its files, a home.

Numbers are given as shadow's find_new_uid and find_new_gid give them, from the image's own login.defs(5). The day
of the last change of a password stays empty, since it would be the day of the build; no backups (``passwd-``) are
kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from trainload.builder.dockerfile.placing.draft import Draft
from trainload.dockerfile.steps import AddGroup, AddUser, ChangeUser
from trainload.dockerfile.understand.parts import Beyond
from trainload.errors import Text
from trainload.plan.placed import PlacedEntry
from trainload.values import replace

PASSWD, GROUP, SHADOW, GSHADOW = "etc/passwd", "etc/group", "etc/shadow", "etc/gshadow"
_DEFAULTS = {
    "UID_MIN": 1000, "UID_MAX": 60000, "SYS_UID_MIN": 101, "SYS_UID_MAX": 999, "GID_MIN": 1000, "GID_MAX": 60000,
    "SYS_GID_MIN": 101, "SYS_GID_MAX": 999, "SUB_UID_MIN": 100000, "SUB_UID_COUNT": 65536, "SUB_GID_MIN": 100000,
    "SUB_GID_COUNT": 65536,
}  # fmt: skip
"""login.defs(5), where the file has no line."""
_MODE = re.compile(r"0?[0-7]{3}")


def add_user(step: AddUser, draft: Draft) -> None:
    """Raises :class:`Beyond` where ``useradd`` would fail, or do what is not known."""
    _check_tool("useradd", draft)
    users, groups = rows(PASSWD, draft), rows(GROUP, draft)
    names, uids = {row[0] for row in users}, {int(row[2]) for row in users}
    if step.name in names or step.uid in uids:
        raise Beyond(Text("the user {user}, who is there already", user=step.name))
    login = login_numbers(draft)
    kind = "SYS_UID" if step.system else "UID"
    uid = step.uid if step.uid is not None else _free(uids, login, kind, None)
    gid = _primary(step, uid, groups, draft, login)
    home = step.home or f"{default(draft, 'HOME') or '/home'}/{step.name}"
    shell = step.shell if step.shell is not None else default(draft, "SHELL") or ""
    append_line(PASSWD, f"{step.name}:x:{uid}:{gid}:{step.comment}:{home}:{shell}", draft)
    aging = "!::::::" if step.system else f"!::{login_text(draft, 'PASS_MIN_DAYS', '0')}:" \
        f"{login_text(draft, 'PASS_MAX_DAYS', '99999')}:{login_text(draft, 'PASS_WARN_AGE', '7')}::"  # fmt: skip
    append_line(SHADOW, f"{step.name}:{aging}:", draft)
    for group in step.groups:
        join(step.name, group, draft)
    subordinate(step, uid, draft, login)
    if _makes_home(step, draft):
        _home(home.strip("/"), uid, gid, draft)


def add_group(step: AddGroup, draft: Draft) -> None:
    """Raises :class:`Beyond` where ``groupadd`` would fail, or do what is not known."""
    _check_tool("groupadd", draft)
    if step.force and step.name in {row[0] for row in rows(GROUP, draft)}:
        return
    new_group(step.name, step.gid, draft, system=step.system, preferred=None)


def change_user(step: ChangeUser, draft: Draft) -> None:
    """``usermod -aG``."""
    _check_tool("usermod", draft)
    if step.name not in {row[0] for row in rows(PASSWD, draft)}:
        raise Beyond(Text("the user {user}, who is not there", user=step.name))
    for group in step.groups:
        join(step.name, group, draft)


def user_ids(user: str, draft: Draft) -> tuple[int, int | None]:
    """A user's number and, where the user is known, its group's."""
    for row in rows(PASSWD, draft):
        if row[0] == user or (user.isdigit() and row[2] == user):
            return int(row[2]), int(row[3])
    if user.isdigit():
        return int(user), None
    raise Beyond(Text("the user {user}, who is not there", user=user))


def group_id(group: str, draft: Draft) -> int:
    for row in rows(GROUP, draft):
        if row[0] == group:
            return int(row[2])
    if group.isdigit():
        return int(group)
    raise Beyond(Text("the group {group}, which is not there", group=group))


def home_of(user: str, draft: Draft) -> str:
    """``$HOME`` as Docker sets it: of the passwd file."""
    row = next((row for row in rows(PASSWD, draft) if user in (row[0], row[2])), None)
    return row[5] if row is not None else "/"


def login_text(draft: Draft, name: str, default: str) -> str:
    """A number of login.defs as it stands."""
    match = re.search(rf"^{name}\s+(\S+)", draft.text("etc/login.defs") or "", re.MULTILINE)
    found = match[1] if match else default
    if not re.fullmatch(r"-?[0-9]{1,9}", found):
        raise Beyond(Text("{file} has {line}", file="/etc/login.defs", line=f"{name} {found}"))
    return found


def _check_tool(name: str, draft: Draft) -> None:
    if all(draft.find(draft.real(f"{folder}/{name}")) is None for folder in ("usr/sbin", "usr/bin")):
        raise Beyond(Text("the image has no {program}", program=name))


def login_numbers(draft: Draft) -> dict[str, int]:
    return {name: int(login_text(draft, name, str(value))) for name, value in _DEFAULTS.items()}


def default(draft: Draft, name: str) -> str | None:
    match = re.search(rf"^{name}=(\S*)", draft.text("etc/default/useradd") or "", re.MULTILINE)
    return match[1] if match else None


def rows(path: str, draft: Draft) -> list[list[str]]:
    """Raises :class:`Beyond` for a file with anything else than plain lines."""
    columns, numbers = (7, (2, 3)) if path == PASSWD else (4, (2,))
    rows = [line.split(":") for line in (draft.text(path) or "").splitlines() if line]
    if not rows or any(len(row) != columns or not all(row[n].isdigit() for n in numbers) for row in rows):
        raise Beyond(Text("{file}, which is not as usual", file=f"/{path}"))
    return rows


def _free(used: Collection[int], login: dict[str, int], kind: str, preferred: int | None) -> int:
    """shadow: find_new_uid.c, find_new_gid.c. System ids are given downwards, others upwards."""
    least, most = login[f"{kind}_MIN"], login[f"{kind}_MAX"]
    if preferred is not None and least <= preferred <= most and preferred not in used:
        return preferred
    taken = [number for number in used if least <= number <= most]
    downwards = kind.startswith("SYS")
    found = min(taken, default=most + 1) - 1 if downwards else max(taken, default=least - 1) + 1
    if not least <= found <= most:
        raise Beyond(Text("no free number for an account"))
    return found


def _primary(step: AddUser, uid: int, groups: list[list[str]], draft: Draft, login: dict[str, int]) -> int:
    if step.group is not None:
        known = [row for row in groups if row[0] == step.group or row[2] == step.group]
        if not known:
            raise Beyond(Text("the group {group}, which is not there", group=step.group))
        return int(known[0][2])
    text = draft.text("etc/login.defs") or ""
    own = step.own_group if step.own_group is not None else bool(re.search(r"^USERGROUPS_ENAB\s+yes", text, re.M))
    if not own:
        raise Beyond(Text("a user without a group of its own"))
    return new_group(step.name, None, draft, system=step.system, preferred=uid)


def new_group(name: str, gid: int | None, draft: Draft, *, system: bool, preferred: int | None) -> int:
    groups = rows(GROUP, draft)
    used = {int(row[2]) for row in groups}
    if name in {row[0] for row in groups} or gid in used:
        raise Beyond(Text("the group {group}, which is there already", group=name))
    number = (
        gid if gid is not None else _free(used, login_numbers(draft), "SYS_GID" if system else "GID", preferred)
    )
    append_line(GROUP, f"{name}:x:{number}:", draft)
    append_line(GSHADOW, f"{name}:!::", draft)
    return number


def join(user: str, group: str, draft: Draft) -> None:
    """One more member, in both files."""
    if group not in {row[0] for row in rows(GROUP, draft)}:
        raise Beyond(Text("the group {group}, which is not there", group=group))

    def joined(line: str) -> str:
        head, _, members = line.rpartition(":")
        names = [name for name in members.split(",") if name]
        return f"{head}:{','.join([*names, user])}" if user not in names else line

    for path in (GROUP, GSHADOW):
        _edit(path, lambda line: joined(line) if line.partition(":")[0] == group else line, draft)


def _edit(path: str, changed: Callable[[str], str], draft: Draft) -> None:
    text = draft.text(path)
    if text is not None:
        draft.write(path, "".join(f"{changed(line)}\n" for line in text.splitlines()))


def append_line(path: str, line: str, draft: Draft) -> None:
    """A line at the end; files of passwords only where the image has them."""
    text = draft.text(path)
    if text is not None:
        draft.write(path, f"{text if not text or text.endswith(chr(10)) else text + chr(10)}{line}\n")


def subordinate(step: AddUser, uid: int, draft: Draft, login: dict[str, int]) -> None:
    """Ranges for user namespaces (subuid(5)), for users who are people."""
    if step.system or not login["UID_MIN"] <= uid <= login["UID_MAX"]:
        return
    for path, kind in (("etc/subuid", "SUB_UID"), ("etc/subgid", "SUB_GID")):
        text = draft.text(path)
        count = login[f"{kind}_COUNT"]
        if text is None or not count:
            continue
        ends = [int(row[1]) + int(row[2]) for line in text.splitlines() if len(row := line.split(":")) == 3]
        start = max([login[f"{kind}_MIN"], *ends])
        append_line(path, f"{step.name}:{start}:{count}", draft)


def _makes_home(step: AddUser, draft: Draft) -> bool:
    if step.makes_home is not None:
        wanted = step.makes_home
    else:
        wanted = (
            bool(re.search(r"^CREATE_HOME\s+yes", draft.text("etc/login.defs") or "", re.M)) and not step.system
        )
    if wanted and (default(draft, "CREATE_MAIL_SPOOL") or "no") == "yes":
        raise Beyond(Text("{file} has {line}", file="/etc/default/useradd", line="CREATE_MAIL_SPOOL=yes"))
    return wanted


def _home(path: str, uid: int, gid: int, draft: Draft) -> None:
    """A copy of ``/etc/skel``; a folder that is there stays as it is."""
    real = draft.parent(path)
    if draft.find(real) is not None:
        return
    text = draft.text("etc/login.defs") or ""
    mode = re.search(r"^HOME_MODE\s+(\S+)", text, re.M)
    mask = re.search(r"^UMASK\s+(\S+)", text, re.M)
    for found in (mode, mask):
        if found is not None and not _MODE.fullmatch(found[1]):
            raise Beyond(Text("{file} has {line}", file="/etc/login.defs", line=found[0]))
    bits = int(mode[1], 8) if mode else 0o777 & ~(int(mask[1], 8) if mask else 0o022)
    draft.put(PlacedEntry(real, "directory", bits, uid, gid))
    copy_tree("etc/skel", real, uid, gid, draft)


def copy_tree(source: str, target: str, uid: int, gid: int, draft: Draft) -> None:
    for name in draft.names(source):
        entry = draft.find(f"{source}/{name}")
        assert entry is not None
        path = f"{target}/{name}"
        if entry.kind == "file":
            draft.write(path, draft.text(f"{source}/{name}") or "", mode=entry.mode, uid=uid, gid=gid)
        else:
            draft.put(replace(entry, path=path, uid=uid, gid=gid))
        if entry.kind == "directory":
            copy_tree(f"{source}/{name}", path, uid, gid, draft)

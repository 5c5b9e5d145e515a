"""Paths of a container seen from outside: resolved as they would be inside, never leading out (THREATS L11, L12).

Used while nothing runs in the container: a path whose parts were looked at cannot change.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from trainload.errors import RunError, Text
from trainload.limits import DEFAULT
from trainload.values import dataclass

_LARGEST_ID = 2**31 - 1  # CVE-2024-40635: a larger one wraps around to root
_NOT_OURS = ("/proc", "/sys", "/dev")  # made fresh at start; a path there means something else then


@dataclass(frozen=True, slots=True)
class Person:
    """Who runs inside."""

    uid: int
    gid: int
    home: str
    groups: tuple[int, ...] = ()
    """Supplementary ones."""


@dataclass(frozen=True, slots=True)
class Inside:
    """A root file system that lies, or is mounted, at ``root``."""

    root: Path

    def at(self, path: str) -> Path:
        """Where a resolved path lies outside."""
        return self.root / path.lstrip("/")

    def resolve(self, path: str) -> str:
        """``path`` without links, ``.`` and ``..``; parts that do not exist are kept.

        Raises :class:`RunError` for a loop of links.
        """
        todo = path.split("/")[::-1]
        done: list[str] = []
        hops = 0
        while todo:
            part = todo.pop()
            if part in ("", "."):
                continue
            if part == "..":
                done = done[:-1]
                continue
            try:
                target = str(self.at("/".join([*done, part])).readlink())
            except OSError:
                done.append(part)
                continue
            hops += 1
            if hops > DEFAULT.symlink_hops:
                raise RunError(Text("{path} in the image is a loop of links", path=path))
            if target.startswith("/"):
                done = []
            todo.extend(target.split("/")[::-1])
        return "/" + "/".join(done)

    def make_folder(self, path: str, owner: tuple[int, int] | None = None) -> str:
        """The folder ``path``, resolved and made where missing (``owner``: whose the new ones are).

        Raises :class:`RunError` when something else lies there.
        """
        resolved = self.resolve(path)
        here = ""
        for part in resolved.split("/")[1:]:
            here += "/" + part
            there = self.at(here)
            if not there.is_dir():
                try:
                    there.mkdir()
                except OSError as error:
                    raise _cannot(path, error) from error
                if owner is not None:
                    os.chown(there, *owner)
        return resolved

    def make_file(self, path: str) -> str:
        """The file ``path``, resolved and made empty where missing. Raises :class:`RunError`."""
        resolved = self.resolve(path)
        self.make_folder(resolved.rpartition("/")[0])
        try:
            self.at(resolved).touch()
        except OSError as error:
            raise _cannot(path, error) from error
        return resolved

    def workdir(self, path: str, owner: tuple[int, int] | None) -> str:
        """The working directory, made where missing. Raises :class:`RunError` unless it is absolute and ours."""
        if not path.startswith("/"):
            raise RunError(Text("the working directory {path} is not absolute", path=path))
        resolved = self.resolve(path)
        if any(resolved == place or resolved.startswith(place + "/") for place in _NOT_OURS):
            raise RunError(Text("the working directory {path} is not in the image", path=path), got=resolved)
        return self.make_folder(path, owner)

    def text(self, path: str) -> str:
        """A small file, empty if it is not there."""
        place = self.at(self.resolve(path))
        if not place.is_file() or place.stat().st_size > DEFAULT.document:
            return ""
        return place.read_text("utf-8", "surrogateescape")

    def person(self, user: str) -> Person:
        """``uid``, ``uid:gid``, ``name`` or ``name:group`` looked up in the image's own files.

        Raises :class:`RunError` for an unknown name or an id out of range.
        """
        wanted, _, group = user.partition(":")
        passwd = [line.split(":") for line in self.text("/etc/passwd").splitlines() if line.count(":") >= 6]
        groups = [line.split(":") for line in self.text("/etc/group").splitlines() if line.count(":") >= 3]
        number = _number(wanted or "0")
        known = next(
            (row for row in passwd if row[0] == wanted or (number is not None and row[2] == str(number))), None
        )
        if number is None and known is None:
            raise RunError(Text("the image has no user {user}", user=wanted), hints=("give a number: --user 1000",))
        uid = number if number is not None else _checked_id(known[2] if known else "", user)
        gid = self._group(group, groups, user) if group else _checked_id(known[3], user) if known else 0
        name = known[0] if known else None
        others = tuple(
            sorted({_checked_id(row[2], user) for row in groups if name in row[3].split(",")} - {gid})
            if name and not group
            else ()
        )
        return Person(_in_range(uid, user), gid, (known[5] if known else "") or "/", others)

    def _group(self, wanted: str, groups: list[list[str]], user: str) -> int:
        number = _number(wanted)
        if number is not None:
            return _in_range(number, user)
        for row in groups:
            if row[0] == wanted:
                return _checked_id(row[2], user)
        raise RunError(Text("the image has no group {group}", group=wanted))

    def executable(self, path: str) -> bool | None:
        """Whether ``path`` is a program; None when there is nothing."""
        try:
            status = self.at(self.resolve(path)).stat()
        except OSError:
            return None
        return stat.S_ISREG(status.st_mode) and bool(status.st_mode & 0o111)


def check_numbers(user: str) -> None:
    """Raises :class:`RunError` for an id out of range: engines let it wrap around to root (CVE-2024-40635)."""
    for part in user.split(":"):
        if part.isascii() and part.isdigit():
            _in_range(int(part), user)


def check_workdir(path: str) -> None:
    """Raises :class:`RunError` for what leads out of a container, or into what its runtime has open.

    (runc CVE-2024-21626: ``/proc/self/fd/8``.)
    """
    if not path.startswith("/"):
        raise RunError(Text("the working directory {path} is not absolute", path=path))
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    if parts[:1] and f"/{parts[0]}" in _NOT_OURS:
        raise RunError(Text("the working directory {path} is not in the image", path=path))


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _checked_id(text: str, user: str) -> int:
    number = _number(text)
    return _in_range(-1 if number is None else number, user)


def _in_range(number: int, user: str) -> int:
    if not 0 <= number <= _LARGEST_ID:
        raise RunError(Text("the user {user} is out of range", user=user), want=f"0 to {_LARGEST_ID}")
    return number


def _cannot(path: str, error: OSError) -> RunError:
    return RunError(Text("{path} cannot be made in the container: {reason}", path=path, reason=error.strerror))

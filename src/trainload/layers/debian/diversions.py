"""Files that a package moves out of its way with dpkg-divert(1), such as parallel those of moreutils.

``dpkg-divert --package NAME --add --rename --divert TO PATH`` lines of a preinst are read as text. Lines a shell
would have to work out are not; what they would do is in :data:`_KNOWN`, for the packages met so far.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from trainload.layers.debian.index import Entry, Indexed
from trainload.layers.tarread import MemberKind

_CALL = re.compile(r"^[^#\n]*?\bdpkg-divert\b((?:\\\n|[^\n;&|])*)", re.MULTILINE)
_KNOWN: Mapping[str, tuple[re.Pattern[str], str]] = {
    "vim-runtime": (re.compile(r"usr/share/vim/vim\d+/doc/(help\.txt|tags)"), ".vim-tiny"),
}
"""Package → which of its paths it has diverted, and what is added to them."""


@dataclass(frozen=True, slots=True)
class Diversion:
    """``path`` is ``package``'s; that of any other package becomes ``to``. Both without a first slash."""

    path: str
    to: str
    package: str


def of(packages: Iterable[Indexed]) -> tuple[Diversion, ...]:
    """The diversions of all packages, in their order."""
    found: list[Diversion] = []
    for package in packages:
        script = package.deb.members.get("preinst")
        if script is not None:
            found += parse(script.content.decode("utf-8", "replace"))
        pattern, suffix = _KNOWN.get(package.name, (None, ""))
        if pattern is not None:
            paths = sorted(filter(pattern.fullmatch, package.listed))
            found += [Diversion(path, path + suffix, package.name) for path in paths]
    return tuple(found)


def parse(script: str) -> list[Diversion]:
    """The literal diversions of a preinst that rename."""
    calls = (match[1].replace("\\\n", " ") for match in _CALL.finditer(script))
    return [found for call in calls if (found := _diversion(call)) is not None]


def apply(packages: Sequence[Indexed], diversions: Sequence[Diversion]) -> Sequence[Indexed]:
    """``packages`` with the paths where their files land; what dpkg lists as theirs stays as it was."""
    if not diversions:
        return packages
    changed = []
    for package in packages:
        moved = {each.path: each.to for each in diversions if each.package != package.name}
        changed.append(replace(package, entries=tuple(_moved(entry, moved) for entry in package.entries)))
    return changed


def state(diversions: Iterable[Diversion]) -> bytes:
    """dpkg's file of diversions."""
    return "".join(f"/{each.path}\n/{each.to}\n{each.package}\n" for each in diversions).encode()


def _diversion(call: str) -> Diversion | None:
    if re.search(r"[$`]", call) or "--rename" not in call or "--remove" in call:
        return None
    try:
        words = [part for word in shlex.split(call) for part in word.split("=", 1)]
        package = words[words.index("--package") + 1]
        to = words[words.index("--divert") + 1]
    except (ValueError, IndexError):
        return None
    known = {"--package", package, "--divert", to, "--add", "--rename", "--quiet"}
    paths = [word for word in words if word not in known]
    sane = all(path.startswith("/") and posixpath.normpath(path) == path for path in (*paths, to))
    return Diversion(paths[0][1:], to[1:], package) if len(paths) == 1 and sane else None


def _moved(entry: Entry, moved: Mapping[str, str]) -> Entry:
    if entry.member.kind is MemberKind.DIRECTORY:
        return entry
    member = entry.member
    if member.kind is MemberKind.HARDLINK:
        target = posixpath.normpath(member.linkname.decode("utf-8", "surrogateescape")).lstrip("/")
        if target in moved:
            member = replace(member, linkname=moved[target].encode("utf-8", "surrogateescape"))
    return replace(entry, path=moved.get(entry.path, entry.path), member=member)

"""What git knows of a folder, asked of git itself where it must be; a folder without a repository is fine."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from trainload.errors import Text
from trainload.limits import KiB
from trainload.system.process import Completed, ProcessError, run
from trainload.tree import Above, IgnoreFile
from trainload.values import dataclass

_PATIENCE = 5.0  # seconds; a huge checkout on a slow disk must not hold up a run
_LISTING_PATIENCE = 60.0  # seconds; what goes in may not depend on how busy a machine is
_IGNORE_LIMIT = 256 * KiB
# a repository's own configuration may name programs; none of these calls is to run one
_HARMLESS = ("--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")
_OF_THE_USER = frozenset({"GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM"})


@dataclass(frozen=True, slots=True)
class Commit:
    """What is checked out."""

    name: str
    dirty: bool
    """Tracked files differ from it."""


def commit_of(folder: Path) -> Commit | None:
    """The commit ``folder`` is at; None without a checkout, without git, or when git takes too long."""
    if _root(folder) is None:
        return None
    try:
        told = _git(folder, ["status", "--porcelain=v2", "--branch", "-uno"], _PATIENCE)
    except ProcessError:
        return None
    lines = told.stdout.decode("utf-8", "replace").splitlines()
    name = next((line.split(" ")[2] for line in lines if line.startswith("# branch.oid ")), "(initial)")
    if told.exit_code != 0 or name == "(initial)":
        return None
    return Commit(name, dirty=any(not line.startswith("#") for line in lines))


def above(folder: Path, environ: Mapping[str, str]) -> Above:
    """Ignore files outside ``folder`` that git holds for it, and what they ignore although it is tracked.

    Nothing without a repository, and none of one that belongs to somebody else than the folder, root or this user
    (CVE-2022-24765). Where git is not installed or refuses, tracked files are not known: told, if git refuses.
    """
    folder = folder.resolve()
    root = _root(folder)
    if root is None or not _is_trusted(root, folder):
        return Above()
    inside = folder.relative_to(root).parts
    ignores = [
        IgnoreFile("../" * depth + ".gitignore", text, inside[len(inside) - depth :])
        for depth in range(1, len(inside) + 1)
        if (text := _text(folder.parents[depth - 1] / ".gitignore", link=False))
    ]
    exclude = _exclude(root)
    if inside or not (root / ".git").is_dir():  # else it lies in the folder
        ignores.append(IgnoreFile(str(exclude), _text(exclude, link=True), inside))
    try:
        users = _users_file(folder, environ)
        ignores.append(IgnoreFile(str(users), _text(users, link=True), inside, everywhere=True))
        tracked, warnings = _tracked(folder, environ)
    except ProcessError:  # no git
        tracked, warnings = frozenset[str](), ()
    return Above(tuple(file for file in ignores if file.text), tracked, warnings)


def _git(
    folder: Path, words: Sequence[str], patience: float, environ: Mapping[str, str] | None = None
) -> Completed:
    # GIT_DIR and its like, set inside a hook, mean another repository
    kept = {n: v for n, v in (environ or os.environ).items() if not n.startswith("GIT_") or n in _OF_THE_USER}
    env = {**kept, "LC_ALL": "C"}
    return run(["git", "-C", str(folder), *_HARMLESS, *words], timeout=patience, env=env)


def _root(folder: Path) -> Path | None:
    """The checkout ``folder`` lies in: the nearest folder with a ``.git`` that is a repository, or leads to one."""
    for place in (folder, *folder.parents):
        found = place / ".git"
        if found.is_file() or (found / "HEAD").is_file():
            return place
    return None


def _is_trusted(root: Path, folder: Path) -> bool:
    trusted = {os.geteuid(), 0, folder.stat().st_uid}
    return {root.stat().st_uid, (root / ".git").stat().st_uid} <= trusted


def _exclude(root: Path) -> Path:
    """``info/exclude`` of the checkout at ``root``; a worktree has its repository's (gitrepository-layout(5))."""
    place = root / ".git"
    if place.is_file():
        place = root / _text(place, link=True).decode("utf-8", "surrogateescape").removeprefix("gitdir:").strip()
    common = _text(place / "commondir", link=True).decode("utf-8", "surrogateescape").strip()
    return (place / common if common else place) / "info" / "exclude"


def _users_file(folder: Path, environ: Mapping[str, str]) -> Path:
    """``core.excludesFile``, or its default (gitignore(5)). Raises :class:`ProcessError` without git."""
    told = _git(folder, ["config", "--type=path", "--get", "core.excludesFile"], _PATIENCE, environ)
    named = told.stdout.decode("utf-8", "surrogateescape").removesuffix("\n")
    if told.exit_code == 0 and named:
        return folder / named
    home = Path(environ.get("HOME") or "/")
    return Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "git" / "ignore"


def _tracked(folder: Path, environ: Mapping[str, str]) -> tuple[frozenset[str], tuple[Text, ...]]:
    words = ["ls-files", "-z", "--cached", "--ignored", "--exclude-standard"]
    told = _git(folder, words, _LISTING_PATIENCE, environ)
    if told.exit_code != 0:
        reason = next(iter(told.complaint.splitlines()), "")
        text = Text("git does not tell which ignored files are tracked, so none goes in: {reason}", reason=reason)
        return frozenset(), (text,)
    names = told.stdout.split(b"\0")[:-1]
    return frozenset(os.fsdecode(name) for name in names), ()


def _text(path: Path, *, link: bool) -> bytes:
    """A small regular file, empty if there is none; ``link``: also through a link, as git reads its own files."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if link else os.O_NOFOLLOW))
    except OSError:
        return b""
    with os.fdopen(descriptor, "rb") as stream:
        return stream.read(_IGNORE_LIMIT) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""

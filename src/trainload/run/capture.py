"""What a run changed, as entries of a layer: the overlay's upper folder compared with what lies below.

Only differences of content, kind, mode and owner count; times do not. What did not change keeps what the layers
below say, so that set-id bits and owners are right although unpacking lost them. An ordinary user's files are
root's inside, and so they are here. Deleted paths are found and told; whether they may be is the caller's business.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from trainload.errors import RunError, Text
from trainload.layers.tarread import MemberKind
from trainload.layers.writer import ROOT, LayerWriter, Owner, Stream
from trainload.limits import MiB
from trainload.run.below import Below, Looks, is_opaque, is_whiteout
from trainload.values import dataclass, field

ENGINES = frozenset({"proc", "sys", "dev", "etc/hosts", "etc/hostname", "etc/resolv.conf"})
"""What the engine makes or mounts in every container."""
_PIECE = MiB


@dataclass(frozen=True, slots=True)
class Rules:
    """What is kept of a run's changes."""

    left_out: Callable[[str], bool]
    """Whether changes of this path, and of all below it, are nobody's business."""
    normalised: Mapping[str, Callable[[bytes], bytes]] = field(default_factory=dict)
    """path → its content without what differs from run to run; for small files."""
    special: bool = True
    """Devices and pipes are an error; else they are left out."""
    normal: Callable[[str], Callable[[bytes], bytes] | None] = lambda _path: None
    """As ``normalised``, for what is known by more than its path."""
    owner: Owner = ROOT
    """Whose the files are that an ordinary user's run made."""


@dataclass(frozen=True, slots=True)
class Change:
    """An entry of the layer."""

    path: str
    kind: MemberKind
    looks: Looks
    source: Path | None = None
    """Where a file's content lies."""
    content: bytes | None = None
    """A file's content, when it is not what lies there."""
    target: str = ""
    """Of a link; a hard link's is an earlier path."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Everything a run changed, sorted, with the folders that lead there."""

    entries: tuple[Change, ...]
    deleted: tuple[str, ...]
    """Paths that lie below and are gone; of a folder, the folder only."""


def find_changes(upper: Path, below: Below, rules: Rules) -> Changes:
    """Compare. Raises :class:`RunError` for what no layer holds, :class:`LayerError` for a broken layer below."""
    search = _Search(upper, below, rules)
    entries = sorted(search.folder("", hidden=False), key=lambda change: change.path)
    return Changes(tuple(_linked(entries)), tuple(sorted(search.deleted)))


def write_changes(changes: Changes, out: LayerWriter) -> None:
    """The entries, in order. Raises :class:`LayerError` when a file changed since."""
    for change in changes.entries:
        mode, owner = change.looks.mode, change.looks.owner
        if change.kind is MemberKind.DIRECTORY:
            out.directory(change.path, mode=mode, owner=owner)
        elif change.kind is MemberKind.SYMLINK:
            out.symlink(change.path, change.target, owner=owner)
        elif change.kind is MemberKind.HARDLINK:
            out.hardlink(change.path, change.target, mode=mode, owner=owner)
        elif change.content is not None:
            out.file(change.path, change.content, mode=mode, owner=owner)
        elif change.source is not None:
            with change.source.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                out.file(change.path, Stream(size, iter(lambda: file.read(_PIECE), b"")), mode=mode, owner=owner)


class _Search:
    def __init__(self, upper: Path, below: Below, rules: Rules) -> None:
        self._upper, self._below, self._rules = upper, below, rules
        self._root = os.geteuid() == 0
        self.deleted: list[str] = []

    def folder(self, path: str, *, hidden: bool) -> Iterator[Change]:
        """Changes in a folder; ``hidden``: it or one above it does not show what lies below."""
        place = self._upper / path
        hidden |= is_opaque(place)
        names = sorted(os.listdir(place))
        if hidden:
            self._gone(path, self._below.names(path).difference(names))
        for name in names:
            inner = f"{path}/{name}" if path else name
            if inner not in ENGINES and not self._rules.left_out(inner):
                yield from self._entry(inner, hidden=hidden)

    def _entry(self, path: str, *, hidden: bool) -> Iterator[Change]:
        place, old = self._upper / path, self._below.place(path)
        status = place.lstat()
        if is_whiteout(status):
            self._gone(*path.rpartition("/")[::2])
        elif stat.S_ISDIR(status.st_mode):
            if not self._root:
                place.chmod(stat.S_IMODE(status.st_mode) | 0o700)  # a folder may be closed even to its owner
            found = list(self.folder(path, hidden=hidden))
            looks = self._looks(path, status, old)
            if found or old is None or not _is_folder(old) or looks != self._below.looks.get(path, looks):
                yield Change(path, MemberKind.DIRECTORY, looks)
            yield from found
        elif not stat.S_ISSOCK(status.st_mode) and (self._rules.special or _is_plain(status)):
            if old is not None and _is_folder(old):
                self._gone(path, self._below.names(path))
            yield from self._leaf(path, status, old)

    def _leaf(self, path: str, status: os.stat_result, old: Path | None) -> Iterator[Change]:
        place = self._upper / path
        looks = self._looks(path, status, old)
        same_looks = looks == self._below.looks.get(path)
        if stat.S_ISLNK(status.st_mode):
            target = os.readlink(place)  # noqa: PTH115 - the target as it stands
            if not (same_looks and old is not None and old.is_symlink() and os.readlink(old) == target):  # noqa: PTH115
                yield Change(path, MemberKind.SYMLINK, looks, target=target)
            return
        if not stat.S_ISREG(status.st_mode):
            raise RunError(
                Text("{path} is a device or pipe, which no layer may hold", path=path),
                hints=("it is to be made when the container starts",),
            )
        if not self._root and not status.st_mode & stat.S_IRUSR:
            place.chmod(stat.S_IMODE(status.st_mode) | 0o600)
        normal = self._rules.normalised.get(path) or self._rules.normal(path)
        content = normal(place.read_bytes()) if normal is not None else None
        if not (same_looks and old is not None and _same_file(old, place, content)):
            yield Change(path, MemberKind.FILE, looks, place, content)

    def _looks(self, path: str, status: os.stat_result, old: Path | None) -> Looks:
        """What did not change since it was unpacked is as the layers below say."""
        mode, said = stat.S_IMODE(status.st_mode), self._below.looks.get(path)
        owner = Owner(status.st_uid, status.st_gid) if self._root else self._rules.owner
        if said is None or old is None:
            return Looks(mode, owner)
        was = old.lstat()
        if mode == stat.S_IMODE(was.st_mode):
            mode = said.mode
        if (status.st_uid, status.st_gid) == (was.st_uid, was.st_gid):
            owner = said.owner
        return Looks(mode, owner)

    def _gone(self, folder: str, names: frozenset[str] | str) -> None:
        for name in (names,) if isinstance(names, str) else sorted(names):
            path = f"{folder}/{name}" if folder else name
            if path not in ENGINES and not self._rules.left_out(path):
                self.deleted.append(path)


def _linked(entries: list[Change]) -> Iterator[Change]:
    """``entries`` with further names of one file as hard links to the first."""
    first: dict[tuple[int, int], Change] = {}
    for change in entries:
        if change.source is None:
            yield change
            continue
        status = change.source.lstat()
        known = first.setdefault((status.st_dev, status.st_ino), change)
        if known is change or known.looks != change.looks:
            yield change
        else:
            yield Change(change.path, MemberKind.HARDLINK, change.looks, target=known.path)


def _is_plain(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)


def _is_folder(place: Path) -> bool:
    return stat.S_ISDIR(place.lstat().st_mode)


def _same_file(old: Path, new: Path, content: bytes | None) -> bool:
    """Whether two places hold the same; ``content`` stands for the new one's, if it is given."""
    status = old.lstat()
    if not stat.S_ISREG(status.st_mode):
        return False
    if content is not None:
        return old.read_bytes() == content
    if status.st_size != new.lstat().st_size:
        return False
    with old.open("rb") as one, new.open("rb") as other:
        while data := one.read(_PIECE):
            if data != other.read(_PIECE):
                return False
    return True

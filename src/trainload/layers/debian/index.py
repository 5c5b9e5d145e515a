"""What a package brings, learned in one pass over its data: entries, hashes, and the few contents needed later."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from trainload.errors import LayerError, Place, Text
from trainload.layers.debian.deb import Deb, open_deb
from trainload.layers.debian.elf import Library, Probe
from trainload.layers.model import Sources
from trainload.layers.tarread import Member, MemberKind, TarReader, member_path
from trainload.limits import DEFAULT, Limits, MiB
from trainload.lock.model import DistributionPackage

_TEXT_LIMIT = MiB

Skip = Callable[[str, MemberKind], bool]
"""Whether a path of a package is left out (dpkg's path-exclude)."""
Wanted = Callable[[str], bool]
"""Whether a file's content is needed to model what scripts would do."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A member of a package."""

    path: str
    """As the package says it, without ``./``."""
    member: Member
    position: int
    sha256: bytes = b""


@dataclass(frozen=True, slots=True)
class Indexed:
    """A package whose data was read once."""

    package: DistributionPackage
    deb: Deb
    entries: tuple[Entry, ...]
    listed: tuple[str, ...]
    """Every path of the package."""
    skipped: frozenset[str]
    """Those that are left out."""
    texts: Mapping[str, bytes]
    libraries: Mapping[str, Library]
    md5: Mapping[str, str]
    """Of the configuration files; of all files when the package brings no md5sums."""
    contents: Mapping[int, bytes] | None
    """All files by position if they fit the budget, else None: they are read again."""

    @property
    def name(self) -> str:
        return self.package.name


@dataclass(slots=True)
class Budget:
    """Bytes of content that may be held so that it need not be decompressed twice; shared by threads."""

    left: int
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, size: int) -> bool:
        with self._lock:
            if size > self.left:
                return False
            self.left -= size
            return True

    def give(self, size: int) -> None:
        with self._lock:
            self.left += size


@dataclass(slots=True)
class _Contents:
    """The contents of one package while they fit."""

    budget: Budget
    held: dict[int, bytes] | None = field(default_factory=dict)
    taken: int = 0

    def may(self, size: int) -> bool:
        if self.held is None:
            return False
        if not self.budget.take(size):
            self.budget.give(self.taken)
            self.held = None
            return False
        self.taken += size
        return True


def index(
    package: DistributionPackage,
    sources: Sources,
    budget: Budget,
    skip: Skip,
    wanted: Wanted,
    limits: Limits = DEFAULT,
) -> Indexed:
    """Read ``package`` once. Raises :class:`LayerError` for a broken package and for one that is not it."""
    with sources.open(package.file) as file:
        deb = open_deb(file, package.file.name, limits=limits)
        _check(deb, package)
        return _Indexing(package, deb, _Contents(budget), skip, wanted).run(deb.files(file))


def conffiles(deb: Deb) -> tuple[str, ...]:
    """Paths of configuration files, without a first slash (deb-conffiles(5))."""
    member = deb.members.get("conffiles")
    lines = member.content.decode("utf-8", "surrogateescape").split("\n") if member else []
    return tuple(line.strip().strip("/") for line in lines if line.startswith("/"))


def _check(deb: Deb, package: DistributionPackage) -> None:
    got = (deb.control.package, deb.control.version, deb.control.architecture)
    want = (package.name, package.version, package.architecture)
    if got != want:
        raise LayerError(
            "the package is not the locked one", place=Place(deb.name), got=" ".join(got), want=" ".join(want)
        )


class _Indexing:
    def __init__(
        self, package: DistributionPackage, deb: Deb, contents: _Contents, skip: Skip, wanted: Wanted
    ) -> None:
        self._package = package
        self._deb = deb
        self._contents = contents
        self._skip = skip
        self._wanted = wanted
        self._conffiles = frozenset(conffiles(deb))
        self._sums = "md5sums" not in deb.members
        self._texts: dict[str, bytes] = {}
        self._libraries: dict[str, Library] = {}
        self._md5: dict[str, str] = {}

    def run(self, reader: TarReader) -> Indexed:
        entries: list[Entry] = []
        listed: list[str] = []
        left_out: set[str] = set()
        for position, member in enumerate(reader):
            path = member_path(member.name, self._deb.name).decode("utf-8", "surrogateescape")
            if not path and member.kind is not MemberKind.DIRECTORY:
                raise LayerError("the root of the package is no directory", place=Place(self._deb.name))
            listed.append(path)
            skipped = self._skip(path, member.kind)
            if skipped:
                left_out.add(path)
            sha256 = b""
            if member.kind is MemberKind.FILE and not (skipped and not self._needs_md5(path)):
                sha256 = self._read(reader, member, path, position, keep=not skipped)
            if path and not skipped:
                entries.append(Entry(path, member, position, sha256))
        if len(set(listed)) != len(listed):
            double = next(path for path in listed if listed.count(path) > 1)
            raise LayerError("a path comes twice in the package", place=Place(self._deb.name, double))
        return Indexed(
            self._package, self._deb, tuple(entries), tuple(listed), frozenset(left_out),
            self._texts, self._libraries, self._md5, self._contents.held,
        )  # fmt: skip

    def _needs_md5(self, path: str) -> bool:
        return self._sums or path in self._conffiles

    def _read(self, reader: TarReader, member: Member, path: str, position: int, *, keep: bool) -> bytes:
        sha256 = hashlib.sha256()
        md5 = hashlib.md5(usedforsecurity=False) if self._needs_md5(path) else None
        text = self._wanted(path)
        if text and member.size > _TEXT_LIMIT:
            raise LayerError(Text("the file is too large"), place=Place(self._deb.name, path), got=member.size)
        hold = keep and self._contents.may(member.size)
        probe = Probe() if ".so" in path else None
        parts: list[bytes] = []
        for chunk in reader.chunks():
            sha256.update(chunk)
            if md5 is not None:
                md5.update(chunk)
            if probe is not None:
                probe.feed(chunk)
            if hold or text:
                parts.append(chunk)
        content = parts[0] if len(parts) == 1 else b"".join(parts)
        if hold and self._contents.held is not None:
            self._contents.held[position] = content
        if text:
            self._texts[path] = content
        if md5 is not None:
            self._md5[path] = md5.hexdigest()
        if probe is not None and (library := probe.library()) is not None:
            self._libraries[path] = library
        return sha256.digest()

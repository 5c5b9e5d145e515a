"""Everything a layer holds: each entry with its size, what it takes of the blob and whose it is.

Taken once per blob and kept by the store, so that questions about images (what makes it large, what differs) read
no layer twice. Bounded whatever a layer holds.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO, cast

from trainload.digest import Digest, canonical_json
from trainload.errors import LayerError, Place
from trainload.layers.foreign.changes import Effect, LayerReader
from trainload.layers.foreign.installed import TEXT_LIMIT, Package, installed, is_wanted, owners
from trainload.layers.tarread import Member, MemberKind
from trainload.limits import DEFAULT, Limits, MiB

FORMAT = 1
"""Of what is written down: raised when it changes, so that layers are read anew."""
_ALL_TEXTS = 128 * MiB
_MEMBERS = 1_000_000
"""Entries of one layer; the largest real ones, with conda, have some 300,000."""
_ANY_RATIO = 1 << 20
"""A file of zeros is no bomb: what it unpacks to is bounded, what it is packed to is not."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a layer places at a path."""

    path: str
    """Without a first slash, in ``os.fsdecode`` form."""
    kind: MemberKind
    size: int
    """Bytes of a file; 0 for all else."""
    packed: int
    """Bytes of the blob it takes, to some 100 KiB; the sum over a layer is exact."""
    mode: int
    target: str
    """Of a link."""
    sha256: str
    """Of a file's content; empty for all else."""
    owner: int | None
    """Which of the layer's packages it belongs to."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """One layer."""

    entries: tuple[Entry, ...]
    hides: tuple[str, ...]
    """Paths that it takes away from lower layers."""
    empties: tuple[str, ...]
    """Folders in which nothing of lower layers stays."""
    packages: tuple[Package, ...]
    evidence: tuple[str, ...]
    """For each package the file that says it is installed."""

    def to_bytes(self) -> bytes:
        """For the store's facts."""
        rows = [[e.path, e.kind, e.size, e.packed, e.mode, e.target, e.sha256, e.owner] for e in self.entries]
        packages = [[p.manager, p.name, p.version] for p in self.packages]
        document = [FORMAT, rows, self.hides, self.empties, packages, self.evidence]
        return zlib.compress(json.dumps(document, separators=(",", ":")).encode(), 1)

    @classmethod
    def from_bytes(cls, data: bytes) -> Inventory:
        """What :meth:`to_bytes` wrote; the caller knows that nobody changed it."""
        _, rows, hides, empties, packages, evidence = json.loads(zlib.decompress(data))
        entries = tuple(Entry(row[0], MemberKind(row[1]), *row[2:]) for row in rows)
        known = tuple(Package(*package) for package in packages)
        return cls(entries, tuple(hides), tuple(empties), known, tuple(evidence))


def statement(blob: Digest, diff_id: Digest) -> Digest:
    """What the store's facts know the inventory of a layer by."""
    return Digest.sha256(canonical_json({"inventory": str(blob), "diff_id": str(diff_id), "version": FORMAT}))


def take_inventory(
    blob: BinaryIO,
    diff_id: Digest,
    name: str,
    *,
    limits: Limits = DEFAULT,
    moved: Callable[[int], object] = lambda _: None,
) -> Inventory:
    """The inventory of the layer in ``blob``; ``name`` is for errors, ``moved`` is told the bytes read so far.

    Raises :class:`LayerError` for a layer that is broken, hostile, or not the one of ``diff_id``.
    """
    bounds = replace(limits, expansion_ratio=_ANY_RATIO, archive_members=max(limits.archive_members, _MEMBERS))
    return _Taking(blob, diff_id, name, bounds).run(moved)


class _Taking:
    def __init__(self, blob: BinaryIO, diff_id: Digest, name: str, limits: Limits) -> None:
        self._blob = _Metered(blob)
        self._reader = LayerReader(cast(BinaryIO, self._blob), diff_id, name, limits=limits)
        self._blob.unpacked = lambda: self._reader.unpacked
        self._name = name
        self._entries: dict[str, Entry] = {}
        self._texts: dict[str, bytes] = {}
        self._ends: list[tuple[str, int]] = []
        """Path of each entry, and where it ends in the tar stream."""

    def run(self, moved: Callable[[int], object]) -> Inventory:
        hides: list[str] = []
        empties: list[str] = []
        for change in self._reader:
            if change.effect is Effect.PLACES:
                self._place(change.path, change.member)
                moved(self._blob.tell())
            else:
                (hides if change.effect is Effect.HIDES else empties).append(change.path)
        packages = installed(self._texts)
        packed, whose = self._packed(), owners(packages)
        return Inventory(
            tuple(replace(e, packed=packed[e.path], owner=whose.get(e.path)) for e in self._entries.values()),
            tuple(hides),
            tuple(empties),
            tuple(one.package for one in packages),
            tuple(one.evidence for one in packages),
        )

    def _packed(self) -> Mapping[str, int]:
        found: dict[str, int] = {}
        shares = self._blob.taken_by([end for _, end in self._ends])
        for (path, _), share in zip(self._ends, shares, strict=True):
            found[path] = found.get(path, 0) + share
        return found

    def _place(self, path: str, member: Member) -> None:
        """Of two entries with one name the last counts (THREATS L08)."""
        self._texts.pop(path, None)
        sha256 = self._content(path, member) if member.kind is MemberKind.FILE else ""
        self._ends.append((path, self._reader.position))
        target = member.linkname.decode("utf-8", "surrogateescape")
        self._entries[path] = Entry(path, member.kind, member.size, 0, member.mode, target, sha256, None)

    def _content(self, path: str, member: Member) -> str:
        state = hashlib.sha256()
        kept: list[bytes] | None = [] if is_wanted(path) and member.size <= TEXT_LIMIT else None
        for chunk in self._reader.files.chunks():
            state.update(chunk)
            if kept is not None:
                kept.append(chunk)
        if kept is not None:
            self._texts[path] = b"".join(kept)
            if sum(map(len, self._texts.values())) > _ALL_TEXTS:
                raise LayerError(
                    "the layer has too many lists of packages", place=Place(self._name), want=f"{_ALL_TEXTS} bytes"
                )
        return state.hexdigest()


class _Metered:
    """A blob that notes, whenever more of it is read, what came out of what was read before."""

    def __init__(self, blob: BinaryIO) -> None:
        self._blob = blob
        self.unpacked: Callable[[], int] = lambda: 0
        self.marks: list[tuple[int, int]] = []
        """(Bytes of the tar stream, bytes of the blob they came of), ascending."""
        self.tell, self.seek = blob.tell, blob.seek

    def read(self, size: int, /) -> bytes:
        self.marks.append((self.unpacked(), self._blob.tell()))
        return self._blob.read(size)

    def taken_by(self, ends: Sequence[int]) -> list[int]:
        """What the pieces of the tar stream that end at ``ends`` take of the blob; the last one has the rest."""
        marks = [*self.marks, (self.unpacked(), self._blob.tell())]
        found: list[int] = []
        number = before = 0
        for end in ends:
            while number + 1 < len(marks) and marks[number + 1][0] <= end:
                number += 1
            at = marks[number][1]
            if number + 1 < len(marks):
                (low, packed), (high, more) = marks[number], marks[number + 1]
                at += (more - packed) * (end - low) // (high - low)
            found.append(at - before)
            before = at
        if found:
            found[-1] += marks[-1][1] - before
        return found

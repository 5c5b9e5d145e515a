"""What one layer has: lines of text, sorted, so that a path is found without the rest being read.

Kept among the store's facts. Of a layer that is made here it comes from its writer, so that gigabytes which were
written a moment ago are not inflated again; of any other from reading it, once per store.
"""

from __future__ import annotations

import base64
import json
import zlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

from trainload.digest import Digest, canonical_json
from trainload.layers.tar import Header, Owner, Type
from trainload.layers.tarread import Member, MemberKind
from trainload.values import dataclass

_FORMAT = 5
WHITEOUT = ".wh."
KINDS = {
    Type.FILE: MemberKind.FILE,
    Type.DIRECTORY: MemberKind.DIRECTORY,
    Type.SYMLINK: MemberKind.SYMLINK,
    Type.HARDLINK: MemberKind.HARDLINK,
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What lies at a path."""

    kind: MemberKind
    mode: int
    owner: Owner
    size: int = 0
    target: str = ""
    """Of a link, as it stands; a hard link's is a path."""
    layer: int = 0
    """The number of its layer."""


def statement(diff_id: Digest) -> Digest:
    """What the store's facts know a layer's listing by."""
    return Digest.sha256(canonical_json({"listing": str(diff_id), "version": _FORMAT}))


@dataclass(frozen=True)
class Listing:
    """A layer's entries. Paths have no first slash."""

    lines: list[bytes]
    """Sorted: each a JSON array that begins with the path."""
    hides: frozenset[str] = frozenset()
    """What it takes away of lower layers, with everything below."""
    empties: frozenset[str] = frozenset()
    """Folders in which it takes away everything of lower layers."""
    said: bytes = b"{}"
    """Contents of a few files, in base64."""

    @classmethod
    def of(
        cls,
        nodes: Mapping[str, Seen],
        hides: Iterable[str] = (),
        empties: Iterable[str] = (),
        texts: Mapping[str, bytes] | None = None,
    ) -> Listing:
        plain = {path: base64.b64encode(content).decode() for path, content in sorted((texts or {}).items())}
        lines = sorted(_line(path, node) for path, node in nodes.items())
        return cls(lines, frozenset(hides), frozenset(empties), json.dumps(plain).encode())

    @classmethod
    def written(cls, headers: Iterable[Header]) -> Listing:
        """Of a layer that was just written."""
        nodes: dict[str, Seen] = {}
        hides = []
        for one in headers:
            above, slash, name = one.name.rpartition("/")
            if name.startswith(WHITEOUT):  # a writer makes no others
                hides.append(f"{above}{slash}{name.removeprefix(WHITEOUT)}")
            else:
                owner = Owner(one.uid, one.gid)
                nodes[one.name] = Seen(KINDS[one.type], one.mode & 0o7777, owner, one.size, one.target)
        return cls.of(nodes, hides)

    @classmethod
    def unpacked(cls, data: bytes) -> Listing:
        """What :meth:`packed` gave; the caller knows that nobody changed it."""
        head, said, *lines = zlib.decompress(data).split(b"\n")
        gone = json.loads(head)
        return cls(lines, frozenset(gone["hides"]), frozenset(gone["empties"]), said)

    def packed(self) -> bytes:
        head = json.dumps({"hides": sorted(self.hides), "empties": sorted(self.empties)}).encode()
        return zlib.compress(b"\n".join([head, self.said, *self.lines]), 1)

    def find(self, path: str) -> Seen | None:
        """What it has at ``path``, no link followed."""
        start = json.dumps([path])[:-1].encode() + b", "
        at = bisect_left(self.lines, start)
        if at == len(self.lines) or not self.lines[at].startswith(start):
            return None
        return _seen(json.loads(self.lines[at]))[1]

    def takes(self, path: str) -> bool:
        """Whether lower layers' ``path`` is gone by its whiteouts."""
        if not self.hides and not self.empties:
            return False
        return path in self.hides or any(one in self.hides or one in self.empties for one in above(path))

    @cached_property
    def texts(self) -> Mapping[str, bytes]:
        """Contents of a few small files that lines of a Dockerfile ask for."""
        return {path: base64.b64decode(content) for path, content in json.loads(self.said).items()}

    @cached_property
    def nodes(self) -> Mapping[str, Seen]:
        """All of it."""
        return dict(_seen(row) for row in json.loads(b"[" + b",".join(self.lines) + b"]"))


def of_member(member: Member) -> Seen:
    """An entry of a layer that is read."""
    target = member.linkname.decode("utf-8", "surrogateescape")
    if member.kind is MemberKind.HARDLINK:
        target = target.strip("/").removeprefix("./")
    return Seen(member.kind, member.mode, Owner(member.uid, member.gid), member.size, target)


def above(path: str) -> Iterator[str]:
    """The folders above ``path``, the nearest first, the root at the end."""
    while path:
        path = path.rpartition("/")[0]
        yield path


def _line(path: str, node: Seen) -> bytes:
    row = [path, node.kind.value, node.mode, node.owner.uid, node.owner.gid, node.size, node.target]
    return json.dumps(row).encode()


def _seen(row: tuple[str, str, int, int, int, int, str]) -> tuple[str, Seen]:
    path, kind, mode, uid, gid, size, target = row
    return path, Seen(MemberKind(kind), mode, Owner(uid, gid), size, target)

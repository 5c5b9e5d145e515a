"""What lies below a line of a Dockerfile: the layers' own listings joined, nothing unpacked.

A layer is read once per store; its listing is kept among the store's facts.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from trainload.digest import Digest, canonical_json
from trainload.errors import ConfigError, LayerError, Text
from trainload.image.model import Layer
from trainload.layers.foreign.changes import Effect, LayerReader
from trainload.layers.tarread import MemberKind
from trainload.layers.writer import Owner
from trainload.limits import DEFAULT, KiB, Limits, MiB
from trainload.lock.found import Facts
from trainload.store.store import Store

_FORMAT = 3
_SMALL = 16 * MiB
_TEXT = re.compile(
    r"etc/(?!ssl/|alternatives/).* | (?:.*/)?bin/(?:pip|pip3)[0-9.]* | var/lib/apt/extended_states"
    r"| (?:.*/)?requirements[^/]*\.txt | usr/share/keyrings/.*",
    re.VERBOSE,
)
"""What lines of a Dockerfile ask for: kept with the listing, so that the layer is not read again for it."""
_TEXT_LIMIT = 256 * KiB


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


@dataclass(slots=True)
class _Listing:
    nodes: dict[str, Seen] = field(default_factory=dict)
    hides: list[str] = field(default_factory=list)
    empties: list[str] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    """Contents of a few files, in base64."""


Listings = dict[Digest, _Listing]
"""Those of one build, by diff_id."""


@dataclass(frozen=True)
class Ground:
    """The layers so far, which are in the store, and the config that goes with them. Paths have no first slash."""

    store: Store
    layers: tuple[Layer, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = DEFAULT
    listings: Listings = field(default_factory=dict)

    @cached_property
    def nodes(self) -> dict[str, Seen]:
        """Everything that is seen. Raises :class:`LayerError` for a broken layer."""
        seen: dict[str, Seen] = {}
        for number, layer in enumerate(self.layers):
            _join(seen, self._listing(layer), number)
        return seen

    def find(self, path: str) -> Seen | None:
        """What lies at ``path``, links in its folders followed, itself not."""
        above, _, name = path.strip("/").rpartition("/")
        if not name:
            return Seen(MemberKind.DIRECTORY, 0o755, Owner())
        real = self.real(above)
        return self.nodes.get(f"{real}/{name}" if real else name)

    def real(self, path: str) -> str:
        """``path`` with all links followed, as far as it is there. Raises :class:`ConfigError` for a loop."""
        here, rest, hops = "", path.split("/"), 0
        while rest:
            part = rest.pop(0)
            if part in ("", "."):
                continue
            if part == "..":  # above the root is the root
                here = here.rpartition("/")[0]
                continue
            step = f"{here}/{part}" if here else part
            node = self.nodes.get(step)
            if node is None or node.kind is not MemberKind.SYMLINK:
                here = step
                continue
            hops += 1
            if hops > self.limits.symlink_hops:
                raise ConfigError(Text("links in the image lead around in a circle"), got=f"/{path}")
            here = "" if node.target.startswith("/") else here
            rest = [*node.target.split("/"), *rest]
        return here

    def folder(self, path: str) -> tuple[str, ...]:
        """The names in a folder, sorted."""
        real = self.real(path)
        return self._names.get(real, ())

    @cached_property
    def _names(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, list[str]] = {}
        for path in sorted(self.nodes):
            above, _, name = path.rpartition("/")
            found.setdefault(above, []).append(name)
        return {folder: tuple(names) for folder, names in found.items()}

    def read(self, path: str) -> bytes | None:
        """A small file's content, links followed; None when there is no file."""
        real = self.real(path)
        node = self.nodes.get(real)
        if node is not None and node.kind is MemberKind.HARDLINK:
            real, node = node.target, self.nodes.get(node.target)
        if node is None or node.kind is not MemberKind.FILE:
            return None
        layer = self.layers[node.layer]
        text = self._listing(layer).texts.get(real)
        if text is not None:
            return base64.b64decode(text)
        with self.store.blob_file(layer.descriptor.digest) as blob:
            reader = LayerReader(blob, layer.diff_id, str(layer.diff_id), limits=self.limits)
            data = None
            for change in reader:
                if change.effect is Effect.PLACES and change.path == real:
                    data = reader.files.content(_SMALL)  # of two entries with one name the last wins
        return data

    @cached_property
    def facts(self) -> Facts:
        """What the layers have together: which system, which Pythons, which accounts."""
        from trainload.layers.foreign.found import facts
        from trainload.layers.foreign.look import Findings, joined, look, statement

        found = []
        for layer in self.layers:
            said = self.store.facts.said(statement(layer.diff_id))
            if said is None:
                with self.store.blob_file(layer.descriptor.digest) as blob:
                    looked = look(blob, layer.diff_id, str(layer.diff_id), limits=self.limits)
                said = looked.to_json()
                self.store.facts.note(statement(layer.diff_id), said)
            found.append(Findings.from_json(said))
        return facts(joined(found), self.env)

    def _listing(self, layer: Layer) -> _Listing:
        if layer.diff_id in self.listings:
            return self.listings[layer.diff_id]
        key = Digest.sha256(canonical_json({"listing": str(layer.diff_id), "version": _FORMAT}))
        said = self.store.facts.said(key)
        if said is None:
            said = zlib.compress(json.dumps(self._read_listing(layer)).encode(), 1)
            self.store.facts.note(key, said)
        plain = json.loads(zlib.decompress(said))
        nodes = {
            path: Seen(MemberKind(kind), mode, Owner(uid, gid), size, target)
            for path, (kind, mode, uid, gid, size, target) in plain["nodes"].items()
        }
        found = _Listing(nodes, plain["hides"], plain["empties"], plain["texts"])
        self.listings[layer.diff_id] = found
        return found

    def _read_listing(self, layer: Layer) -> dict[str, object]:
        nodes: dict[str, object] = {}
        texts: dict[str, str] = {}
        hides, empties = [], []
        with self.store.blob_file(layer.descriptor.digest) as blob:
            reader = LayerReader(blob, layer.diff_id, str(layer.diff_id), limits=self.limits)
            for change in reader:
                member = change.member
                if change.effect is Effect.HIDES:
                    hides.append(change.path)
                elif change.effect is Effect.EMPTIES:
                    empties.append(change.path)
                elif change.path:
                    target = member.linkname.decode("utf-8", "surrogateescape")
                    if member.kind is MemberKind.HARDLINK:
                        target = target.strip("/").removeprefix("./")
                    nodes[change.path] = (
                        member.kind.value, member.mode, member.uid, member.gid, member.size, target,
                    )  # fmt: skip
                    texts.pop(change.path, None)
                    kept = member.kind is MemberKind.FILE and member.size <= _TEXT_LIMIT
                    if kept and _TEXT.fullmatch(change.path):
                        texts[change.path] = base64.b64encode(reader.files.content(_TEXT_LIMIT)).decode()
                if len(nodes) > self.limits.archive_members * 5:
                    raise LayerError("the image has too many files")
        return {"nodes": nodes, "hides": hides, "empties": empties, "texts": texts}


def _join(seen: dict[str, Seen], above: _Listing, number: int) -> None:
    """Put a layer over what is seen (OCI image-spec layer.md § Applying Changesets)."""
    gone = set(above.hides)
    emptied = {*gone, *above.empties}
    for path, node in above.nodes.items():
        before = seen.get(path)
        if before is not None and before.kind is MemberKind.DIRECTORY and node.kind is not MemberKind.DIRECTORY:
            emptied.add(path)
    if emptied:
        for path in [path for path in seen if path in gone or _below(path, emptied)]:
            del seen[path]
    for path, node in above.nodes.items():
        seen[path] = Seen(node.kind, node.mode, node.owner, node.size, node.target, number)


def _below(path: str, folders: set[str]) -> bool:
    if "" in folders:
        return True
    while path:
        path = path.rpartition("/")[0]
        if path in folders:
            return True
    return False


@dataclass(frozen=True, slots=True)
class Accounts:
    """Names of ``/etc/passwd`` and ``/etc/group``."""

    passwd: Sequence[Sequence[str]]
    group: Sequence[Sequence[str]]

    @classmethod
    def of(cls, ground: Ground) -> Accounts:
        def rows(path: str, least: int) -> list[list[str]]:
            text = (ground.read(path) or b"").decode("utf-8", "replace")
            return [line.split(":") for line in text.splitlines() if line.count(":") >= least]

        return cls(rows("etc/passwd", 3), rows("etc/group", 2))

    def owner(self, text: str) -> Owner:
        """``user[:group]`` in numbers; a number alone is the group too. Raises :class:`ConfigError`."""
        user, colon, group = text.partition(":")
        uid, gid = 0, 0
        if user:
            row = next((row for row in self.passwd if row[0] == user), None)
            uid = _number(row[2]) if row is not None else _number(user)
            gid = _number(row[3]) if row is not None else uid
            if uid < 0 or gid < 0:
                raise ConfigError(Text("the image has no user {user}", user=user), hints=_BY_NUMBER)
        if colon and group:
            row = next((row for row in self.group if row[0] == group), None)
            gid = _number(row[2]) if row is not None else _number(group)
            if gid < 0:
                raise ConfigError(Text("the image has no group {group}", group=group), hints=_BY_NUMBER)
        return Owner(uid, gid)


_BY_NUMBER = (Text("make it with an earlier RUN useradd or groupadd, or give numbers: --chown=1000:1000"),)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1

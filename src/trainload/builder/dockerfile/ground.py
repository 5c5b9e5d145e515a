"""What lies below a line of a Dockerfile: the layers' own listings joined, nothing unpacked.

A layer is read once per store; its listing is kept among the store's facts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import count
from pathlib import Path

from trainload.builder.dockerfile.listing import Listing, Seen, above, statement
from trainload.digest import Digest, canonical_json
from trainload.errors import ConfigError, Text
from trainload.image.model import Layer
from trainload.layers.tar import Header, Owner
from trainload.layers.tarread import MemberKind
from trainload.limits import DEFAULT, Limits, MiB
from trainload.lock.found import Facts
from trainload.store.store import Store
from trainload.values import dataclass, field, replace

__all__ = ["Accounts", "Ground", "Listings", "Seen"]
_SMALL = 16 * MiB
_KEPT = MiB
"""Bytes of a file up to which its content is kept once it was asked for."""
_SINGLE = 200
"""So many paths are looked for one by one; for more everything is joined."""

Listings = dict[Digest, Listing]
"""Those of one build, by diff_id."""
Lies = Callable[[Digest], Path | None]


def keep_listing(
    store: Store, listings: Listings, lies: Lies | None, diff_id: Digest, headers: Sequence[Header]
) -> None:
    """Of a layer that was just made: it need not be read for it; ``lies``: where it is unpacked, if it is."""
    from trainload.builder.dockerfile.survey import survey_written

    folder = lies(diff_id) if lies is not None else None
    told = survey_written(diff_id, headers, folder, store) if folder is not None else None
    listing = listings[diff_id] = told or Listing.written(headers)
    store.facts.note(statement(diff_id), listing.packed())


def _text(layer: Layer, path: str) -> Digest:
    return Digest.sha256(canonical_json({"text": path, "layer": str(layer.diff_id)}))


@dataclass(frozen=True)
class Ground:
    """The layers so far, which are in the store, and the config that goes with them. Paths have no first slash."""

    store: Store
    layers: tuple[Layer, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = DEFAULT
    listings: Listings = field(default_factory=dict)

    @cached_property
    def nodes(self) -> Mapping[str, Seen]:
        """Everything that is seen. Raises :class:`LayerError` for a broken layer."""
        seen: dict[str, Seen] = {}
        for number, layer in enumerate(self.layers):
            _join(seen, self._listing(layer), number)
        return seen

    @cached_property
    def _asked(self) -> count[int]:
        return count()

    def at(self, path: str) -> Seen | None:
        """What lies at ``path``, no link followed: for a few paths nothing is joined."""
        if "nodes" in self.__dict__ or next(self._asked) >= _SINGLE:
            return self.nodes.get(path)
        return self._at(path, len(self.layers))

    def _at(self, path: str, layers: int) -> Seen | None:
        """As ``nodes`` has it of the lowest ``layers``."""
        for number in reversed(range(layers)):
            listing = self._listing(self.layers[number])
            found = listing.find(path)
            if found is not None:
                return replace(found, layer=number)
            if listing.takes(path) or any(self._turned(one, number) for one in above(path)):
                return None
        return None

    def _turned(self, path: str, number: int) -> bool:
        """Whether a folder of the layers below is something else in this one."""
        now = self._listing(self.layers[number]).find(path) if path else None
        if now is None or now.kind is MemberKind.DIRECTORY:
            return False
        before = self._at(path, number)
        return before is not None and before.kind is MemberKind.DIRECTORY

    def find(self, path: str) -> Seen | None:
        """What lies at ``path``, links in its folders followed, itself not."""
        above, _, name = path.strip("/").rpartition("/")
        if not name:
            return Seen(MemberKind.DIRECTORY, 0o755, Owner())
        real = self.real(above)
        return self.at(f"{real}/{name}" if real else name)

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
            node = self.at(step)
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
        node = self.at(real)
        if node is not None and node.kind is MemberKind.HARDLINK:
            real, node = node.target, self.at(node.target)
        if node is None or node.kind is not MemberKind.FILE:
            return None
        layer = self.layers[node.layer]
        known = self._known(layer, real)
        return known if known is not None else self._contents(layer, {real}).get(real, b"")

    def read_all(self, paths: Iterable[str]) -> dict[str, bytes]:
        """Small files at paths whose folders are no links, each layer read once; what is no file is left out."""
        found: dict[str, bytes] = {}
        wanted: dict[int, set[str]] = {}
        for path in paths:
            node = self.at(path)
            if node is None or node.kind is not MemberKind.FILE:
                continue
            known = self._known(self.layers[node.layer], path)
            if known is None:
                wanted.setdefault(node.layer, set()).add(path)
            else:
                found[path] = known
        for number, names in wanted.items():
            found |= self._contents(self.layers[number], names)
        return found

    def _known(self, layer: Layer, path: str) -> bytes | None:
        known = self._listing(layer).texts.get(path)
        return known if known is not None else self.store.facts.said(_text(layer, path))

    def _contents(self, layer: Layer, paths: Collection[str]) -> dict[str, bytes]:
        """Of files of ``layer``, which is read for it; small ones are kept."""
        from trainload.layers.foreign.changes import Effect, LayerReader

        found: dict[str, bytes] = {}
        with self.store.blob_file(layer.descriptor.digest) as blob:
            reader = LayerReader(blob, layer.diff_id, str(layer.diff_id), limits=self.limits)
            for change in reader:
                if change.effect is Effect.PLACES and change.path in paths:
                    found[change.path] = reader.files.content(_SMALL)  # of two entries with one name the last wins
        for path, data in found.items():
            if len(data) <= _KEPT:
                self.store.facts.note(_text(layer, path), data)
        return found

    @cached_property
    def facts(self) -> Facts:
        """What the layers have together: which system, which Pythons, which accounts."""
        from trainload.layers.foreign import look
        from trainload.layers.foreign.found import facts

        self._survey()  # of what is read anyway the listing comes with it
        found = []
        for layer in self.layers:
            said = self.store.facts.said(look.statement(layer.diff_id))
            if said is None:
                with self.store.blob_file(layer.descriptor.digest) as blob:
                    looked = look.look(blob, layer.diff_id, str(layer.diff_id), limits=self.limits)
                said = looked.to_json()
                self.store.facts.note(look.statement(layer.diff_id), said)
            found.append(look.Findings.from_json(said))
        return facts(look.joined(found), self.env)

    def _listing(self, layer: Layer) -> Listing:
        found = self.listings.get(layer.diff_id)
        if found is None:
            said = self.store.facts.said(statement(layer.diff_id))
            if said is None:
                self._survey()
                said = self.store.facts.said(statement(layer.diff_id))
                assert said is not None
            found = self.listings[layer.diff_id] = Listing.unpacked(said)
        return found

    def _survey(self) -> None:
        """Read all layers of which nothing is known, since the rest will be asked for, too."""
        from trainload.builder.dockerfile.survey import survey

        missing = {
            layer.diff_id: layer
            for layer in self.layers
            if layer.diff_id not in self.listings and self.store.facts.said(statement(layer.diff_id)) is None
        }
        survey(list(missing.values()), self.store, self.limits)


def _join(seen: dict[str, Seen], above: Listing, number: int) -> None:
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

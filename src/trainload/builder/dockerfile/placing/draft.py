"""Changes of a few paths over what lies below, as one layer: what programs such as ``mkdir`` would leave."""

from __future__ import annotations

import base64

from trainload.builder.dockerfile.ground import Ground, Seen
from trainload.dockerfile.understand.parts import Beyond
from trainload.errors import Text
from trainload.layers.debian.root import normalise
from trainload.layers.files import MOST
from trainload.layers.tarread import MemberKind
from trainload.plan.placed import FilesRecipe, PlacedEntry
from trainload.values import dataclass, field, replace

_KINDS = {MemberKind.DIRECTORY: "directory", MemberKind.SYMLINK: "symlink", MemberKind.FILE: "file"}
_HOPS = 40


@dataclass(slots=True)
class Draft:
    """What changes; paths have no first slash."""

    ground: Ground
    changed: dict[str, PlacedEntry] = field(default_factory=dict)
    weight: int = 0
    """Bytes of files that are taken over."""

    def find(self, path: str) -> PlacedEntry | None:
        """What lies at a path whose folders are no links."""
        if not path:
            return PlacedEntry("", "directory")
        entry = self.changed.get(path)
        if entry is not None:
            return None if entry.kind == "whiteout" else entry
        seen = self.ground.at(path)
        if seen is None or self._is_gone(path):
            return None
        return _entry(path, seen)

    def real(self, path: str) -> str:
        """``path`` with all links followed, as far as it is there."""
        here, rest, hops = "", [part for part in path.split("/") if part], 0
        while rest:
            step = f"{here}/{rest[0]}" if here else rest[0]
            entry = self.find(step)
            rest.pop(0)
            if entry is None or entry.kind != "symlink":
                here = step
                continue
            hops += 1
            led = normalise(here, entry.target)
            if hops > _HOPS or led is None:
                raise Beyond(Text("links that lead around in a circle"))
            here, rest = "", [*[part for part in led.split("/") if part], *rest]
        return here

    def parent(self, path: str) -> str:
        """``path`` with the links of its folders followed; its folder must be there. Raises :class:`Beyond`."""
        above, _, name = path.strip("/").rpartition("/")
        folder = self.real(above)
        found = self.find(folder)
        if found is None or found.kind != "directory":
            raise Beyond(Text("the folder {path}, which is not there", path=f"/{above}"))
        return f"{folder}/{name}" if folder else name

    def names(self, folder: str) -> list[str]:
        """What is in a folder, sorted."""
        start = f"{folder}/" if folder else ""
        made = {path[len(start) :].partition("/")[0] for path in self.changed if path.startswith(start)}
        return sorted(
            name for name in {*made, *self.ground.folder(folder)} if self.find(f"{start}{name}") is not None
        )

    def put(self, entry: PlacedEntry) -> None:
        known = self.changed.get(entry.path)
        if known is not None and known.kind == "whiteout" and entry.kind == "directory":
            raise Beyond(Text("a folder that is removed and made again"))
        self.changed[entry.path] = entry

    def text(self, path: str) -> str | None:
        """A small file's content."""
        entry = self.changed.get(path)
        if entry is not None and entry.kind == "file" and entry.origin is None:
            return base64.b64decode(entry.content).decode("utf-8", "surrogateescape")
        data = self.ground.read(path) if self.find(path) is not None else None
        return data.decode("utf-8", "surrogateescape") if data is not None else None

    def write(self, path: str, text: str, *, mode: int = 0o644, uid: int = 0, gid: int = 0) -> None:
        """A file's new content; what is there keeps its looks."""
        known = self.find(path)
        looks = known if known is not None and known.kind == "file" else PlacedEntry(path, "file", mode, uid, gid)
        content = base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()
        self.put(replace(looks, content=content, origin=None))

    def look(self, path: str, *, mode: int | None = None, uid: int | None = None, gid: int | None = None) -> None:
        """Another mode or owner for what is there. Raises :class:`Beyond` where that takes too much."""
        entry = self.find(path)
        assert entry is not None
        new = replace(
            entry,
            mode=entry.mode if mode is None else mode,
            uid=entry.uid if uid is None else uid,
            gid=entry.gid if gid is None else gid,
        )
        if new == entry:
            return
        seen = self.ground.at(path)
        if path not in self.changed and entry.kind == "file":
            self.weight += seen.size if seen is not None else 0
            if self.weight > MOST or seen is None:
                raise Beyond(Text("files that are too large to be taken over"))
        self.put(new)

    def remove(self, path: str) -> None:
        """It and all below it go."""
        for known in [known for known in self.changed if known == path or known.startswith(f"{path}/")]:
            del self.changed[known]
        if self.ground.at(path) is not None:
            self.put(PlacedEntry(path, "whiteout"))

    def recipe(self) -> FilesRecipe | None:
        """The layer; None when nothing changes."""
        entries = dict(self.changed)
        for path in list(entries):
            above = path.rpartition("/")[0]
            while above and above not in entries:
                found = self.find(above)
                assert found is not None
                entries[above] = found  # engines make unnamed folders that ordinary users cannot enter
                above = above.rpartition("/")[0]
        if not entries:
            return None
        uses = any(entry.origin is not None for entry in entries.values())
        below = tuple(str(layer.diff_id) for layer in self.ground.layers) if uses else ()
        return FilesRecipe(tuple(entries[path] for path in sorted(entries)), below)

    def _is_gone(self, path: str) -> bool:
        while path:
            entry = self.changed.get(path)
            if entry is not None and entry.kind != "directory":
                return True
            path = path.rpartition("/")[0]
        return False


def _entry(path: str, seen: Seen) -> PlacedEntry:
    kind = _KINDS.get(seen.kind)
    if kind is None:  # a hard link shares what it is with other names; a device is a device
        raise Beyond(Text("{path}, which is a {kind}", path=f"/{path}", kind=seen.kind))
    origin = seen.layer if kind == "file" else None
    target = seen.target if kind == "symlink" else ""
    return PlacedEntry(path, kind, seen.mode, seen.owner.uid, seen.owner.gid, target, "", origin)

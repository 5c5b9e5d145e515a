"""What COPY and ADD take: found in the build context, in another stage or image, or written in the file."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol

from trainload.builder.dockerfile.ground import Ground
from trainload.builder.dockerfile.patterns import WILD, literal, matches, within
from trainload.digest import Digest, canonical_json
from trainload.dockerfile.ignore import Ignored, context_entries, read_ignored
from trainload.errors import ConfigError, LayerError, Place, Text
from trainload.layers.tar import Owner
from trainload.layers.tarread import MemberKind
from trainload.project.ignore import Rules
from trainload.project.ignore import parse as rules
from trainload.project.secrets import HARMLESS, NAMES
from trainload.tree import Entry, EntryKind, Tree
from trainload.values import dataclass, replace

_PIECE = 1 << 20
_HOPS = 40  # Linux MAXSYMLINKS
Chunks = Callable[[], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of what is taken; ``path`` is relative to it, empty for itself."""

    path: str
    kind: MemberKind
    mode: int
    size: int = 0
    target: str = ""
    owner: Owner | None = None
    """None: the context's, which say nothing about the image."""
    chunks: Chunks | None = None
    """A file's content."""


@dataclass(frozen=True, slots=True)
class Taken:
    """One source."""

    name: str
    content: str
    """Digest of all inputs that decide what it gives."""
    found: Callable[[], Sequence[tuple[str, Sequence[Item]]]]
    """Called when the layer has to be made: each thing it means, its path and its entries, itself first."""
    path: str = ""
    """Where it lies, if that is one place and it is not called so in ``content``."""


class Source(Protocol):
    """Where patterns are looked for."""

    def take(self, pattern: str, exclude: Sequence[str], place: Place, /, *, deep: bool = False) -> list[Taken]:
        """What ``pattern`` means, at least one; ``deep``: ``**`` in it stands for any folders.

        Raises :class:`ConfigError` with the line when that is nothing.
        """


class Context:
    """The build context: the project's folder without what ``.dockerignore`` leaves out."""

    def __init__(self, tree: Tree, dockerfile: str, own: Sequence[str] = ()) -> None:
        """``own``: files that we write ourselves; they are never part of an image."""
        self._tree, self._dockerfile, self._own = tree, dockerfile, frozenset(own)
        self.secrets: dict[str, str] = {}
        """What was taken and looks like a secret by its name → what it looks like (THREATS P08)."""
        self.taken: set[str] = set()
        """Every file that was taken."""

        self._looked: dict[str, dict[str, Entry]] = {}

    @property
    def tree(self) -> Tree:
        """The project's folder, whole."""
        return self._tree

    @cached_property
    def _ignored(self) -> Ignored:
        return read_ignored(self._tree, self._dockerfile)

    def _look(self, root: str) -> dict[str, Entry]:
        """What is in the context on the way to ``root`` and below it: data sets beside it are not looked into."""
        if "" in self._looked:
            root = ""
        if root not in self._looked:
            found = context_entries(
                self._tree,
                self._ignored,
                lambda one: not root or one.path == root or f"{root}/".startswith(f"{one.path}/")
                or one.path.startswith(f"{root}/"),
            )  # fmt: skip
            self._looked[root] = {entry.path: entry for entry in found if entry.path not in self._own}
        return self._looked[root]

    def take(self, pattern: str, exclude: Sequence[str], place: Place, /, *, deep: bool = False) -> list[Taken]:
        clean = inside(pattern, place)
        entries = self._look(literal(clean))
        names = [clean] if clean in entries or clean == "" else matches(clean, sorted(entries), deep=deep)
        if not names:
            raise self._nothing(pattern, clean, place)
        return [self._taken(self._followed(name, place), name, exclude, place) for name in names]

    def wanted(self, sources: Sequence[str], *, deep: bool = False) -> Sequence[str]:
        """``sources`` without patterns that mean nothing, if another is left (BuildKit: AllowEmptyWildcard).

        ``COPY pyproject.toml poetry.lock* ./`` is for projects without a lock, too.
        """
        if len(sources) < 2:
            return sources
        return [one for one in sources if not WILD.search(one) or self._means_something(one, deep=deep)] or sources

    def _means_something(self, pattern: str, *, deep: bool) -> bool:
        try:
            self.check(pattern, Place(self._dockerfile), deep=deep)
        except ConfigError:
            return False
        return True

    def check(self, pattern: str, place: Place, *, deep: bool = False) -> None:
        """Raises :class:`ConfigError` when there is nothing that ``pattern`` means; nothing is read."""
        clean = inside(pattern, place)
        entries = self._look(literal(clean))
        if clean and clean not in entries and not matches(clean, sorted(entries), deep=deep):
            raise self._nothing(pattern, clean, place)

    def _followed(self, path: str, place: Place) -> str:
        """A source that is a link is what it points at, inside the context (P05)."""
        for _ in range(_HOPS):
            entry = self._look(path).get(path)
            if entry is None or entry.kind is not EntryKind.LINK:
                return path
            target = entry.target or "/"
            if target.startswith("/"):
                break
            path = inside(f"{path.rpartition('/')[0]}/{target}", place)
        text = Text("a link leads out of the folder, and nothing outside is taken")
        raise ConfigError(text, place=place, got=path)

    def _taken(self, path: str, name: str, exclude: Sequence[str], place: Place) -> Taken:
        start = f"{path}/" if path else ""
        entries = self._look(path)
        entry = entries.get(path)
        if path and entry is None:
            raise self._nothing(name, path, place)
        below = [one for other, one in entries.items() if other.startswith(start) and other != path]
        if exclude:
            left = Ignored("\n".join(exclude), "--exclude")
            below = [one for one in below if not left.out(one.path)]
        first = Entry("", EntryKind.FOLDER) if entry is None else entry
        self._notice([first, *below])
        items = tuple(self._item(one, path, place) for one in (first, *below))
        total = hashlib.sha256()
        for item in items:
            total.update(_line(item))
        return Taken(name.rpartition("/")[2], total.hexdigest(), lambda: [(name, items)], name)

    def _notice(self, entries: Sequence[Entry]) -> None:
        secrets, harmless = self._names
        self.taken.update(entry.path for entry in entries if entry.kind is EntryKind.FILE)
        for entry in entries:
            parts = entry.path.lower().split("/")
            if entry.kind is not EntryKind.FILE or not secrets.near(parts[-1]):
                continue
            rule = secrets.find(parts, folder=False)
            if rule is not None and harmless.find(parts, folder=False) is None:
                self.secrets[entry.path] = next(kind for name, kind in NAMES if name == rule.text)

    @cached_property
    def _names(self) -> tuple[Rules, Rules]:
        return rules(name for name, _ in NAMES), rules(HARMLESS)

    def _item(self, entry: Entry, root: str, place: Place) -> Item:
        path = entry.path.removeprefix(root).lstrip("/")
        name = path.rpartition("/")[2]
        if name.startswith(".wh."):
            text = Text("a file of this name would delete another one in the image (OCI whiteout)")
            raise ConfigError(text, place=Place(entry.path), hints=[Text("rename it, or exclude it")])
        if entry.kind is EntryKind.OTHER:
            raise ConfigError(
                Text("a FIFO, socket or device cannot go into an image"), place=Place(entry.path),
                hints=[Text("name it in .dockerignore")],
            )  # fmt: skip
        if entry.kind is EntryKind.FOLDER:
            return Item(path, MemberKind.DIRECTORY, 0o755)
        if entry.kind is EntryKind.LINK:
            return Item(path, MemberKind.SYMLINK, 0o777, target=entry.target or "")
        mode = 0o755 if entry.mode & 0o100 else 0o644  # whatever the umask of who checked it out
        return Item(path, MemberKind.FILE, mode, entry.size, chunks=lambda: self._chunks(entry.path))

    def _chunks(self, path: str) -> Iterator[bytes]:
        with self._tree.open(path) as file:
            while piece := file.read(_PIECE):
                yield piece

    def _near(self, path: str) -> list[str]:
        """The name in the same folder that is nearest to one that is not there."""
        from difflib import get_close_matches

        folder = path.rpartition("/")[0]
        here = [one.path for one in self._tree.walk(lambda one: f"{folder}/".startswith(f"{one.path}/"))
                if one.path.rpartition("/")[0] == folder and not self._ignored.out(one.path)]  # fmt: skip
        return get_close_matches(path, here, n=1)

    def _nothing(self, pattern: str, path: str, place: Place) -> ConfigError:
        there = self._tree.find(path) if path and not re.search(r"[*?\[\\]", path) else None
        hints = [Text("{path} is there, but .dockerignore leaves it out", path=path)] if there is not None else []
        hints = hints or [Text("did you mean {name}?", name=name) for name in self._near(path)]
        return ConfigError(Text("{path} is not in the build context", path=pattern), place=place, hints=hints)


@dataclass(frozen=True)
class LayersSource:
    """Another stage, or an image."""

    label: str
    ground: Callable[[], Ground]
    """Asked for when its files have to be read."""
    diff_ids: tuple[str, ...]
    unpacked: Callable[[Ground], Callable[[str], Path | None]]
    """Where a file of it lies, by its path."""

    def take(self, pattern: str, exclude: Sequence[str], place: Place, /, *, deep: bool = False) -> list[Taken]:
        key = {"layers": self.diff_ids, "pattern": pattern, "exclude": list(exclude)}
        content = Digest.sha256(canonical_json({**key, "deep": True} if deep and "**" in pattern else key)).hex

        def found() -> list[tuple[str, Sequence[Item]]]:
            ground = self.ground()
            names = self._matching(ground, inside(pattern, place), place, deep=deep)
            return [(name, self._below(ground, name, exclude)) for name in names]

        return [Taken(pattern, content, found)]

    def _matching(self, ground: Ground, pattern: str, place: Place, *, deep: bool) -> list[str]:
        if pattern == "":
            return [""]
        if not re.search(r"[*?\[\\]", pattern):
            found = [pattern] if ground.find(pattern) is not None else []
        else:
            found = within(pattern, ground.folder, partial(_in_folder, ground) if deep else None)
        if not found:
            raise ConfigError(Text("{stage} has no {path}", stage=self.label, path=f"/{pattern}"), place=place)
        return found

    def _below(self, ground: Ground, name: str, exclude: Sequence[str]) -> Sequence[Item]:
        real = ground.real(name)
        place = self.unpacked(ground)
        start = f"{real}/" if real else ""
        left = Ignored("\n".join(exclude), "--exclude") if exclude else None
        items: list[Item] = []
        for path, seen in [(real, ground.find(real)), *sorted(ground.nodes.items())]:
            if seen is None or (path != real and not path.startswith(start)) or (path == real and items):
                continue
            inner = path.removeprefix(real).lstrip("/")
            if left is not None and inner and left.out(path):
                continue
            kind = MemberKind.FILE if seen.kind is MemberKind.HARDLINK else seen.kind
            if kind in (MemberKind.FILE, MemberKind.DIRECTORY, MemberKind.SYMLINK):
                item = Item(inner, kind, seen.mode, seen.size, seen.target, seen.owner)
                items.append(self._with_content(item, path, place))
        return items

    def _with_content(self, item: Item, path: str, place: Callable[[str], Path | None]) -> Item:
        if item.kind is not MemberKind.FILE:
            return item
        where = place(path)
        if where is None:
            raise LayerError(Text("{stage} has no {path}", stage=self.label, path=f"/{path}"))

        def chunks() -> Iterator[bytes]:
            with where.open("rb") as file:
                while piece := file.read(_PIECE):
                    yield piece

        return replace(item, size=where.stat().st_size, target="", chunks=chunks)


def _in_folder(ground: Ground, path: str) -> Sequence[str]:
    return ground.folder(path) if ground.real(path) == path else ()


def written(name: str, text: str) -> Taken:
    """A heredoc."""
    data = text.encode("utf-8", "surrogateescape")
    item = Item("", MemberKind.FILE, 0o644, len(data), chunks=lambda: iter((data,)))
    return Taken(name, Digest.sha256(data).hex, lambda: [(name, (item,))])


def inside(pattern: str, place: Place) -> str:
    """``pattern`` below the source's root. Raises :class:`ConfigError` for one that leads out (THREATS F11)."""
    parts: list[str] = []
    for part in pattern.split("/"):
        if part == ".." and not parts:
            raise ConfigError(
                Text("the source leads out of the build context"), place=place, got=pattern,
                hints=[Text("build in the folder above, with -f to name the Dockerfile")],
            )  # fmt: skip
        if part == "..":
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def _line(item: Item) -> bytes:
    digest = hashlib.sha256()
    size = 0
    for piece in item.chunks() if item.chunks is not None else ():
        digest.update(piece)
        size += len(piece)
    if size != item.size:
        raise LayerError(
            Text("the file changed while it was read: {got} bytes, listed with {want}", got=size, want=item.size),
            place=Place(item.path), retryable=True,
        )  # fmt: skip
    fields = (item.path, item.kind.value, f"{item.mode:o}", item.target, digest.hexdigest(), "")
    return "\0".join(map(str, fields)).encode("utf-8", "surrogateescape")

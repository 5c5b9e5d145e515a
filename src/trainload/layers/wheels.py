"""Wheel layers: the members of one wheel or of many, spliced into one layer in the order of their paths."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import BinaryIO

from trainload.errors import Place, Text
from trainload.events import SILENT, Level, Moved, Reporter, Said
from trainload.layers.model import ByteSink, Sources, Written
from trainload.layers.ownership import Claims, case_clashes, check_ownership, claims_of, runs_at_start
from trainload.layers.verify import Deflated, check_sha256
from trainload.layers.wheel import Wheel, read_wheel
from trainload.layers.wheeltree import Item
from trainload.layers.writer import ROOT, LayerWriter, Owner, Stream
from trainload.layers.zip import DEFLATED, Member, content, raw_chunks
from trainload.layers.zipend import refuse
from trainload.limits import DEFAULT, Limits
from trainload.lock.model import File
from trainload.plan.key import recipe_key
from trainload.plan.model import VENV, PrefixWheelsRecipe, WheelsRecipe
from trainload.plan.placed import AddressedSiteRecipe, Below, SiteRecipe

_OPEN = 16
"""Wheels held open at once; most of a wheel's files lie together, so few are opened again."""
_STEP = 4 << 20
"""Bytes between two reports of progress."""


def write_wheels(
    recipe: WheelsRecipe | SiteRecipe,
    sources: Sources,
    sink: ByteSink,
    reporter: Reporter = SILENT,
    limits: Limits = DEFAULT,
    *,
    claimed: Callable[[File, Claims], object] = lambda file, claims: None,
) -> Written:
    """Writes the layer of ``recipe`` and verifies every file on the way.

    Reports ``Moved`` (bytes of wheels placed) for the task ``recipe_key(recipe)``, which the caller begins and
    ends; ``claimed`` is told what each wheel puts where. Raises :class:`LayerError` for a wheel that is broken or
    hostile and for two wheels that want the same path (THREATS W01–W31); what the sink got is then worth nothing.
    """
    with _Shelf(sources) as shelf:
        scheme = recipe.scheme if isinstance(recipe, SiteRecipe) else None
        prefix = recipe.prefix if isinstance(recipe, PrefixWheelsRecipe) else VENV
        schemes = recipe.schemes() if isinstance(recipe, AddressedSiteRecipe) else {}
        wheels = [
            read_wheel(
                shelf.open(file),
                file.name,
                recipe.python,
                limits,
                prefix=prefix,
                folders=schemes.get(file.name, scheme),
            )
            for file in recipe.wheels
        ]
        _check_owners(recipe.wheels, wheels, claimed)
        _tell(wheels, reporter)
        progress = _Progress(reporter, str(recipe_key(recipe)))
        ground = _Ground.of(recipe)
        found = dict(_entries(recipe.wheels, [ground.moved(wheel) for wheel in wheels]))
        with LayerWriter(sink) as out:
            for path in ground.with_removed(found):
                if path not in found:
                    out.whiteout(path)
                    continue
                entry = found[path]
                if entry is None:
                    ground.directory(out, path)
                else:
                    file, item = entry
                    _write(out, shelf, file, item, ground.owner)
                    progress.add(item)
            return out.close()


def _check_owners(
    files: Iterable[File], wheels: Iterable[Wheel], claimed: Callable[[File, Claims], object]
) -> None:
    owners = {file: claims_of(wheel) for file, wheel in zip(files, wheels, strict=True)}
    check_ownership({file.name: claims for file, claims in owners.items()})
    for file, claims in owners.items():
        claimed(file, claims)


@dataclass(slots=True)
class _Progress:
    reporter: Reporter
    task: str
    done: int = 0
    told: int = 0

    def add(self, item: Item) -> None:
        self.done += item.source.packed if isinstance(item.source, Member) else 0
        if self.done - self.told >= _STEP:
            self.told = self.done
            self.reporter.report(Moved(self.task, self.done))


@dataclass(frozen=True, slots=True)
class _Ground:
    """What lies below, as far as it counts: nothing below our own environment."""

    known: Mapping[str, Below] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    owner: Owner = ROOT

    @classmethod
    def of(cls, recipe: WheelsRecipe | SiteRecipe) -> _Ground:
        if not isinstance(recipe, SiteRecipe):
            return cls()
        return cls(
            known={each.path: each for each in recipe.below if not each.target},
            links={each.path: each.target for each in recipe.below if each.target},
            removed=recipe.removed,
            owner=Owner(recipe.uid, recipe.gid),
        )

    def moved(self, wheel: Wheel) -> Wheel:
        """The wheel with its files where links of the image lead."""
        if not self.links:
            return wheel
        items = tuple(replace(item, path=self._real(item.path)) for item in wheel.items)
        return replace(wheel, items=items, folders=tuple(map(self._real, wheel.folders)))

    def with_removed(self, found: Collection[str]) -> list[str]:
        """All paths in order: what is placed, and of what is replaced only that in whose place nothing comes."""
        gone: set[str] = set()
        for path in sorted(self.removed):
            if path not in found and not any(path.startswith(f"{above}/") for above in gone):
                gone.add(path)
        return sorted({*found, *gone})

    def directory(self, out: LayerWriter, path: str) -> None:
        known = self.known.get(path)
        if known is None:
            out.directory(path, owner=self.owner)
        else:
            out.directory(path, mode=known.mode, owner=Owner(known.uid, known.gid))

    def _real(self, path: str) -> str:
        for link, target in self.links.items():
            if path.startswith(f"{link}/"):
                return f"{target}/{path[len(link) + 1 :]}"
        return path


class _Shelf:
    """Open wheels; the one used longest ago is closed when there are too many."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._open: OrderedDict[File, BinaryIO] = OrderedDict()

    def __enter__(self) -> _Shelf:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with ExitStack() as stack:
            for stream in self._open.values():
                stack.callback(stream.close)

    def open(self, file: File) -> BinaryIO:
        stream = self._open.pop(file, None) or self._sources.open(file)
        self._open[file] = stream
        if len(self._open) > _OPEN:
            self._open.popitem(last=False)[1].close()
        return stream


def _entries(files: Iterable[File], wheels: Iterable[Wheel]) -> Iterator[tuple[str, tuple[File, Item] | None]]:
    """All entries by path; None is a directory. A file that several wheels carry comes once, from the first."""
    found: dict[str, tuple[File, Item] | None] = {}
    for file, wheel in zip(files, wheels, strict=True):
        for item in wheel.items:
            found.setdefault(item.path, (file, item))
    for wheel in wheels:
        for folder in wheel.folders:
            if found.setdefault(folder, None) is not None:
                refuse(wheel.file, folder, Text("another wheel has a file where this one has a folder"))
    for path in list(found):
        _add_parents(found, path)
    for path in sorted(found):
        yield path, found[path]


def _add_parents(found: dict[str, tuple[File, Item] | None], path: str) -> None:
    """``/opt`` too: Docker 20.10 makes a folder that a layer does not name one that ordinary users cannot enter."""
    while (path := path.rpartition("/")[0]) and path not in found:
        found[path] = None


def _write(out: LayerWriter, shelf: _Shelf, file: File, item: Item, owner: Owner) -> None:
    source = item.source
    if isinstance(source, bytes):
        out.file(item.path, source, mode=item.mode, owner=owner)
        return
    stream = shelf.open(file)
    promise = Deflated(Place(file.name, source.name), item.size, source.crc32, item.sha256)
    if source.method == DEFLATED and item.size:
        out.splice(item.path, promise, raw_chunks(stream, source), mode=item.mode, owner=owner)
    else:
        content = Stream(item.size, _checked(stream, file.name, source, promise))
        out.file(item.path, content, mode=item.mode, owner=owner)


def _checked(stream: BinaryIO, name: str, member: Member, promise: Deflated) -> Iterator[bytes]:
    """A member's content; at its end its sha256 is compared."""
    digest = hashlib.sha256()
    for piece in content(stream, name, member):
        digest.update(piece)
        yield piece
    check_sha256(promise, digest.digest())


def _tell(wheels: list[Wheel], reporter: Reporter) -> None:
    """What is allowed and still worth a word (THREATS W28, W29)."""
    clashes = list(case_clashes(item.path for wheel in wheels for item in wheel.items))
    if clashes:
        first, second = clashes[0]
        text = Text(
            "{count} pairs of files differ only in case or form of letters, such as /{first} and /{second}:"
            " other systems cannot hold both",
            count=len(clashes),
            first=first,
            second=second,
        )
        reporter.report(Said(text, Level.WARNING))
    for wheel in wheels:
        for item in wheel.items:
            if runs_at_start(item.path):
                name = item.path.rpartition("/")[2]
                text = Text("{package} has {file}, which Python runs when it starts", package=wheel.file, file=name)
                reporter.report(Said(text))

"""Why an image is as large as it is: by kind, by package, by layer; what is in it twice or for nothing. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from trainload.errors import Text
from trainload.image.assemble import weight
from trainload.image.contents import Contents, Placed
from trainload.image.kinds import FileKind, is_gpu_library, kind_of
from trainload.layers.foreign.installed import Package
from trainload.limits import KiB, MiB

_LARGE = 64 * KiB
"""Files below it are not worth a word when they come twice."""
_WORTH = 10 * MiB
"""What is not worth a hint below it."""
_LIBRARY = re.compile(r"(lib[^/]+?)(?:-[0-9a-f]{8})?\.so(?:\.([0-9]+))?(?:\.[0-9.]+)?")


@dataclass(slots=True)
class Weight:
    """Of some files, in bytes."""

    packed: int = 0
    """In the layers, as they are stored and sent; measured to some tens of KiB."""
    unpacked: int = 0
    """On a disk."""
    files: int = 0

    def add(self, placed: Placed) -> None:
        self.packed += placed.entry.packed
        self.unpacked += placed.entry.size
        self.files += bool(placed.entry.sha256)


@dataclass(frozen=True, slots=True)
class Twice:
    """Files that are the same, or the same library; ``waste``: bytes unpacked of all but the largest."""

    name: str
    paths: tuple[str, ...]
    waste: int
    same_content: bool


@dataclass(frozen=True, slots=True)
class Weights:
    """Everything about one image."""

    seen: Weight
    hidden: Weight
    """Stored and sent, but replaced or taken away by higher layers."""
    kinds: dict[FileKind, Weight]
    packages: dict[Package, Weight]
    layers: dict[int, tuple[Weight, Weight]]
    """Number of a layer, base first → what is seen of it, and what is not."""
    twice: tuple[Twice, ...]
    hints: tuple[Text, ...]


def weigh(contents: Contents, workdir: str) -> Weights:
    """``workdir``: the image's."""
    seen, hidden = Weight(), Weight()
    kinds: dict[FileKind, Weight] = defaultdict(Weight)
    packages: dict[Package, Weight] = defaultdict(Weight)
    layers: dict[int, tuple[Weight, Weight]] = defaultdict(lambda: (Weight(), Weight()))
    for placed in contents.seen.values():
        seen.add(placed)
        kinds[kind_of(placed, workdir)].add(placed)
        layers[placed.layer][0].add(placed)
        if placed.package is not None:
            packages[placed.package].add(placed)
    for placed in contents.hidden:
        hidden.add(placed)
        layers[placed.layer][1].add(placed)
    twice = tuple(sorted(_twice(contents), key=lambda one: (-one.waste, one.name)))
    hints = tuple(_hints(contents, hidden, dict(kinds), twice))
    return Weights(seen, hidden, dict(kinds), dict(packages), dict(layers), twice, hints)


def _twice(contents: Contents) -> Iterator[Twice]:
    """The same library of a GPU's maker in two places first, then other files with the same content."""
    libraries: dict[str, list[Placed]] = defaultdict(list)
    contents_of: dict[str, list[Placed]] = defaultdict(list)
    for placed in contents.seen.values():
        if placed.entry.sha256 and placed.entry.size >= _LARGE:
            match = _LIBRARY.fullmatch(placed.entry.path.rpartition("/")[2])
            if match and is_gpu_library(match[0]):
                libraries[f"{match[1]}.so.{match[2]}" if match[2] else f"{match[1]}.so"].append(placed)
            else:
                contents_of[placed.entry.sha256].append(placed)
    for name, group in libraries.items():
        yield from _group(name, group, same_content=len({placed.entry.sha256 for placed in group}) == 1)
    for group in contents_of.values():
        yield from _group(group[0].entry.path.rpartition("/")[2], group, same_content=True)


def _group(name: str, group: list[Placed], *, same_content: bool) -> Iterator[Twice]:
    if len(group) > 1:
        sizes = [placed.entry.size for placed in group]
        paths = tuple(sorted(placed.entry.path for placed in group))
        yield Twice(name, paths, sum(sizes) - max(sizes), same_content)


def _hints(
    contents: Contents, hidden: Weight, kinds: dict[FileKind, Weight], twice: Iterable[Twice]
) -> Iterator[Text]:
    """What would make the image smaller, the most first as a rule."""
    gpu = sum(one.waste for one in twice if is_gpu_library(one.name + ".so"))
    if gpu >= _WORTH:
        yield Text(
            "CUDA is there twice ({size}): Python wheels bring their own, so take a base without CUDA",
            size=weight(gpu),
        )
    if hidden.packed >= _WORTH:
        yield Text(
            "{size} lie in lower layers and are replaced or deleted above: build the image anew without them",
            size=weight(hidden.packed),
        )
    if _packed(kinds, FileKind.CACHE) >= _WORTH:
        yield Text(
            "{size} are caches of package managers: nothing needs them in an image",
            size=weight(_packed(kinds, FileKind.CACHE)),
        )
    if _packed(kinds, FileKind.WEIGHTS) >= _WORTH:
        yield Text(
            "{size} are weights of models: mount them when the image runs, if they change on their own",
            size=weight(_packed(kinds, FileKind.WEIGHTS)),
        )
    static = sum(p.entry.packed for p in contents.seen.values() if p.entry.path.endswith(".a"))
    if static >= _WORTH:
        yield Text("{size} are static libraries (*.a), which only a compiler needs", size=weight(static))


def _packed(kinds: dict[FileKind, Weight], kind: FileKind) -> int:
    return kinds[kind].packed if kind in kinds else 0

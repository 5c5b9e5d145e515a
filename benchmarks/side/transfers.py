"""Pulling, the first import, and sizes: of the images that the scenarios of building have left in the registry."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.budget import Deadline
from benchmarks.measure import touch_memory, trouble
from benchmarks.peers import missing
from benchmarks.project import TRAINLOAD
from benchmarks.results import Row
from benchmarks.side.builders import call
from benchmarks.side.sample import Sample, measured
from benchmarks.side.scenarios import SHORT, Work

COLD_PULL, AFTER_BUMP = "cold pull", "pull after a bump"
IMPORT = "first import in a new container"
_NOTE = "MB: received"
_ROUNDS = 3
_IMPORTS = 6.0
"""Seconds in which an import may be repeated; each container is new."""


@dataclass(frozen=True, slots=True)
class Puller:
    """Something that fetches images into a state of its own."""

    name: str
    forget: Callable[[], object]
    pull: Callable[[str], object]


@dataclass(slots=True)
class _Taken:
    """What one puller took for one tool's image."""

    cold: list[Sample] = field(default_factory=list)
    after: list[Sample] = field(default_factory=list)
    imported: list[Sample] = field(default_factory=list)
    weight: Mapping[str, Any] | None = None
    longest: float = 0.0
    failed: str = ""


@dataclass(frozen=True, slots=True)
class _Pair:
    work: Work
    puller: Puller
    engine: tuple[str, ...] = ()
    """A Docker client: what was pulled is run there, and weighed."""
    bumps: bool = True
    """It was built in a newer version, too."""


@dataclass(frozen=True, slots=True)
class Moved:
    rows: list[Row]
    sizes: list[Mapping[str, Any]]


def moves(
    both: tuple[Sequence[Work], Work],
    engine: tuple[str, ...],
    place: Path,
    until: Deadline,
    tell: Callable[[str], None],
) -> Moved:
    """Each tool's image: pulled, imported from in a new container, weighed; how its newer version comes after it.

    ``both``: the tools, and our image with bytecode. ``engine``: a Docker client, whose engine is emptied. They
    take turns; each has one round, those that are short have three.
    """
    works, compiled = both
    place.mkdir()
    dockers = [_Pair(work, _docker(engine), engine) for work in works]
    dockers += [_Pair(compiled, _docker(engine), engine, bumps=False)] if not compiled.failed else []
    pairs = [*dockers, *(_Pair(works[0], puller) for puller in _others(works[0], place))]
    taken = [_Taken() for _ in pairs]
    for number in range(_ROUNDS):
        for pair, found in zip(pairs, taken, strict=True):
            short = found.longest < SHORT
            if found.failed or (number and not short and not until.fits(found.longest)):
                continue
            began = time.monotonic()
            _moved(pair, found)
            found.longest = max(found.longest, time.monotonic() - began)
            tell(f"{pair.puller.name}, {pair.work.builder.name}: {found.longest:.2f} s in all {found.failed}")
    rows = [row for pair, found in zip(pairs, taken, strict=True) for row in _rows(pair, found)]
    return Moved(rows, [found.weight for found in taken if found.weight is not None])


def _moved(pair: _Pair, taken: _Taken) -> None:
    work, puller = pair.work, pair.puller
    with trouble() as found:
        puller.forget()
        touch_memory(1 << 30)
        received = partial(getattr, work.made.way, "received")
        taken.cold.append(measured(partial(_quietly, puller.pull, work.named("added")), received))
        if pair.engine:
            for _ in Deadline(_IMPORTS).rounds(_ROUNDS):
                taken.imported.append(measured(partial(_quietly, call, _importing(pair))))
            taken.weight = taken.weight or _weight(work, pair.engine)
        if pair.bumps:
            taken.after.append(measured(partial(_quietly, puller.pull, work.named("bumped")), received))
    taken.failed = found.what


def _rows(pair: _Pair, taken: _Taken) -> Iterator[Row]:
    tool = pair.work.builder
    name = f"{pair.puller.name}: image of {tool.name}"
    yield Row(COLD_PULL, name, tuple(taken.cold), _ROUNDS, _NOTE, taken.failed)
    if pair.bumps:
        yield Row(AFTER_BUMP, name, tuple(taken.after), _ROUNDS, _NOTE, taken.failed)
    if pair.engine:
        kind = "bytecode" if tool.compiles else "no bytecode"
        yield Row(IMPORT, f"{tool.name} ({kind})", tuple(taken.imported), _ROUNDS, failed=taken.failed)


def _importing(pair: _Pair) -> list[str]:
    words = ["run", "--rm", "--network", "host", pair.work.named("added")]
    return [*pair.engine, *words, "python", "-c", pair.work.sort.imports]


def _quietly(work: Callable[..., object], *arguments: object) -> None:
    work(*arguments)


def _docker(engine: tuple[str, ...]) -> Puller:
    return Puller(
        "docker pull",
        lambda: call([*engine, "system", "prune", "-af"]),
        lambda target: call([*engine, "pull", "-q", target]),
    )


def _others(work: Work, place: Path) -> Iterator[Puller]:
    """The tools for moving images, with ours: they move the same bytes for any."""
    if not missing("skopeo"):
        folder = place / "skopeo"
        folder.mkdir()
        copy = ["skopeo", "copy", "-q", "--src-tls-verify=false"]
        yield Puller(
            "skopeo copy", partial(_aside, folder),
            lambda target: call([*copy, f"docker://{target}", f"oci:{folder}/image"]),
        )  # fmt: skip
    if not missing("podman"):
        # its --runroot may have 50 characters
        storage = ["--root", f"{place}/podman", "--runroot", f"{place}/r", "--storage-driver", "overlay"]
        yield Puller(
            "podman pull",
            lambda: call(["podman", *storage, "rmi", "-af"]),
            lambda target: call(["podman", *storage, "pull", "-q", "--tls-verify=false", target]),
        )
    store = place / "store"
    environ = {**work.made.environ, "TRAINLOAD_HOME": str(store)}
    yield Puller(
        "trainload pull",
        partial(_aside, store),
        lambda target: call([TRAINLOAD, "-q", "pull", target], work.folder, environ),
    )


def _aside(folder: Path) -> None:
    """Emptied. What was in it is not removed: that would make the disk slow for who comes next."""
    if folder.exists():
        folder.rename(folder.with_name(f"{folder.name}-{len(list(folder.parent.iterdir()))}"))
    folder.mkdir()


def _weight(work: Work, engine: tuple[str, ...]) -> Mapping[str, Any]:
    """Of an image, its base included: compressed in the registry, and unpacked in Docker."""
    target = work.named("added")
    raw = call(["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{target}"])
    layers = [layer["size"] for layer in json.loads(raw)["layers"]]
    disk = int(call([*engine, "image", "inspect", "--format", "{{.Size}}", target]))
    return {"tool": work.builder.name, "layers": len(layers), "bytes": sum(layers), "disk": disk}

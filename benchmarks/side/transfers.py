"""Pulling, the first import, and sizes: of the images that the scenarios of building have left in the registry."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.budget import Deadline
from benchmarks.measure import touch_memory, trouble
from benchmarks.peers import missing
from benchmarks.project import TRAINLOAD
from benchmarks.results import Row
from benchmarks.side.builders import Trainload, call
from benchmarks.side.sample import Sample, measured
from benchmarks.side.scenarios import Work

COLD_PULL, AFTER_BUMP = "cold pull", "pull after a bump"
IMPORT = "first import in a new container"
_NOTE = "MB: received"


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
    failed: str = ""


def pulls(
    works: Sequence[Work], engine: tuple[str, ...], place: Path, rounds: int, until: Deadline
) -> Iterator[Row]:
    """Each tool's image, and how its newer version comes after it; ``engine``: a Docker client."""
    place.mkdir()
    pairs = [(work, puller) for work in works for puller in _pullers(work, engine, place)]
    taken = {id(pair): _Taken() for pair in pairs}
    for _ in until.rounds(rounds):
        for pair in pairs:
            if not taken[id(pair)].failed:
                _pulled(*pair, taken[id(pair)])
    for pair in pairs:
        work, puller = pair
        found, name = taken[id(pair)], f"{puller.name}: image of {work.builder.name}"
        yield Row(COLD_PULL, name, tuple(found.cold), rounds, _NOTE, found.failed)
        yield Row(AFTER_BUMP, name, tuple(found.after), rounds, _NOTE, found.failed)


def _pulled(work: Work, puller: Puller, taken: _Taken) -> None:
    with trouble() as found:
        puller.forget()
        touch_memory(1 << 30)
        received = partial(getattr, work.made.way, "received")
        taken.cold.append(measured(partial(_quietly, puller.pull, work.named("added")), received))
        taken.after.append(measured(partial(_quietly, puller.pull, work.named("bumped")), received))
    taken.failed = found.what


def _quietly(work: Callable[..., object], *arguments: object) -> None:
    work(*arguments)


def _pullers(work: Work, engine: tuple[str, ...], place: Path) -> Iterator[Puller]:
    """Docker for every image; of ours the tools for moving images, too: they move the same bytes for any."""
    yield Puller(
        "docker pull",
        lambda: call([*engine, "system", "prune", "-af"]),
        lambda target: call([*engine, "pull", "-q", target]),
    )
    if not isinstance(work.builder, Trainload):
        return
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


def imports(works: Sequence[Work], engine: tuple[str, ...], rounds: int, until: Deadline) -> Iterator[Row]:
    """The first import in a new container, of images with bytecode and without."""
    samples: dict[str, list[Sample]] = {work.builder.name: [] for work in works}
    failed = dict.fromkeys(samples, "")
    for _ in until.rounds(rounds):
        for work in works:
            name = work.builder.name
            with trouble() as found:
                target = work.named("added")
                call([*engine, "pull", "-q", target])
                words = [*engine, "run", "--rm", "--network", "host", target, "python", "-c", work.sort.imports]
                samples[name].append(measured(partial(_quietly, call, words)))
            failed[name] = found.what or failed[name]
    for work in works:
        name = work.builder.name
        kind = "bytecode" if work.builder.compiles else "no bytecode"
        yield Row(IMPORT, f"{name} ({kind})", tuple(samples[name]), rounds, failed=failed[name])


def sizes(works: Sequence[Work], engine: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """What each tool's image weighs, its base included: compressed in the registry, and unpacked in Docker."""
    for work in works:
        target = work.named("added")
        with trouble():
            raw = call(["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{target}"])
            layers = json.loads(raw)["layers"]
            call([*engine, "pull", "-q", target])
            disk = int(call([*engine, "image", "inspect", "--format", "{{.Size}}", target]))
            weight = sum(layer["size"] for layer in layers)
            yield {"tool": work.builder.name, "layers": len(layers), "bytes": weight, "disk": disk}

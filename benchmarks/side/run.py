"""All tools through all scenarios, one project after the other."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.peers import docker, missing
from benchmarks.results import Results
from benchmarks.side.builders import Buildah, Builder, Docker, Trainload
from benchmarks.side.dockerfiles import Installer, Recipe
from benchmarks.side.floor import floors
from benchmarks.side.materials import Materials, materials
from benchmarks.side.newer import newer_docker
from benchmarks.side.newer import reason as no_newer
from benchmarks.side.scenarios import ALL, ROUNDS, Work, rows, works
from benchmarks.side.transfers import imports, pulls, ship, sizes

_PLAIN = (Recipe(Installer.PIP), Recipe(Installer.UV))
_MOUNTED = (Recipe(Installer.PIP, mounts=True), Recipe(Installer.UV, mounts=True))
BUDGET = 45.0
"""Seconds after which a scenario begins no further round."""


def side_by_side(folder: Path, results: Results, *, quick: bool) -> dict[str, dict[str, float]]:
    """Adds rows to ``results``; returns project → scenario → the least it costs. Sockets lie in ``folder``."""
    found: dict[str, dict[str, float]] = {}
    shared = folder / "s"
    shared.mkdir(parents=True)
    with ExitStack() as stack:
        made = stack.enter_context(materials(shared / "m", large=not quick))
        for sort in made.sorts:
            builders = list(_builders(made, shared / sort.name, stack, quick=quick, tell=_tell))
            for builder in builders:
                results.versions[builder.name] = builder.version
            ready = works(made, sort, builders, shared / sort.name)
            for scenario in ALL:
                taken = rows(scenario, ready, 2 if quick else ROUNDS, 10 if quick else BUDGET, _tell)
                results.rows.extend(taken)
            found[sort.name] = dict(floors(made, sort))
            if not quick:
                _transfers(ready, results, shared / f"ship-{sort.name}")
    return found


def _transfers(ready: Sequence[Work], results: Results, folder: Path) -> None:
    """Pulls, imports and ships, of ours and of one image of each kind beside it."""
    engine = _engines.get("classic")
    if engine is None:
        return
    folder.mkdir()
    named = {work.builder.name: work for work in ready}
    shown = [named[name] for name in ("trainload", "Docker classic + pip", "BuildKit + uv") if name in named]
    results.rows.extend(pulls(shown, engine, 3))
    results.rows.extend(imports(shown, engine, 3))
    results.rows.extend(ship(shown[0], shown[1], folder, 3))
    results.parts.setdefault("sizes", []).extend(sizes(shown))


def _tell(line: str) -> None:
    sys.stderr.write(f"  {line}\n")
    sys.stderr.flush()


_engines: dict[str, tuple[str, ...]] = {}


def _builders(
    made: Materials, place: Path, stack: ExitStack, *, quick: bool, tell: Callable[[str], None]
) -> Iterator[Builder]:
    place.mkdir()
    yield Trainload(made, place / "store")
    absent = missing("dockerd", "docker")
    if absent:
        tell(f"Docker: {absent}")
    else:
        if "classic" not in _engines:
            _engines["classic"] = ("docker", "-H", stack.enter_context(docker(made.folder.parent / "classic")))
        for recipe in _PLAIN[:1] if quick else _PLAIN:
            yield Docker(made, recipe, "Docker classic", _engines["classic"], buildkit=False)
    absent = no_newer()
    if absent:
        tell(f"BuildKit: {absent}")
    else:
        if "newer" not in _engines:
            _engines["newer"] = stack.enter_context(newer_docker(made.folder.parent))
        for recipe in _MOUNTED[1:] if quick else (*_PLAIN, *_MOUNTED):
            yield Docker(made, recipe, "BuildKit", _engines["newer"], buildkit=True)
    if quick:
        return
    absent = missing("buildah")
    if absent:
        tell(f"buildah: {absent}")
    else:
        for number, recipe in enumerate((*_PLAIN, *_MOUNTED)):
            yield Buildah(made, recipe, place / f"b{number}")

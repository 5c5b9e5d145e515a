"""All tools through all scenarios with one project."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.budget import Deadline
from benchmarks.dockerfile import OTHER_DIGEST, FromDockerfile
from benchmarks.measure import trouble
from benchmarks.peers import docker, missing
from benchmarks.results import Part
from benchmarks.side import floor
from benchmarks.side.builders import Buildah, Builder, Docker, PlainUv, Trainload, call
from benchmarks.side.dockerfiles import Installer, Recipe
from benchmarks.side.materials import Materials, materials
from benchmarks.side.newer import newer_docker
from benchmarks.side.newer import reason as no_newer
from benchmarks.side.scenarios import ADDED_PUSHED, ALL, PUSHED, ROUNDS, Scenario, Work, rows, warm, works
from benchmarks.side.shipping import PROGRAMS, ship
from benchmarks.side.transfers import Moved, moves

_PIP, _UV = Recipe(Installer.PIP), Recipe(Installer.UV)
_PIP_MOUNTED, _UV_MOUNTED = Recipe(Installer.PIP, mounts=True), Recipe(Installer.UV, mounts=True)
_ALL = (_PIP, _UV, _PIP_MOUNTED, _UV_MOUNTED)
FOR_ALL = {"small": 800.0, "large": 2600.0}
"""Seconds from which on a project goes through all ways of all builders."""
_OVER = "the time was over"
_OTHERS = 0.35
"""Of the time: for what comes after the scenarios of building."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where it happens, and for how long."""

    folder: Path
    """Short: sockets of engines lie below it."""
    cache: Path
    """For what is downloaded."""
    seconds: float
    quick: bool = False


def side_by_side(part: Part, site: Site) -> None:
    """Adds what is found to ``part``, whose name is the project's."""
    shared = site.folder / "s"
    shared.mkdir(parents=True)
    until = Deadline(site.seconds)
    with ExitStack() as stack:
        made = stack.enter_context(materials(shared / "m", site.cache, part.name))
        engines = _Engines(made, site.cache, stack)
        builders = list(_builders(engines, shared / "t", _wanted(part.name, site)))
        ready = works(made, made.sort, builders, shared / "p")
        if not _for_all(part.name, site):
            _brief(part, ready)
        for builder in builders:
            part.versions[builder.name] = builder.version
        part.versions |= _other_versions()
        _tell(f"{part.name}: {until.left:.0f} s are left when all is prepared")
        for scenario, seconds in _shares(until, quick=site.quick):
            if until.late:  # else each has its one round
                _left_out(part, scenario.name)
                continue
            part.rows.extend(rows(scenario, ready, 2 if site.quick else ROUNDS, Deadline(seconds), _tell))
            if scenario is PUSHED:
                _again(part, ready)
                warm(ready)
        _attempt(part, "least", lambda: part.floors.update(floor.of_building(made, made.sort)))
        if not site.quick:
            _transfers(part, ready, engines, shared, until)


def _for_all(project: str, site: Site) -> bool:
    return site.seconds >= FOR_ALL[project]


def _brief(part: Part, ready: Sequence[Work]) -> None:
    """Half an hour is not enough for all in all; it is said."""
    for work in ready:
        work.brief = isinstance(work.builder, Buildah | FromDockerfile)
        if work.brief:
            _left_out(
                part, f"{work.builder.name}, in the later scenarios of building", "--minutes 100 has the time"
            )


def _again(part: Part, ready: Sequence[Work]) -> None:
    """Whether our image of the Dockerfile is the same one, made on a machine that has the lock alone."""
    for work in ready:
        if isinstance(work.builder, FromDockerfile) and not work.failed:
            differs = partial(work.builder.differs, work.folder)
            _attempt(part, OTHER_DIGEST, partial(_note, part, OTHER_DIGEST, differs))


def _note(part: Part, what: str, found: Callable[[], object]) -> None:
    part.data[what] = found()


def _shares(until: Deadline, *, quick: bool) -> Iterator[tuple[Scenario, float]]:
    """Each scenario with its part of what is left when its turn comes: what one saves, the later ones have."""
    kept = 0.0 if quick else until.left * _OTHERS
    for number, scenario in enumerate(ALL):
        left = until.left - kept
        yield scenario, left * scenario.share / sum(one.share for one in ALL[number:])


def _transfers(part: Part, ready: Sequence[Work], engines: _Engines, folder: Path, until: Deadline) -> None:
    """Pulls, imports, sizes and ships: of ours, and of one image of each kind beside it."""
    if engines.classic is None:
        _left_out(part, "pulls, imports, shipping", "no Docker")
        return
    engine, named = engines.classic, {work.builder.name: work for work in ready}
    names = ("trainload", "Docker classic + pip", "BuildKit + uv, cache mount")
    shown = [named[name] for name in names if name in named and not named[name].failed]
    if part.name == "large" and any(work.brief for work in ready):
        shown = shown[:2]
        _left_out(part, f"pulls of the image of {names[2]}", "the small project has them")
    if [work.builder.name for work in shown[:2]] != list(names[:2]):
        _left_out(part, "pulls, imports, shipping", f"{names[0]} or {names[1]} did not build")
        return
    ours, theirs = shown[:2]
    compiled = _compiled(ours, folder)
    absent = missing(*PROGRAMS)
    if absent or until.late:
        _left_out(part, "shipping", absent)
    else:
        _attempt(part, "shipping", partial(_ship, part, (ours, theirs), folder / "ship", until))
    if until.late:
        _left_out(part, "pulls, imports")
    else:  # the last, since it empties the engine that the images were built in
        pulled = partial(moves, (shown, compiled), engine, folder / "pulled", Deadline(until.left * 0.8), _tell)
        _attempt(part, "pulls, imports", lambda: _add(part, pulled()))
    (folder / "f").mkdir()
    moving = (ours.made, ours.named("added"), ours.named("bumped"), folder / "f")
    _attempt(part, "least of moving", lambda: part.floors.update(floor.of_moving(*moving)))
    plain = next((work.builder for work in ready if isinstance(work.builder, PlainUv)), None)
    if plain is not None:
        python = plain.python
        _attempt(part, "least of imports", lambda: part.floors.update(floor.of_import(python, ours.made.sort)))
    _attempt(
        part, "least bytes", lambda: part.data.update({"least bytes": floor.weight(ours.made, ours.made.sort)})
    )


def _add(part: Part, moved: Moved) -> None:
    part.rows.extend(moved.rows)
    part.data["sizes"] = moved.sizes


def _ship(part: Part, both: tuple[Work, Work], folder: Path, until: Deadline) -> None:
    """What both built last, whole on this machine."""
    for work in both:
        work.build()
    folder.mkdir()
    part.rows.extend(ship(*both, folder, 5, Deadline(until.left * 0.2)))


def _compiled(ours: Work, folder: Path) -> Work:
    """Our image with bytecode, pushed under the same tag to a repository of its own."""
    builder = ours.builder
    assert isinstance(builder, Trainload)
    compiled = Trainload(ours.made, builder.home, "trainload, bytecode = true", compiles=True)
    work = Work(ours.made, ours.sort, compiled, folder / "compiled" / ours.sort.name)
    with trouble() as found:
        ADDED_PUSHED.before(work)
        work.deliver()
    work.failed = found.what
    return work


def _left_out(part: Part, what: str, why: str = "") -> None:
    _tell(f"{part.name}: {what}: {why or _OVER}")
    part.data.setdefault("not measured", {})[what] = why or _OVER


def _attempt(part: Part, what: str, work: Callable[[], object]) -> None:
    """What fails is told, and kept beside the results; the rest goes on."""
    with trouble() as found:
        work()
    if found.what:
        _tell(f"{part.name}: {what}: {found.what}")
        part.data.setdefault("not measured", {})[what] = found.what


def _tell(line: str) -> None:
    sys.stderr.write(f"  {line}\n")
    sys.stderr.flush()


class _Engines:
    """Those that are here, each started once; who cannot be started is told, and left out."""

    def __init__(self, made: Materials, cache: Path, stack: ExitStack) -> None:
        self.made = made
        self.classic: tuple[str, ...] | None = None
        self.newer: tuple[str, ...] | None = None
        place = made.folder.parent
        absent = missing("dockerd", "docker")
        if not absent:
            with trouble() as found:
                self.classic = ("docker", "-H", stack.enter_context(docker(place / "classic")))
            absent = found.what
        if absent:
            _tell(f"Docker: {absent}")
        absent = no_newer()
        if not absent:
            with trouble() as found:
                self.newer = stack.enter_context(newer_docker(place, cache))
            absent = found.what
        if absent:
            _tell(f"BuildKit: {absent}")


@dataclass(frozen=True, slots=True)
class _Ways:
    """How dependencies get in, by builder; what comes first is what the others are compared with."""

    classic: tuple[Recipe, ...]
    buildkit: tuple[Recipe, ...]
    buildah: tuple[Recipe, ...]
    ours: bool = True
    """We build the Dockerfile that Docker is given, too."""


def _wanted(project: str, site: Site) -> _Ways:
    """All of them where there is time; else what fits."""
    if site.quick:
        return _Ways((_PIP,), (_UV_MOUNTED,), (), ours=False)
    if _for_all(project, site):
        return _Ways((_PIP, _UV), _ALL, _ALL)
    if project == "small":
        return _Ways((_PIP,), (_UV_MOUNTED,), (_UV,), ours=False)
    return _Ways((_PIP,), (_UV_MOUNTED,), ())


def _builders(engines: _Engines, place: Path, ways: _Ways) -> Iterator[Builder]:
    made = engines.made
    place.mkdir()
    yield Trainload(made, place / "store")
    yield PlainUv(made, place / "uv")
    if ways.ours:  # the Dockerfile that Docker is given
        yield FromDockerfile(made, place / "store-f")
    if engines.classic:
        for recipe in ways.classic:
            yield Docker(made, recipe, "Docker classic", engines.classic, buildkit=False)
    if engines.newer:
        for recipe in ways.buildkit:
            yield Docker(made, recipe, "BuildKit", engines.newer, buildkit=True)
    absent = missing("buildah")
    if absent and ways.buildah:
        _tell(f"buildah: {absent}")
        return
    for number, recipe in enumerate(ways.buildah):
        yield Buildah(made, recipe, place / f"b{number}")


def _other_versions() -> dict[str, str]:
    """Of what moves images and installs packages."""
    asked = {
        "skopeo": ["skopeo", "--version"],
        "podman": ["podman", "--version"],
        "docker-registry": ["docker-registry", "--version"],
        "python": [sys.executable, "--version"],
        "pip": [sys.executable, "-m", "pip", "--version"],
    }
    found = {}
    for name, argv in asked.items():
        with trouble():
            found[name] = next(word for word in call(argv).split() if word.lstrip("v")[:1].isdigit())
    return found

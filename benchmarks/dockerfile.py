"""The same Dockerfile (slim base, requirements with PyTorch, COPY) built by us and by Docker, in alternation.

Cold is as on a machine that has never built anything: the base comes from the registry, the wheels from one page.
Where the large project was measured in the same run, we took part there with Docker's Dockerfile, and the figures
are those of its table.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.budget import Deadline
from benchmarks.measure import Figure, process, touch_memory, trouble
from benchmarks.peers import docker, missing
from benchmarks.project import TRAINLOAD
from benchmarks.results import Part
from benchmarks.side.builders import Builder, Docker, Trainload, call
from benchmarks.side.dockerfiles import Installer, Recipe
from benchmarks.side.materials import edit, materials, project
from benchmarks.side.newer import newer_docker
from benchmarks.side.newer import reason as no_newer

_ROUNDS, _TURNS = 5, 3
NAME = "trainload -f Dockerfile"
OTHER_DIGEST = "another digest from an empty store"
_PIP = Recipe(Installer.PIP)
_COLD, _EDITED, _AGAIN = "cold", "after an edit", "nothing changed"
_WANTED: Mapping[str, float | None] = {_COLD: 8.0, _EDITED: 5.0, _AGAIN: None}
"""How many times faster than Docker it has to be."""
_ROWS: Mapping[str, float | None] = {
    "cold build": 8.0, "cold build, pushed": 8.0, "one line of code edited, pushed": 5.0, "nothing changed": None,
}  # fmt: skip
"""The same, by the scenarios of the side-by-side tables."""


@dataclass(frozen=True, slots=True)
class FromDockerfile(Trainload):
    """Trainload with the Dockerfile; it is told nothing that Docker is not told."""

    name: str = NAME
    recipe: Recipe = _PIP

    @property
    def environ(self) -> Mapping[str, str]:
        return {**os.environ, **self.own}

    def prepare(self, folder: Path) -> None:
        (folder / "trainload.toml").unlink()
        (folder / "Dockerfile").write_text(self.recipe.dockerfile(self.made))

    def digest(self, folder: Path) -> str:
        said = call([TRAINLOAD, "-q", "build", "-f", "Dockerfile", "--json"], folder, self.environ)
        return str(json.loads(said)["digest"])

    def build(self, folder: Path, target: str) -> None:
        call([TRAINLOAD, "-q", "build", "-f", "Dockerfile", "-t", target], folder, self.environ)

    def deliver(self, folder: Path, target: str) -> None:
        call([TRAINLOAD, "-q", "build", "-f", "Dockerfile", "--push", target], folder, self.environ)

    def run(self, folder: Path, target: str) -> float | None:
        argv = [TRAINLOAD, "-q", "run", "-f", "Dockerfile"]
        return process(argv, cwd=folder, environ=self.environ).first_output

    def differs(self, folder: Path) -> bool:
        """The digest that an empty store comes to with the lock is not the one that is here."""
        first = self.digest(folder)
        self.forget()
        return self.digest(folder) != first


def of_rows(large: Part) -> Iterator[Figure]:
    """From the table of the large project, where we took part with the Dockerfile."""
    for scenario, target in _ROWS.items():
        found = large.medians(scenario)
        if NAME not in found:
            continue
        yield Figure(f"Dockerfile, {scenario}: {NAME}", found[NAME], "s")
        for peer, seconds in found.items():
            if peer.startswith(("Docker", "BuildKit")):
                times = seconds / found[NAME]
                yield Figure(f"Dockerfile, {scenario}: faster than {peer}", times, "×", target, at_least=True)
    if OTHER_DIGEST in large.data:
        yield Figure(f"Dockerfile: {OTHER_DIGEST}", float(large.data[OTHER_DIGEST]), "", 0)


Taken = Mapping[str, list[float]]
"""Seconds of one builder, build by build; cold, after an edit, with nothing changed."""


def figures(scratch: Path, cache: Path, until: Deadline, wanted: str = "large") -> Iterator[Figure]:
    """``scratch``: short, sockets of engines lie below it. ``wanted``: the project of the side-by-side tables."""
    shared = scratch / "s"
    shared.mkdir(parents=True)
    with ExitStack() as stack:
        made = stack.enter_context(materials(shared / "m", cache, wanted))
        ours = FromDockerfile(made, shared / "store")
        builders: list[Builder] = [ours]
        if not missing("dockerd", "docker"):
            client = ("docker", "-H", stack.enter_context(docker(shared / "classic")))
            builders.append(Docker(made, ours.recipe, "Docker classic", client, buildkit=False))
        if not no_newer():
            with trouble():  # it has to be downloaded
                newer = stack.enter_context(newer_docker(shared, cache))
                builders.append(Docker(made, ours.recipe, "BuildKit", newer, buildkit=True))
        folders = []
        for number, builder in enumerate(builders):
            folders.append(project(made, made.sort, shared / f"p{number}"))
            builder.prepare(folders[-1])
        taken = _taken(builders, folders, until)
        yield from _beside(builders, taken)
        yield Figure(f"Dockerfile: {OTHER_DIGEST}", float(ours.differs(folders[0])), "", 0)


def _taken(builders: Sequence[Builder], folders: Sequence[Path], until: Deadline) -> Mapping[str, Taken]:
    """What each took; they take turns, with the short ones several times in a round."""
    taken: dict[str, Taken] = {builder.name: {what: [] for what in _WANTED} for builder in builders}
    pairs = list(zip(builders, folders, strict=True))
    for _ in until.rounds(_ROUNDS):
        for builder, folder in pairs:
            builder.forget()
            (folder / "Dockerfile.lock").unlink(missing_ok=True)
            touch_memory()
            taken[builder.name][_COLD].append(_seconds(builder, folder))
        for _ in range(_TURNS):
            for builder, folder in pairs:
                edit(folder)
                taken[builder.name][_EDITED].append(_seconds(builder, folder))
            for builder, folder in pairs:
                taken[builder.name][_AGAIN].append(_seconds(builder, folder))
    return taken


def _seconds(builder: Builder, folder: Path) -> float:
    began = time.perf_counter()
    builder.build(folder, "bench:1")
    return time.perf_counter() - began


def _beside(builders: Sequence[Builder], taken: Mapping[str, Taken]) -> Iterator[Figure]:
    for what, target in _WANTED.items():
        best = {name: min(one[what]) for name, one in taken.items()}
        for name, value in best.items():
            yield Figure(f"Dockerfile, {what}: {name}", value, "s", note=f"best of {len(taken[name][what])}")
        mine = best[builders[0].name]
        for builder in builders[1:]:
            times = best[builder.name] / mine
            yield Figure(f"Dockerfile, {what}: faster than {builder.name}", times, "×", target, at_least=True)

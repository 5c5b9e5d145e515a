"""A team of 20 projects and 1,000 nodes for a year: bytes pushed, stored and pulled, by how layers are cut.

What is assumed, and why it favours nobody more than it must:

* Every Monday each project takes the newest release of all it asks for; each weekday it gets one code edit.
* A wheel weighs in a compressed layer what it weighs by itself, for everybody.
* The base is the same image for all, and is renewed every four weeks. A Dockerfile's later steps run again then.
* A layer that ``pip`` wrote is new bytes each time it is made (dates, bytecode), and each project makes its own;
  it is made again only when a requirement changed, or the base did. Code comes after it, as guides advise.
* By popularity: each of the packages that most projects of the team use has a layer, the rest share one; layers
  are reproducible, so equal ones are shared. That is how Nix and its kin cut images.
* A node runs two projects, pulls the newest image of both each weekday, and keeps all it ever pulled; the registry
  keeps everything. Manifests are left out: some kilobytes for everybody.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import combinations
from typing import Any

from benchmarks.year.history import History
from trainload.lock.model import PythonFile
from trainload.plan.order import LAYERS, group

PROJECTS, NODES, PER_NODE = 20, 1000, 2
BASE, CODE = 40_000_000, 200_000
BASE_WEEKS = 4
POPULAR = 20
"""Layers of an image cut by popularity."""
SEED = 20

_TRAINING = ("torch", "numpy", "transformers", "tokenizers", "safetensors", "huggingface-hub", "tqdm")
_SHARE_WITH_TORCH = 0.75

_HEAVY = re.compile(r"(^| )(torch==|triton|nvidia-|cuda-)")

Blob = tuple[str, int]
"""What its bytes are a function of, and their number."""


@dataclass(frozen=True, slots=True)
class Project:
    number: int
    asks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class State:
    """A project on one day."""

    project: Project
    day: date
    packages: tuple[PythonFile, ...]
    generation: int
    """Counts what made a Dockerfile's dependency step run again."""
    base: int
    popularity: Mapping[str, int]


Cut = Callable[[State], tuple[Blob, ...]]


def pip_layer(state: State) -> tuple[Blob, ...]:
    """Base, one layer with all packages, code."""
    size = sum(package.file.size or 0 for package in state.packages)
    return _around(state, [(f"pip {state.project.number} {state.generation}", size)])


def by_popularity(state: State) -> tuple[Blob, ...]:
    ranked = sorted(state.packages, key=lambda one: (-state.popularity[one.name], one.name))
    alone, rest = ranked[: POPULAR - 1], ranked[POPULAR - 1 :]
    return _around(state, [_blob([one]) for one in alone] + ([_blob(rest)] if rest else []))


def trainload(state: State) -> tuple[Blob, ...]:
    """As :mod:`trainload.plan.order` cuts them."""
    cut = group(state.packages, LAYERS)
    return _around(state, [_blob([one]) for one in cut.own] + [_blob(files) for files in cut.together])


def each_alone(state: State) -> tuple[Blob, ...]:
    """The floor: no wheel travels twice, whatever an image may hold of layers."""
    return _around(state, [_blob([one]) for one in state.packages])


LEAST = "at least: each wheel once"
CUTS: Mapping[str, Cut] = {
    "one pip layer": pip_layer,
    f"{POPULAR} layers by popularity": by_popularity,
    "trainload": trainload,
    LEAST: each_alone,
}


def _blob(files: Sequence[PythonFile]) -> Blob:
    named = sorted(f"{one.name}=={one.version}" for one in files)
    return " ".join(named), sum(one.file.size or 0 for one in files)


def _around(state: State, middle: Sequence[Blob]) -> tuple[Blob, ...]:
    code = (f"code {state.project.number} {state.day}", CODE)
    return ((f"base {state.base}", BASE), *middle, code)


@dataclass(slots=True)
class Outcome:
    """Bytes of one way to cut layers, over the year."""

    pushed: int = 0
    """Into the registry, what was there counted not."""
    pulled: int = 0
    """By all nodes together."""
    first: int = 0
    """Of ``pulled``, on the first day."""
    accelerators: int = 0
    """Of ``pulled``: layers that hold torch, triton or parts of CUDA."""
    weekly: list[int] = field(default_factory=list)
    """What the registry holds at the end of each week."""

    @property
    def stored(self) -> int:
        return self.weekly[-1]


def team(history: History, seed: int = SEED) -> tuple[Project, ...]:
    chance = random.Random(seed)  # noqa: S311 - no secret
    others = [name for name in history.names if name not in _TRAINING]
    found = []
    for number in range(PROJECTS):
        trains = number < PROJECTS * _SHARE_WITH_TORCH
        asks = {*(_TRAINING if trains else ("numpy", "tqdm")), *chance.sample(others, chance.randint(4, 12))}
        if not trains:
            asks -= {"torchvision", "torchaudio", "accelerate", "peft"}  # they bring torch
        found.append(Project(number, tuple(sorted(asks))))
    return tuple(found)


def days(history: History, projects: Sequence[Project]) -> Iterator[tuple[date, tuple[State, ...]]]:
    """Each weekday of the year, and how every project is then."""
    day = history.first
    packages: dict[int, tuple[PythonFile, ...]] = {}
    generations: Counter[int] = Counter()
    week = base = -1
    while day <= history.last:
        if day.weekday() == 0 or not packages:
            week += 1
            renewed, base = week // BASE_WEEKS != base, week // BASE_WEEKS
            for project in projects:
                now = tuple({one for name in project.asks for one in history.newest(name, day)})
                now = tuple(sorted(now, key=lambda one: one.name))
                if renewed or now != packages.get(project.number):
                    generations[project.number] += 1
                packages[project.number] = now
        popularity = Counter(one.name for each in packages.values() for one in each)
        if day.weekday() < 5:
            yield (
                day,
                tuple(
                    State(one, day, packages[one.number], generations[one.number], base, popularity)
                    for one in projects
                ),
            )
        day += timedelta(days=1)


def simulate(history: History, cut: Cut, projects: Sequence[Project]) -> Outcome:
    outcome, registry = Outcome(), set[str]()
    pairs = list(combinations(range(len(projects)), PER_NODE))
    each, more = divmod(NODES, len(pairs))
    nodes = {pair: each + (number < more) for number, pair in enumerate(pairs)}
    has: dict[tuple[int, ...], set[str]] = {pair: set() for pair in nodes}
    stored = 0
    for number, (day, states) in enumerate(days(history, projects)):
        images = [cut(state) for state in states]
        for name, size in (blob for image in images for blob in image):
            if name not in registry:
                registry.add(name)
                stored += size
        for pair, count in nodes.items():
            wanted = dict(blob for one in pair for blob in images[one])
            fresh = {name: size for name, size in wanted.items() if name not in has[pair]}
            missing = sum(fresh.values())
            has[pair].update(wanted)
            outcome.pulled += missing * count
            outcome.accelerators += count * sum(size for name, size in fresh.items() if _HEAVY.search(name))
            outcome.first += missing * count if number == 0 else 0
        if day.weekday() == 4:
            outcome.weekly.append(stored)
    outcome.pushed = stored
    outcome.weekly.append(stored)
    return outcome


def outcomes(history: History, seed: int = SEED) -> dict[str, Outcome]:
    projects = team(history, seed)
    return {name: simulate(history, cut, projects) for name, cut in CUTS.items()}


def report(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Outcomes as JSON has them, as a table."""
    lines = ["| | pushed and stored, GB | pulled by all nodes, TB | of it after the first day, TB |"]
    lines += ["|---|---:|---:|---:|"]
    for name, one in found.items():
        later = (one["pulled"] - one["first"]) / 1e12
        lines.append(f"| {name} | {one['pushed'] / 1e9:,.0f} | {one['pulled'] / 1e12:,.1f} | {later:,.1f} |")
    ours = found["trainload"]
    for name, one in found.items():
        if one is not ours:
            pushed, pulled = one["pushed"] / ours["pushed"], one["pulled"] / ours["pulled"]
            both = (one["pushed"] + one["pulled"]) / (ours["pushed"] + ours["pulled"])
            lines.append(f"\n{name}: {pushed:.2f} × our bytes pushed, {pulled:.2f} × pulled, {both:.2f} × of all")
    return "\n".join(lines)

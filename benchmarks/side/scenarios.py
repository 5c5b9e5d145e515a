"""The scenarios of building: what is timed, what is undone before, and which bytes count."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from benchmarks.budget import Deadline
from benchmarks.measure import touch_memory, trouble
from benchmarks.results import Row
from benchmarks.side.builders import Builder
from benchmarks.side.materials import ADDED, Materials, Sort, edit, project
from benchmarks.side.sample import Sample, measured

ROUNDS = 5
SHORT, OF_SHORT = 3.0, 3
"""Seconds of a round that is short; so many of those there are whatever the time: one alone says little."""


@dataclass(slots=True)
class Work:
    """One tool with its own copy of the project."""

    made: Materials
    sort: Sort
    builder: Builder
    folder: Path
    attempts: int = 0
    rounds: int = 0
    bumps: int = 0
    tag: str = "cold"
    built: list[float] = field(default_factory=list)
    """Seconds of the builds that were pushed then."""
    failed: str = ""
    """Why it takes part in nothing any more."""
    brief: bool = False
    """There is no time for it in the later scenarios."""

    def __post_init__(self) -> None:
        self.fresh()

    def fresh(self) -> None:
        """The project as it was at first."""
        project(self.made, self.sort, self.folder.parent)
        self.builder.prepare(self.folder)

    @property
    def target(self) -> str:
        """Another repository for each attempt from nothing: what an earlier one pushed does not help."""
        return self.named(self.tag)

    def named(self, tag: str) -> str:
        return f"{self.made.host}/{self.folder.parent.name}/{self.sort.name}-{self.attempts}:{tag}"

    def require(self, requirements: str) -> None:
        (self.folder / "requirements.txt").write_text(requirements)

    def build(self) -> None:
        self.builder.build(self.folder, self.target)

    def push(self) -> None:
        self.builder.push(self.folder, self.target)

    def deliver(self) -> None:
        """Build and push the way the tool has for both at once, where it has one."""
        self.builder.deliver(self.folder, self.target)

    def build_and_push(self) -> None:
        began = time.perf_counter()
        self.build()
        self.built.append(time.perf_counter() - began)
        self.push()

    def start_over(self) -> None:
        self.builder.forget()
        self.attempts += 1
        self.fresh()


def _nothing(work: Work) -> None:
    """Each round goes on from the one before; the first one from ``warm``."""


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    before: Callable[[Work], None]
    """Not timed."""
    work: Callable[[Work], float | None]
    useful: Callable[[Builder], bool] = lambda builder: True
    most: Callable[[Sort], int] = lambda sort: ROUNDS
    """Rounds that make sense."""
    share: float = 1.0
    """Of the time for a project, beside that of the other scenarios."""
    late: bool = False
    """Left out by who has little time."""
    once: Callable[[Work], object] = _nothing
    """Not timed, before the first round."""


def _edited(work: Work) -> None:
    edit(work.folder)
    work.tag = "edited"


def _edited_only(work: Work) -> None:
    edit(work.folder)


def _cold(work: Work) -> None:
    work.start_over()
    work.tag = "cold"
    touch_memory(1 << 30)


def _added(work: Work) -> None:
    """One package more than the round before."""
    packages = ADDED[: len(ADDED) if work.rounds >= len(ADDED) else work.rounds + 1]
    work.require(work.sort.requirements + "".join(f"{name}\n" for name in packages))
    work.rounds += 1
    work.tag = "added"


def _bumped(work: Work) -> None:
    """The package in the next version of its row; the ones added before stay."""
    old, new = work.sort.bumps[work.bumps]
    asked = (work.folder / "requirements.txt").read_text()
    work.require(asked.replace(f"{old}\n", f"{new}\n"))
    work.bumps += 1
    work.tag = "bumped"


def _elsewhere(work: Work) -> None:
    """Its state is gone; the registry has the image, and one line of code is another."""
    work.builder.forget()
    edit(work.folder)


def _running(work: Work) -> None:
    """It ran before the first edit too: its image is where it runs."""
    work.tag = "running"
    _run(work)


def _run(work: Work) -> float | None:
    return work.builder.run(work.folder, work.target)


def _runs(builder: Builder) -> bool:
    """buildah makes images; it has no engine to start them with."""
    return not builder.name.startswith("buildah")


def _pushes(builder: Builder) -> bool:
    return builder.pushes


PUSHED = Scenario("cold build, pushed", _cold, Work.build_and_push, share=8)
UNCHANGED = Scenario("nothing changed", _nothing, Work.build)
EDIT_PUSHED = Scenario("one line of code edited, pushed", _edited, Work.deliver, useful=_pushes, share=2)
EDIT_RUNNING = Scenario(
    "one line of code edited, running", _edited_only, _run, useful=_runs, share=2, late=True, once=_running
)
ADDED_PUSHED = Scenario("one small package added, pushed", _added, Work.deliver, useful=_pushes, share=8)
BUMP_PUSHED = Scenario(
    "one large package in another version, pushed", _bumped, Work.deliver, useful=_pushes,
    most=lambda sort: len(sort.bumps), share=8, late=True,
)  # fmt: skip
ELSEWHERE = Scenario(
    "second machine: nothing here, all in the registry, pushed",
    _elsewhere,
    lambda work: work.builder.again_elsewhere(work.folder, work.target),
    useful=_pushes,
    share=3,
    late=True,
)
ALL = (PUSHED, UNCHANGED, EDIT_PUSHED, EDIT_RUNNING, ADDED_PUSHED, BUMP_PUSHED, ELSEWHERE)
COLD = "cold build"


def rows(
    scenario: Scenario, works: Sequence[Work], rounds: int, until: Deadline, tell: Callable[[str], None]
) -> Iterator[Row]:
    """The tools take turns: what disturbs the machine disturbs all.

    Each has one round at least, and three where they are short. Another one is begun where it would be over in
    time, so that those who are quick have more of them. Who fails takes part in nothing that comes after.
    """
    taking = [work for work in works if scenario.useful(work.builder) and not work.failed]
    taking = [work for work in taking if not (scenario.late and work.brief)]
    samples: dict[str, list[Sample]] = {work.builder.name: [] for work in taking}
    longest = dict.fromkeys(samples, 0.0)
    rounds = min(rounds, scenario.most(works[0].sort))
    for work in taking:
        with trouble() as found:
            scenario.once(work)
        work.failed = found.what
    for number in range(rounds):
        for work in taking:
            name = work.builder.name
            short = number < OF_SHORT and longest[name] < SHORT
            if work.failed or (number and not short and not until.fits(longest[name])):
                continue
            began = time.monotonic()
            if one := _tried(scenario, work):
                samples[name].append(one)
            longest[name] = max(longest[name], time.monotonic() - began)
            told = f"{one.seconds:.2f} s" if one else work.failed
            tell(f"{work.sort.name}: {scenario.name}: {name}: {told}")
    for work in taking:
        yield from _rows(scenario, work, tuple(samples[work.builder.name]), rounds)


def _tried(scenario: Scenario, work: Work) -> Sample | None:
    """A measurement; None where the tool failed, which ``work`` remembers."""
    with trouble() as found:
        scenario.before(work)
        one = measured(partial(scenario.work, work), lambda: work.made.way.sent)
    if found.what:
        work.failed = found.what
        return None
    return one


def _rows(scenario: Scenario, work: Work, found: tuple[Sample, ...], rounds: int) -> Iterator[Row]:
    name = work.builder.name
    if scenario is PUSHED:
        times = work.built[: len(found)]
        built = tuple(replace(one, seconds=seconds, sent=None) for one, seconds in zip(found, times, strict=True))
        note = "CPU and memory with the push" if work.builder.pushes else ""
        yield Row(COLD, name, built, rounds, note, work.failed)
        if not work.builder.pushes:
            return
    yield Row(scenario.name, name, found, rounds, failed=work.failed)


def warm(works: Sequence[Work]) -> None:
    """Once, not timed: who shares an engine with another was emptied together with it when that one began anew."""
    for work in works:
        if work.failed:
            continue
        with trouble() as found:
            work.deliver()
        work.failed = found.what


def works(made: Materials, sort: Sort, builders: Sequence[Builder], place: Path) -> list[Work]:
    found = []
    for number, builder in enumerate(builders):
        folder = place / f"tool{number}" / sort.name
        found.append(Work(made, sort, builder, folder))
    return found


def forget_all(works: Sequence[Work]) -> None:
    for work in works:
        with trouble():
            work.builder.forget()
        shutil.rmtree(work.folder.parent, ignore_errors=True)

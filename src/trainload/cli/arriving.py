"""What `trainload load` and `trainload import` have in common: their options, progress, and what they tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from trainload.cli.task import Task
from trainload.cli.world import World
from trainload.errors import Text
from trainload.events import How
from trainload.platform import Platform

if TYPE_CHECKING:
    from trainload.destinations.arrivals import Arriving
    from trainload.destinations.intake import Wanted


def wanted(names: Sequence[str], platform: str | None, max_unpacked: str | None) -> Wanted:
    """The command line as a value. Raises :class:`ImageError`, :class:`ConfigError` for what it cannot mean."""
    from trainload.destinations.intake import Wanted
    from trainload.limits import DEFAULT
    from trainload.reference import Reference
    from trainload.run.words import size_in_bytes

    unpacked = size_in_bytes(max_unpacked, "--max-unpacked") if max_unpacked else DEFAULT.unpacked
    return Wanted(
        tuple(str(Reference.parse(name)) for name in names),
        Platform.parse(platform) if platform else None,
        replace(DEFAULT, unpacked=unpacked),
    )


class Checking:
    """Takes the bytes of layers unpacked so far; a line of progress begins with the first."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.task: Task | None = None

    def __call__(self, done: int) -> None:
        if self.task is None:
            self.task = Task(self._world.reporter, "check", "unpacking layers to check them", How.CHECKED)
            self.task.begin()
        self.task.moved(done)


@contextmanager
def checking(world: World) -> Iterator[Checking]:
    """The listener to hand to ``load`` or ``import_layout``."""
    listener = Checking(world)
    failed = True
    try:
        yield listener
        failed = False
    finally:
        if listener.task is not None:
            listener.task.end(failed=failed)


def tell(world: World, arrived: Sequence[Arriving]) -> None:
    """The images that came, one line each."""
    lines = []
    for one in arrived:
        lines += [f"{name}  {one.descriptor.digest}" for name in one.names or ("<none>",)]
        if not one.names:
            text = Text(
                "{digest} has no name: give it one with trainload tag {short} NAME, or gc removes it",
                digest=one.descriptor.digest, short=one.descriptor.digest.short,
            )  # fmt: skip
            world.warn(text)
    world.result([{"digest": str(one.descriptor.digest), "names": list(one.names)} for one in arrived], lines)

"""``trainload dev``: the project with live code, run again whenever a file of it is saved."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import FrameType
from typing import TYPE_CHECKING

import click

from trainload.cli.options import pass_world
from trainload.cli.run import RunCommand, image_and_arguments
from trainload.cli.runoptions import Given, run_options, run_words
from trainload.cli.wishes import build_options
from trainload.cli.world import World
from trainload.errors import Text, TrainloadError, UsageError
from trainload.system.flag import Flag

if TYPE_CHECKING:
    from trainload.pipeline import Wishes
    from trainload.project.edits import Basis, Edits
    from trainload.system.child import Child

_CLEAR = "\x1b[H\x1b[2J\x1b[3J"  # home, screen, what was scrolled away (xterm)
_NAMED = 3
"""Files that are named when several changed."""
_TRIES = 20
"""Looks, a tick apart, at a project that somebody is writing all the time."""
_WORDS = "trainload.dev.words"


class DevCommand(RunCommand):
    """Keeps the words of ``run``'s options, for the runs it starts."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_WORDS] = run_words(self, ctx, args)
        return super().parse_args(ctx, args)


@click.command(cls=DevCommand, context_settings={"allow_interspersed_args": False, "help_option_names": ["--help"]})
@click.argument("words", metavar="[-- ARGS…]", nargs=-1, type=click.UNPROCESSED)
@click.option("--clear", is_flag=True, help="Clear the terminal before each run.")
@pass_world
@build_options
@run_options
def command(world: World, given: Given, wishes: Wishes, *, words: tuple[str, ...], clear: bool) -> int:
    """Run the project with the code as it is in this folder, and again whenever a file of it is saved.

    Files that stay out of the image (ignore files, outputs/) do not count. The old run gets the stop signal first.
    When the requirements or the configuration change, the image is built anew. Ctrl-C ends it.
    """
    image, arguments = image_and_arguments(words)
    if image is not None:
        raise UsageError(
            Text("{verb} is for the project in this folder", verb="trainload dev"),
            got=image,
            hints=[Text("arguments of its program go behind --: trainload dev -- {word}", word=image)],
        )
    if given.way.detach:
        raise UsageError(Text("{one} and {other} exclude each other", one="trainload dev", other="--detach"))
    options = click.get_current_context().meta[_WORDS]
    clears = clear and world.stderr.isatty()
    with _until_told() as told:
        return _Loop(world, wishes, _Run(tuple(options), arguments), told, clears).go()


@dataclass(slots=True)
class _Told:
    """Signals that ask us to end."""

    stop: Flag = field(default_factory=Flag)
    number: int = 0
    again: bool = False
    """Asked twice: no more patience."""


@contextmanager
def _until_told() -> Iterator[_Told]:
    """Signals end the loop instead of the process, so that the run inside is ended first."""
    told = _Told()

    def take(number: int, frame: FrameType | None) -> None:
        told.again = told.stop.is_set()
        told.number = number
        told.stop.set()

    old = {number: signal.signal(number, take) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield told
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


@dataclass(frozen=True, slots=True)
class _Run:
    """The command line of each run."""

    options: tuple[str, ...]
    arguments: tuple[str, ...]

    def argv(self, world: World, digest: str, *, quiet: bool) -> list[str]:
        quiet_words = ["-q"] if quiet else []
        return [
            sys.executable, "-m", "trainload", "--lang", world.catalogue.language, *quiet_words,
            "run", "--built", digest, *self.options, "--code", "--", *self.arguments,
        ]  # fmt: skip


class _Loop:
    """Runs and waits until it is told to end."""

    def __init__(self, world: World, wishes: Wishes, run: _Run, told: _Told, clears: bool) -> None:  # noqa: FBT001
        self._world, self._wishes, self._run, self._told, self._clears = world, wishes, run, told, clears
        self._child: Child | None = None
        self._started = 0
        self._digest = ""
        self._basis: Basis | None = None
        self._unseen: frozenset[str] = frozenset()
        """What changed before a look that did not succeed."""
        self._tries = 0

    def go(self) -> int:
        from trainload.project.edits import Edits, worth_a_look
        from trainload.system.watch import changes

        changing = changes(self._world.cwd, self._told.stop)
        next(changing, None)  # watched before anything is read: what is saved while we build or start is not lost
        self._build()
        edits = Edits()
        self._start()
        for changed in changing:
            if paths := worth_a_look(changed) | self._unseen:
                self._follow(paths, edits)
            elif self._child is not None and self._child.exit_code is not None:
                self._ended(self._child.exit_code)
            if self._told.stop.is_set():
                break
        return self._end()

    def _follow(self, paths: frozenset[str], edits: Edits) -> None:
        """What changed may count: then the run is ended and started anew."""
        now = self._now(paths)
        if now is None:
            return
        try:
            counting = edits.counting(paths, self._basis, now)
            for path in edits.put_aside:
                text = Text("the program itself seems to write {file}: its changes do not count", file=path)
                self._world.warn(text)
            if not counting:
                return
            self._stop()
            if self._clears:
                self._world.stderr.write(_CLEAR)
            self._world.say(Text("{files} changed: running again", files=_named(counting)))
            if self._basis is not None and now.same_image(self._basis):
                self._basis = now
            else:
                self._world.say(Text("the requirements or the configuration changed: building first"))
                self._build()
            self._start()
        except TrainloadError as error:
            self._explain(error)

    def _now(self, paths: frozenset[str]) -> Basis | None:
        """The project as it is; None: not yet, somebody is writing it, or there is a mistake in it."""
        try:
            now = self._look()
        except TrainloadError as error:
            self._tries += 1
            self._unseen = paths if error.retryable and self._tries < _TRIES else frozenset()
            if not self._unseen:
                self._tries = 0
                self._explain(error)
            return None
        self._unseen, self._tries = frozenset(), 0
        return now

    def _look(self) -> Basis:
        from trainload.project.edits import look
        from trainload.system.git import above

        world = self._world
        return look(world.site.tree, self._wishes.flags, world.environ, above(world.cwd, world.environ))

    def _build(self) -> None:
        """The project's image as it is now."""
        from trainload.cli.project import project_target

        self._basis = None  # if it fails, whatever is saved next is a reason to try again
        before = self._look()
        target, _ = project_target(self._world, self._wishes, runs=not self._run.arguments)
        self._digest = str(target.image.digest)
        # what was saved meanwhile may not be in the image
        self._basis = replace(self._look(), project=before.project, inputs=before.inputs)

    def _start(self) -> None:
        from trainload.system.child import Child

        world = self._world
        argv = self._run.argv(world, self._digest, quiet=self._started > 0)
        env = {**world.environ, "TRAINLOAD_HOME": str(world.home)}
        self._child = Child(argv, env=env, cwd=world.cwd)
        self._started += 1

    def _stop(self) -> None:
        if self._child is not None:
            self._child.stop()
            self._child = None

    def _ended(self, code: int) -> None:
        self._child = None
        if code == 128 + signal.SIGINT:  # Ctrl-C that only the program got
            self._told.number = signal.SIGINT
            self._told.stop.set()
            return
        self._world.say(Text("waiting for a change; Ctrl-C ends"))

    def _explain(self, error: TrainloadError) -> None:
        """A mistake in a file is mended by the next save."""
        from trainload.cli.render import colours, error_lines

        world = self._world
        lines = error_lines(error, world.catalogue, colour=colours(world.stderr, world.environ))
        world.stderr.write("\n".join(lines) + "\n")
        world.say(Text("waiting for a change; Ctrl-C ends"))

    def _end(self) -> int:
        """The run first. The terminal told it already; a signal that was sent to us alone is passed on."""
        child, number = self._child, self._told.number
        if child is not None and child.exit_code is None:
            if number != signal.SIGINT or not os.isatty(0):
                child.tell(number)
            while child.wait(0.1) is None:
                if self._told.again:
                    child.stop(signal.SIGTERM)
        return 0 if number == signal.SIGINT else 128 + number


def _named(paths: Sequence[str]) -> str:
    more = len(paths) - _NAMED
    return ", ".join(paths[:_NAMED]) + (f" (+{more})" if more > 0 else "")

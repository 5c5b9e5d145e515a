"""One understood RUN line of a stage: its steps placed one after the other, each over what the last one left."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from functools import partial
from typing import BinaryIO

from trainload.builder.dockerfile.bench import Bench
from trainload.builder.dockerfile.ground import Ground
from trainload.builder.dockerfile.lockfile import Answers
from trainload.builder.dockerfile.placing.aided import FOLDER
from trainload.builder.dockerfile.placing.place import Placed, place
from trainload.builder.makers import Code, input_files
from trainload.builder.workshop import MadeLayer, Workshop
from trainload.dockerfile.model import Run
from trainload.dockerfile.stages import Stage, Staged
from trainload.dockerfile.steps import InstallDistribution, PlacedStep, UpgradeDistribution
from trainload.dockerfile.understand.line import understand_all
from trainload.dockerfile.understood import Opaque, RunLine, Understanding, Understood
from trainload.errors import FetchError, LockError, Place, PlanError, RunError, Text
from trainload.image.model import Layer
from trainload.layers.model import ByteSink, Written
from trainload.plan.lines import JobMount, LineJob, RunRecipe
from trainload.plan.model import Plan, PlannedLayer, RuntimeConfig
from trainload.plan.placed import SiteRecipe
from trainload.platform import Platform
from trainload.project.model import CodeListing
from trainload.resolve.failures import WrongBytesError
from trainload.system import scratch
from trainload.values import dataclass, replace

_NO_CONFIG = RuntimeConfig("", "", (), (), {}, {})


def understandings(lines: Sequence[RunLine], staged: Staged, stage: Stage) -> tuple[Understanding, ...]:
    """What each RUN of a stage does; the stages that go on from it may need what its lines leave."""
    return understand_all([*lines, *_later(staged, stage)])[: len(lines)]


def _later(staged: Staged, stage: Stage) -> list[RunLine]:
    """RUNs of stages that go on from ``stage``, as they are written: enough to see what they speak of."""
    found = []
    for other in staged.stages:
        if other.parent == stage.number:
            texts = [item.text for item in other.instructions if isinstance(item.what, Run)]
            found += [RunLine(0, text.partition(" ")[2], (), ("/bin/sh", "-c"), {}) for text in texts]
            found += _later(staged, other)
    return found


_UNDERSTOOD = Text("understood: what it leaves is placed")
_SCRIPTS = Text("understood: its packages are locked; apt runs their scripts in the sandbox, without a network")
_BUILT = Text(
    "understood: pip builds the project in the sandbox from locked wheels, offline; what it needs is placed"
)
_SYNCED = Text(
    "understood: the wheels of uv.lock are placed; around them the image's uv runs in the sandbox, offline"
)
_GIVEN = Text("understood: what it fetches is locked by its sha256; the rest of it runs in the sandbox, offline")
_ITS_SUM = Text(
    "the line says which sha256 it has to have: the file is another one by now, or was changed on its way"
)
_EXPECTED = Text("understood: placed, unless what lies below or what an index says makes it one that is run")
_PERHAPS = Text("understood: its packages are locked; scripts of theirs that matter run in the sandbox, offline")


def how_placed(layers: Sequence[MadeLayer]) -> Text:
    """What a line that was placed is, by its layers."""
    run = [one.planned.recipe for one in layers if isinstance(one.planned.recipe, RunRecipe)]
    given = [recipe.argv[-1] for recipe in run if any(mount.target == FOLDER for mount in recipe.mounts)]
    if any(re.search(r"\buv sync ", recipe.argv[-1]) for recipe in run):
        return _SYNCED
    if given:
        return _SCRIPTS if given[0].startswith("apt-get") else _GIVEN if _is_given(given[0]) else _BUILT
    if run:
        argv = run[0].argv
        words = argv[-1].split() if argv[-2:-1] and re.fullmatch("-[a-z]*c", argv[-2]) else argv
        return Text("understood: placed, and {command} runs by itself in the sandbox, offline", command=words[0])
    return _UNDERSTOOD


def _is_given(script: str) -> bool:
    """Whether it begins with a file that the line fetches."""
    return script.startswith(f"cat {FOLDER}/")


def how_expected(understood: Understood) -> Text:
    """The same of one that is not made yet."""
    apt = any(isinstance(step, InstallDistribution | UpgradeDistribution) for step in understood.steps)
    return _PERHAPS if apt else _EXPECTED


@dataclass(frozen=True, slots=True)
class Putting:
    """A line over the layers of its stage."""

    bench: Bench
    shop: Workshop
    line: RunLine
    where: Place
    env: dict[str, str]
    """The image's own, without ARGs."""

    def put(self, made: Sequence[MadeLayer], understood: Understood) -> tuple[MadeLayer, ...] | Opaque:
        """``made`` with the line's layers on top; or why the line is run after all.

        Raises :class:`LockError`, :class:`FetchError`, :class:`LayerError`.
        """
        here, steps, literal = tuple(made), understood.steps, understood.literal
        while True:
            here = self.shop.bring(here)
            found = self._place(steps, literal, here, self.bench)
            if isinstance(found, Opaque):
                return found
            try:
                here = (*here, *self._make_all(found, here))
            except RunError:
                if found.fails is not None:
                    return Opaque(found.fails)
                if understood.stops:
                    raise
                return Opaque(Text("a command that fails, after which the line goes on"))
            if not found.rest:
                return here
            steps, literal = found.rest, ()

    def look(self, made: Sequence[MadeLayer], understood: Understood) -> tuple[MadeLayer, ...] | Opaque | None:
        """As :meth:`put` with what is known; None: something has to be asked or made. Nothing is."""
        known = self.bench.answers
        asked = replace(self.bench, answers=Answers(known.file, dict(known.known), frozen=True))
        here, steps, literal = tuple(made), understood.steps, understood.literal
        while all(one.here for one in here):
            try:
                found = self._place(steps, literal, here, asked)
            except LockError:
                return None
            if isinstance(found, Opaque):
                return found
            layers = [self.shop.known(planned) for planned in found.layers]
            here = (*here, *(layer for layer in layers if layer is not None))
            if None in layers or not found.rest:
                return None if None in layers else here
            steps, literal = found.rest, ()
        return None

    def _place(
        self, steps: Sequence[PlacedStep], literal: Sequence[str], made: Sequence[MadeLayer], bench: Bench
    ) -> Placed | Opaque:
        ground = self._ground([one.layer for one in made])
        return place(steps, literal, self.line, ground, bench, self.where)

    def _make_all(self, found: Placed, made: tuple[MadeLayer, ...]) -> tuple[MadeLayer, ...]:
        """Wheels look at nothing below, so their layers are made at the same time."""
        if all(isinstance(planned.recipe, SiteRecipe) for planned in found.layers):
            whole = Plan("line", self.bench.platform, found.layers, _NO_CONFIG)
            makers = self.shop.makers(whole, Code(CodeListing(()), _no_code))
            writers = {planned: partial(makers.write, planned.recipe, ()) for planned in found.layers}
            together = self.shop.add_all(writers)
            return tuple(together[planned] for planned in found.layers)
        missing = [planned for planned in found.layers if self.shop.known(planned) is None]
        needed = [*found.files] if missing else []
        try:
            self.shop.prefetch([*needed, *(file for planned in missing for file in input_files(planned.recipe))])
        except FetchError as error:
            error.place = error.place or self.where
            for planned in missing if isinstance(error, WrongBytesError) else ():
                if isinstance(planned.recipe, RunRecipe) and _is_given(planned.recipe.argv[-1]):
                    error.hints = (_ITS_SUM,)
            raise
        layers = made
        for planned in found.layers:
            layers = (*layers, self._make(planned, found, layers))
        return layers[len(made) :]

    def _make(self, planned: PlannedLayer, found: Placed, made: tuple[MadeLayer, ...]) -> MadeLayer:
        whole = Plan("line", self.bench.platform, (planned,), _NO_CONFIG)
        makers = self.shop.makers(whole, Code(CodeListing(()), _no_code))
        below = [one.layer for one in made]

        def write(sink: ByteSink) -> Written:
            if isinstance(planned.recipe, RunRecipe):
                return self._run(planned.recipe, found, below, sink)
            return makers.write(planned.recipe, below, sink)

        layer = self.shop.add(planned, made, write)
        if layer is None:
            raise RunError("the layers below a line cannot be had")
        return layer

    def _run(self, recipe: RunRecipe, found: Placed, below: Sequence[Layer], sink: ByteSink) -> Written:
        """A command of the line, over what was placed, with what ``found`` gives it to read."""
        rooms = self.bench.rooms
        if rooms is None or self.bench.platform != Platform.host():
            raise no_sandbox(self.where, self.bench.platform)
        with scratch.folder("packages") as folder, scratch.folder("shown") as bound:
            folder.chmod(0o755)
            bound.chmod(0o711)
            for file in found.files:
                with self.shop.sources.open(file) as source, (folder / file.name).open("wb") as target:
                    shutil.copyfileobj(source, target)
                (folder / file.name).chmod(0o644)  # whatever the umask: another USER may have to read it
            mounts = (JobMount(str(folder), FOLDER, read_only=True),) if found.files else ()
            for number, (path, data) in enumerate(found.shown.items()):
                (bound / str(number)).write_bytes(data)
                (bound / str(number)).chmod(0o644)
                mounts = (*mounts, JobMount(str(bound / str(number)), f"/{path}", read_only=True))
            job = LineJob(recipe, str(self.where), mounts, (), self.bench.seconds)
            return rooms.run(job, self._ground(below), sink)

    def _ground(self, layers: Sequence[Layer]) -> Ground:
        return Ground(self.shop.store, tuple(layers), self.env, self.shop.limits, self.bench.listings)


def no_sandbox(line: Place, platform: Platform) -> PlanError:
    """A line that has to run cannot."""
    return PlanError(
        Text("{line}: RUN needs a sandbox that can run {platform}", line=line, platform=platform),
        hints=[Text("build on a machine that is {platform}", platform=platform)],
    )


def _no_code(path: str) -> BinaryIO:
    raise AssertionError(path)

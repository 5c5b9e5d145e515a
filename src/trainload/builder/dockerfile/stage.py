"""One stage: its steps become layers over what it stands on, each looked up before it is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from trainload.builder.dockerfile.bench import Bench
from trainload.builder.dockerfile.foundation import Foundation, diff_ids, lay
from trainload.builder.dockerfile.ground import Ground
from trainload.builder.dockerfile.origins import Built, Origins
from trainload.builder.dockerfile.recall import Recall
from trainload.builder.dockerfile.rows import How, Row, all_rows
from trainload.builder.dockerfile.takes import Taken, written
from trainload.builder.workshop import MadeLayer, Workshop
from trainload.dockerfile.expand import PROXIES
from trainload.dockerfile.model import Run
from trainload.dockerfile.program import CopyStep, FolderStep, Program, RunStep, evaluate
from trainload.dockerfile.stages import Stage, Staged
from trainload.dockerfile.understood import Opaque, Understanding
from trainload.errors import ConfigError, Place, RunError, Text
from trainload.image.model import Layer
from trainload.layers.model import ByteSink, Written
from trainload.plan.lines import CopyRecipe, CopySource, Folder, LineJob, RunRecipe
from trainload.plan.model import Kind, PlannedLayer, Recipe
from trainload.platform import Platform
from trainload.values import dataclass, field

_TITLE = 200
_FROM_OUTSIDE = (
    "InstallPython", "InstallDistribution", "UpgradeDistribution", "InstallConda", "CreateCondaEnvironment",
)  # fmt: skip
_COPIED = Text("files are placed")
_FOLDER = Text("its folder is placed")
_RUN = Text("run in the sandbox: what it does is not known before")

Write = Callable[[Sequence[Layer], ByteSink], Written]


def build_stage(
    bench: Bench, staged: Staged, stage: Stage, before: Mapping[int, Built], *, dry: bool = False
) -> Built:
    """``before``: the stages it needs; ``dry``: nothing is made, and what was made before is told.

    Raises :class:`TrainloadError` with the line that cannot be done.
    """
    place = Place(staged.file.name, line=stage.line)
    if stage.parent is not None:
        parent = before[stage.parent]
        ground = Foundation(parent.layers, parent.config, parent.shop, parent.base)
    else:
        ground = lay(bench, stage.base, stage.platform, place)
    program = evaluate(staged, stage, ground.config)
    lines = _Lines(bench, program, staged.file.name, before, ground.shop, list(ground.layers), dry=dry)
    lines.understand = partial(_understood, staged, stage, program)
    lines.elsewhere = [
        item.text for other in staged.stages if other is not stage for item in other.instructions
        if isinstance(item.what, Run)
    ]  # fmt: skip
    if stage.parent is not None:
        lines.whole = before[stage.parent].whole
    lines.run()
    return Built(
        stage, tuple(lines.made), program.config, ground.shop, ground.base, program.warnings,
        tuple(all_rows(stage, lines.rows, ground)), lines.whole,
    )  # fmt: skip


def _understood(staged: Staged, stage: Stage, program: Program) -> Mapping[int, Understanding]:
    """What the RUNs of a stage do, by their numbers among its steps."""
    runs = {number: step.run for number, step in enumerate(program.steps) if isinstance(step, RunStep)}
    if not runs:
        return {}
    from trainload.builder.dockerfile.placing.putting import understandings

    return dict(zip(runs, understandings(list(runs.values()), staged, stage), strict=True))


@dataclass(slots=True)
class _Lines:
    bench: Bench
    program: Program
    file: str
    before: Mapping[int, Built]
    shop: Workshop
    made: list[MadeLayer]
    folders: list[FolderStep] = field(default_factory=list)
    """WORKDIRs whose folders go into the next layer."""
    dry: bool = False
    whole: bool = True
    """Nothing is missing yet."""
    rows: list[Row] = field(default_factory=list)
    understand: Callable[[], Mapping[int, Understanding]] = dict
    """What the RUNs do, by their numbers among the steps: found out when a line is not known from before."""
    understood: Mapping[int, Understanding] | None = None
    checked: bool = False
    """What fetches has a network."""
    elsewhere: Sequence[str] = ()
    """RUNs of other stages, as they are written."""

    def run(self) -> None:
        for number, step in enumerate(self.program.steps):
            match step:
                case FolderStep():
                    if step.path != "/":
                        self.folders.append(step)
                case CopyStep():
                    self._copy(step)
                case RunStep():
                    self._line(number, step)
        self._make_folders()

    def _line(self, number: int, step: RunStep) -> None:
        """A RUN: as it was left before, placed, or run."""
        if not self.bench.wanted.place or (self.dry and not self.whole):
            self._place_or_run(number, step)
            return
        recall = Recall(self.bench, self.shop, self.program.config.env)
        folders = tuple(Folder(one.path, one.user) for one in self.folders)
        later = [one.run for one in self.program.steps[number + 1 :] if isinstance(one, RunStep)]
        key = recall.key(step.run, diff_ids(self.made), folders, [*later, *self.elsewhere], self._shown(step))
        if self.dry:
            reason = recall.reason(key.plan)
            if reason is not None:
                self._run(step, self._told(reason, step))
            else:
                self._place_or_run(number, step)
            return
        known = recall.find(key.build)
        if isinstance(known, Opaque):
            self._run(step, known.reason)
        elif known is not None:
            self._make_folders()
            self.made += known
        else:
            asked = len(self.bench.answers.asked)
            why, layers = self._place_or_run(number, step, partial(recall.note, key.plan, (), ()))
            recall.note(key.build, layers, self.bench.answers.asked[asked:], why)

    def _shown(self, step: RunStep) -> Sequence[str]:
        """Digests of what the bind mounts of a line show, if it may be placed with them."""
        bound = [mount for mount in step.run.mounts if mount.kind == "bind"]
        if not bound or any(mount.from_ is not None for mount in bound):
            return ()
        from trainload.builder.dockerfile.showing import keys

        place = Place(self.file, line=step.line)
        return [mount.content for mount in keys(step.run, partial(self._origins.of_mount, place=place), place)]

    def _place_or_run(
        self, number: int, step: RunStep, decided: Callable[[Text | None], None] | None = None
    ) -> tuple[Text | None, Sequence[MadeLayer]]:
        """Why it was run; or the layers it was placed as. ``decided`` hears it before anything is run."""
        self._check_networks(number)
        found = self._put(step, self._understood(number))
        why = found if isinstance(found, Text) else None
        if decided is not None:
            decided(why)
        if isinstance(found, Text):
            self._run(step, self._told(found, step))
            return found, ()
        return None, found

    def _told(self, why: Text, step: RunStep) -> Text:
        if not self.dry:
            return why
        from trainload.builder.dockerfile.reaching import told

        return told(why, step, self.bench.wanted)

    def _check_networks(self, start: int) -> None:
        """Before the first line that something is done for: all that are run and need a network."""
        if self.dry or self.checked:
            return
        from trainload.builder.dockerfile.reaching import check_networks

        self.checked = True
        runs = [(step, at) for at, step in enumerate(self.program.steps) if isinstance(step, RunStep)]
        check_networks(
            [(step, self._understood(at)) for step, at in runs if at >= start], self.bench.wanted, self.file
        )

    def _understood(self, number: int) -> Understanding:
        if self.understood is None:
            self.understood = self.understand()
        return self.understood[number]

    def _make_folders(self) -> None:
        """WORKDIRs that no line has taken into its own layer."""
        if not self.folders:
            return
        last = self.folders[-1]
        recipe = CopyRecipe(diff_ids(self.made), self._take_folders(), (), "/", "", "")
        place = Place(self.file, line=last.line)
        self._add(
            _Line(Kind.COPIED, f"WORKDIR {last.path}", last.line, _FOLDER, quick=True),
            recipe,
            lambda below, sink: self._written(recipe, (), place, below, sink),
        )

    def _put(self, step: RunStep, understood: Understanding) -> Text | Sequence[MadeLayer]:
        """Place what the line leaves: its layers; or why it has to be run."""
        if isinstance(understood, Opaque) or not self.bench.wanted.place:
            return understood.reason if isinstance(understood, Opaque) else _RUN
        from trainload.builder.dockerfile.placing.putting import Putting, how_expected, how_placed

        self._make_folders()
        place = Place(self.file, line=step.line)
        putting = Putting(self.bench, self.shop, step.run, place, dict(self.program.config.env))
        if self.dry:
            known = putting.look(self.made, understood) if self.whole else None
            if isinstance(known, Opaque):
                return known.reason
            self.whole = known is not None
            why = how_placed(known[len(self.made) :]) if known is not None else how_expected(understood)
            self.made = list(known) if known is not None else self.made
            later = not self.whole and any(type(one).__name__ in _FROM_OUTSIDE for one in understood.steps)
            self.rows.append(Row(step.line, step.text, How.PLACED, why, self.whole, later))
            return ()
        found = putting.put(self.made, understood)
        if isinstance(found, Opaque):
            return found.reason
        below, self.made = len(self.made), list(found)
        return self.made[below:]

    def _copy(self, step: CopyStep) -> None:
        place = Place(self.file, line=step.line)
        taken = self._taken(step, place)
        recipe = CopyRecipe(
            below=() if step.link else diff_ids(self.made),
            folders=() if step.link else self._take_folders(),
            sources=tuple(CopySource(one.name, one.content) for one in taken),
            target=step.target,
            owner=step.chown,
            mode=step.chmod,
        )
        self._add(
            _Line(Kind.COPIED, step.text, step.line, quick=not step.add and _is_of_context(step)),
            recipe,
            lambda below, sink: self._written(recipe, taken, place, () if step.link else below, sink),
        )

    def _taken(self, step: CopyStep, place: Place) -> tuple[Taken, ...]:
        found = [written(name, text) for name, text in step.contents]
        given = step.sources
        names = self.bench.context.wanted(given, deep=step.parents) if _is_of_context(step) else given
        if step.add:
            from trainload.builder.dockerfile.adding import added

            return (*found, *(one for name in names for one in added(self.bench, step, name, place)))
        source = self._origins.named(step.image if step.stage is None else str(step.stage), place)
        taken = [(one, name) for name in names for one in source.take(name, step.exclude, place, deep=step.parents)]
        if step.parents:
            from trainload.builder.dockerfile.parents import with_parents

            return (*found, *(with_parents(one, name, place) for one, name in taken))
        return (*found, *(one for one, _ in taken))

    def _written(
        self, recipe: CopyRecipe, taken: Sequence[Taken], place: Place, below: Sequence[Layer], sink: ByteSink
    ) -> Written:
        from trainload.builder.dockerfile.copying import write_copied

        return write_copied(recipe, taken, self._ground(below), place, sink)

    def _run(self, step: RunStep, why: Text) -> None:
        from trainload.builder.dockerfile.showing import keys, not_given, shown

        line, place = step.run, Place(self.file, line=step.line)
        network = self._network(line.network, place)
        sources = partial(self._origins.of_mount, place=place)
        recipe = RunRecipe(
            below=diff_ids(self.made),
            folders=self._take_folders(),
            argv=line.argv,
            env=tuple(sorted((name, value) for name, value in line.env.items() if not self._is_proxy(name))),
            user=line.user,
            workdir=line.workdir,
            mounts=keys(line, sources, place),
            network=network,
        )

        def write(below: Sequence[Layer], sink: ByteSink) -> Written:
            from trainload.builder.dockerfile.reaching import check_networks

            check_networks([(step, Opaque(why))], self.bench.wanted, self.file)
            rooms = self.bench.rooms
            if rooms is None or self.program.stage.platform != Platform.host():
                from trainload.builder.dockerfile.placing.putting import no_sandbox

                raise no_sandbox(place, self.program.stage.platform)
            with shown(self.bench, line, sources, place) as seen:
                proxies = tuple((name, value) for name, value in line.env.items() if self._is_proxy(name))
                env, undecided = (*proxies, *seen.env), self._undecided(line.network)
                job = LineJob(recipe, str(place), seen.mounts, env, self.bench.seconds, why, undecided)
                try:
                    return rooms.run(job, self._ground(below), sink)
                except RunError as error:
                    error.hints = (*error.hints, *not_given(line, self.bench.wanted))
                    raise

        self._add(_Line(Kind.RUN, step.text, step.line, why), recipe, write)

    def _is_proxy(self, name: str) -> bool:
        return name in PROXIES and name not in self.program.config.env

    def _network(self, asked: str | None, place: Place) -> bool:
        if asked in ("host", "default") and not self.bench.wanted.network:
            raise ConfigError(
                Text("this RUN asks for the network, which is given only where the command line says so"),
                place=place, got=f"--network={asked}", hints=[Text("trainload build --network default")],
            )  # fmt: skip
        return self.bench.wanted.network and asked != "none"

    def _undecided(self, asked: str | None) -> bool:
        """Nobody has said whether RUN has a network: neither the line nor the command line."""
        return self.bench.wanted.network_asked is None and asked != "none"

    @property
    def _origins(self) -> Origins:
        return Origins(self.bench, self.before, self.program.stage.platform)

    def _take_folders(self) -> tuple[Folder, ...]:
        taken, self.folders = self.folders, []
        return tuple(Folder(step.path, step.user) for step in taken)

    def _ground(self, below: Sequence[Layer]) -> Ground:
        env = self.program.config.env
        return Ground(self.shop.store, tuple(below), env, self.shop.limits, self.bench.listings)

    def _add(self, line: _Line, recipe: Recipe, write: Write) -> None:
        """One more layer, found or made over those that are there."""
        words = " ".join(line.text.split())
        title = words if len(words) <= _TITLE else words[: _TITLE - 1] + "…"
        planned = PlannedLayer(line.kind, title, recipe, None, line.why)
        if self.dry:
            self._look(line, planned)
            return

        def made() -> MadeLayer | None:
            below = [one.layer for one in self.made]
            return self.shop.add(planned, self.made, lambda sink: write(below, sink), quick=line.quick)

        layer = made()
        if layer is None:
            self.made = list(self.shop.bring(self.made))
            layer = made()
        if layer is None:
            raise RunError("the layers below a line cannot be had")
        self.made.append(layer)

    def _look(self, line: _Line, planned: PlannedLayer) -> None:
        known = self.shop.known(planned) if self.whole else None
        self.whole = known is not None
        if known is not None:
            self.made.append(known)
        how = How.RUN if line.kind is Kind.RUN else How.PLACED
        self.rows.append(Row(line.line, line.text, how, line.why, known is not None))


@dataclass(frozen=True, slots=True)
class _Line:
    """What a layer is made for."""

    kind: Kind
    text: str
    line: int
    why: Text = _COPIED
    quick: bool = False
    """As :meth:`Workshop.add` has it."""


def _is_of_context(step: CopyStep) -> bool:
    return step.stage is None and step.image is None

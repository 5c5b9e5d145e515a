"""What ``capture``, ``commit`` and the end of a shell share: the container that is meant, and it in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from trainload.cli.world import World
from trainload.errors import StoreError, Text, TrainloadError, UsageError

if TYPE_CHECKING:
    from trainload.capture.model import Recognised
    from trainload.run.changed import Container
    from trainload.store.runs import Run


def container(world: World, word: str | None, engine: str | None) -> Container:
    """The run, or container of an engine, called ``word``; without it the latest of this folder that was kept.

    Raises :class:`TrainloadError` when there is none.
    """
    if word is None:
        kept = kept_runs(world)
        mine = [run for run in kept if run.folder == str(world.cwd)]
        if not mine:
            raise StoreError(
                "nothing is kept of a shell of this folder",
                hints=(
                    "open one with trainload shell, change what you need, and leave it",
                    "trainload capture --list shows those of other folders",
                ),
            )
        return of_run(world, mine[0])
    run = _recorded(world, word)
    if run is not None and engine in (None, run.engine):
        return of_run(world, run)
    from trainload.run.engines.byprogram import PROGRAMS, find

    if engine is not None and engine not in PROGRAMS:
        raise UsageError(Text("there is no run {id} in {engine}", id=word, engine=engine))
    return find(word, (engine,) if engine else PROGRAMS, world.environ)


def _recorded(world: World, word: str) -> Run | None:
    from trainload.store.runs import RunRecords

    try:
        return RunRecords(world.home).find(word)
    except StoreError:
        return None


def of_run(world: World, run: Run) -> Container:
    """A run that is there. Raises :class:`RunError` when it is not."""
    if run.engine != "embedded":
        from trainload.run.engines.byprogram import find

        return find(run.called or f"trainload-{run.id}", (run.engine,), world.environ)
    from trainload.cli.engines import site
    from trainload.project.detect import limits_given
    from trainload.run.engines.embedded.altered import altered

    mounts = run.request.get("mounts")
    targets = [str(mount[1]) for mount in mounts if isinstance(mount, list)] if isinstance(mounts, list) else []
    asked = run.request.get("workdir")
    workdir = str(asked) if asked else world.store.image(run.image).config.runtime.workdir or "/"
    here = site(world, limits_given({}, world.environ).limits())
    return altered(here, run.id, workdir, targets)


def kept_runs(world: World) -> list[Run]:
    """Runs of which something was kept, the latest first; engines of daemons are asked for those that ended."""
    from trainload.cli.engines import engine_of
    from trainload.run.engines.embedded.keeping import in_front
    from trainload.run.engines.embedded.site import containers
    from trainload.store.runs import RunRecords

    runs = RunRecords(world.home).all()
    there = {kept.id for kept in in_front(containers(world.home))}
    for run in {run.engine: run for run in runs if run.engine != "embedded"}.values():
        try:
            there |= {state.id for state in engine_of(world, run).states() if not state.lives}
        except TrainloadError as error:
            world.warn(error.text)
    return [run for run in runs if run.id in there]


def tell_kept(world: World, run_id: str) -> None:
    """At the end of a shell: what was changed in it, and what can be done with that. Noise alone is not kept."""
    from trainload.capture.recognise import look
    from trainload.cli.engines import engine_of
    from trainload.store.runs import RunRecords

    run = RunRecords(world.home).find(run_id)
    engine = engine_of(world, run)
    if engine.state(run_id) is None:
        return
    try:
        found = look(of_run(world, run))
    except TrainloadError as error:
        world.warn(
            Text("what was changed is kept as {id}, but cannot be read: {reason}", id=run_id, reason=error.text)
        )
        return
    if found.empty:
        engine.remove(run_id)
        return
    what = ", ".join(world.translate(text) for text in summary(found))
    world.say(Text("changed: {what}; trainload capture takes it into the project, trainload rm {id} forgets it",
                   what=what, id=run_id))  # fmt: skip


def summary(found: Recognised) -> Iterator[Text]:
    """``2 Python packages``, ``3 files``."""
    counted = (
        Text("{count} Python packages", count=len(found.python)),
        Text("{count} distribution packages", count=len(found.system)),
        Text("{count} conda packages", count=len(found.conda)),
        Text("{count} files of the project", count=len(found.code)),
        Text("{count} other files", count=len(found.elsewhere)),
    )
    yield from (text for text in counted if text.values["count"])

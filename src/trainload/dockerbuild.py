"""The sentence for a project whose Dockerfile says all: project → lock → stages → layers → image."""

from __future__ import annotations

from functools import partial

from trainload import pipeline
from trainload.builder.dockerfile.bench import Bench, Wanted
from trainload.builder.dockerfile.build import (
    Finished,
    build_file,
    general_warnings,
    lock_name,
    look_at,
    stages_of,
)
from trainload.builder.dockerfile.ground import Listings, keep_listing
from trainload.builder.dockerfile.lockfile import Answers
from trainload.builder.dockerfile.origins import Built as Stage
from trainload.builder.dockerfile.rows import How
from trainload.builder.dockerfile.takes import Context
from trainload.builder.dockerfile.weights import Loaded, environment, load, lock_of, twice
from trainload.builder.dockerfile.weights import planned as planned_weights
from trainload.builder.outcome import look_into, with_pickles
from trainload.builder.places import Ground, shelf
from trainload.dockerfile.stages import Staged
from trainload.errors import Text, UsageError
from trainload.events import Level, Said
from trainload.image.assemble import assemble, created_in, make_bundle
from trainload.lock.model import ImageBase, Lock
from trainload.pipeline import Built, Locked, Planned, Site, Wishes
from trainload.plan.model import Plan, RuntimeConfig
from trainload.platform import Platform
from trainload.project.model import CodeListing, DockerfileInput, Project
from trainload.project.weights import Pickles
from trainload.values import dataclass, replace

_OTHERS = ("base", "python", "profile", "accelerator", "system")
"""Settings that a Dockerfile decides."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A Dockerfile, read, and everything that building it takes."""

    project: Project
    bench: Bench
    staged: Staged


def ready(site: Site, wishes: Wishes, project: Project) -> Ready:
    """Read the file; nothing is made or asked yet. Raises :class:`ConfigError` with lines."""
    dependencies = project.settings.dependencies.value
    assert isinstance(dependencies, DockerfileInput)
    _check(wishes, dependencies.path)
    wanted = replace(wishes.dockerfile or Wanted(), file=dependencies.path)
    platform = wishes.platform or Platform.host()
    staged = stages_of(site.tree, wanted, platform)
    lock = lock_name(wanted.file)
    empty = _plan(project, platform, RuntimeConfig("", "", (), (), {}, {}))
    planned = Planned(_nothing_locked(project, platform), empty, CodeListing(()))
    shop = pipeline.with_registries(site, wishes, planned, pipeline.workshop(site, project, wishes))
    listings: Listings = {}
    lies = None if site.rooms is None else site.rooms.lies
    upgrade = wishes.upgrade is not None
    bench = Bench(
        shop=replace(shop, noting=partial(keep_listing, site.store, listings, lies)),
        wanted=wanted,
        context=Context(site.tree, wanted.file, own=(lock,)),
        answers=Answers.read(site.tree, lock, frozen=wishes.frozen, anew=upgrade),
        bases=pipeline.bases(site, wishes),
        rooms=site.rooms,
        platform=platform,
        caches=site.store.home / "cache" / "mounts",
        root=site.root,
        environ=site.environ,
        services=partial(pipeline.services, site, project, wishes),
        settings=project.settings,
        seconds=float(project.settings.build.value.timeout),
        listings=listings,
    )
    return Ready(project, bench, staged)


def _check(wishes: Wishes, file: str) -> None:
    """Nothing that is asked for is left out in silence. Raises :class:`UsageError`."""
    odd = [key for key in _OTHERS if key in wishes.flags]
    if odd:
        raise UsageError(
            Text("--{option} is for projects without a Dockerfile: here {file} says it", option=odd[0], file=file)
        )
    if wishes.beside is not None:
        raise UsageError(
            Text("tools are put beside a project's own packages, and here {file} says all", file=file),
            hints=[Text("install them in a stage of their own, and name it: --target dev")],
        )


def build(site: Site, wishes: Wishes, project: Project) -> Built:
    """As :func:`trainload.pipeline.build`. Raises :class:`TrainloadError` that names the line."""
    created = created_in(site.environ)
    with site.store.writing():
        file = ready(site, wishes, project)
        try:
            locked = _locked(site, wishes, file)
            look_into(locked, site.store, file.bench.shop.sources, Pickles.REFUSE)
            loaded = Loaded(build_file(file.bench, file.staged, project.settings.name.value))
            if locked.lock.weights:
                loaded = _with_weights(site, file, locked, loaded.finished)
        except BaseException:
            keep_answers(site, file, whole=False)  # the next try is of the same bytes
            raise
        keep_answers(site, file)
        return _named(site, wishes, locked, loaded, created)


@dataclass(frozen=True, slots=True)
class Looked:
    """What building a Dockerfile would come to."""

    stages: tuple[Stage, ...]
    weights: Plan | None
    """Layers and mounts of weights, which come on top."""


def look(site: Site, wishes: Wishes, project: Project) -> Looked:
    """What becomes of each line; nothing is made. Raises :class:`TrainloadError` that names the line."""
    with site.store.writing():
        file = ready(site, wishes, project)
        stages = look_at(file.bench, file.staged)
        locked = _locked(site, wishes, file)
        keep_answers(site, file, whole=False)  # lines are not asked for here, and their answers stay
        warnings = general_warnings(file.staged)
        weights = None
        if locked.lock.weights:
            environment(project, stages[-1].config.env)
            weights = planned_weights(project, locked.lock, _plan(project, file.bench.platform, stages[-1].config))
            warnings = (*warnings, *with_pickles(weights, locked.lock, site.store).warnings)
        for warning in warnings:
            site.reporter.report(Said(warning, Level.WARNING))
    return Looked(stages, weights)


def lock(site: Site, wishes: Wishes, project: Project) -> tuple[str, bool]:
    """Ask for everything from outside that the file names; the lock's name, and whether it changed."""
    with site.store.writing():
        file = ready(site, wishes, project)
        stages = look_at(file.bench, file.staged)
        _locked(site, wishes, file)
        changed = keep_answers(site, file, whole=False)
        later = [str(row.line) for stage in stages for row in stage.rows if row.how is How.PLACED and row.later]
        if later:
            text = Text("what these lines take is locked by the first build: {lines}", lines=", ".join(later))
            site.reporter.report(Said(text))
        return file.bench.answers.file, changed


def keep_answers(site: Site, file: Ready, *, whole: bool = True) -> bool:
    """Write what was asked for the first time into the lock."""
    answers = file.bench.answers
    changed = answers.write(site.root, whole=whole and file.bench.wanted.target is None)
    if changed:
        site.reporter.report(Said(Text("{file} holds what the Dockerfile takes from outside", file=answers.file)))
    return changed


def _with_weights(site: Site, file: Ready, locked: Locked, finished: Finished) -> Loaded:
    shop = file.bench.shop
    loaded = load(shop, locked.project, locked.lock, finished, site.tree)
    look_into(locked, site.store, shop.sources, Pickles.WARN)
    plan = loaded.finished.plan
    more = twice(locked.project, site.tree, file.bench.context.taken)
    plan = with_pickles(replace(plan, warnings=(*plan.warnings, *more)), locked.lock, site.store)
    return replace(loaded, finished=replace(loaded.finished, plan=plan))


def _named(site: Site, wishes: Wishes, locked: Locked, loaded: Loaded, created: str | None) -> Built:
    finished, plan = loaded.finished, loaded.finished.plan
    artifacts = [one.image for one in loaded.mounted]
    image = assemble(plan, [made.layer for made in finished.layers], created, artifacts)
    bundle = make_bundle(image, artifacts) if artifacts else None
    names = tuple(wishes.references) or (plan.name,)
    planned = Planned(locked, plan, CodeListing(()))
    return Built(planned, image, finished.layers, names, loaded.mounted, bundle).keep(site.store)


def _locked(site: Site, wishes: Wishes, file: Ready) -> Locked:
    """The lock of a Dockerfile is its own; of the project's there are its weights."""
    project, bench = file.project, file.bench
    if not project.settings.weights.value:
        return _nothing_locked(project, bench.platform)
    ground = Ground(site.tree, site.root, site.environ, site.store, site.reporter)
    http = replace(site.http, offline=wishes.offline)
    lock = lock_of(project, bench, shelf(project.settings, ground, http))
    return Locked(project, lock, None, is_new=False)


def _nothing_locked(project: Project, platform: Platform) -> Locked:
    return Locked(project, Lock("", "", (), ImageBase("", "", {}), (platform,)), None, is_new=False)


def _plan(project: Project, platform: Platform, config: RuntimeConfig) -> Plan:
    return Plan(project.settings.name.value, platform, (), config)

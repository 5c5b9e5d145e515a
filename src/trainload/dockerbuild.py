"""The sentence for a project whose Dockerfile says all: project → lock → stages → layers → image."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
from trainload.builder.dockerfile.lockfile import Answers
from trainload.builder.dockerfile.stage import Built as Stage
from trainload.builder.dockerfile.takes import Context
from trainload.dockerfile.stages import Staged
from trainload.errors import ConfigError, Place, Text, UsageError
from trainload.events import Level, Said
from trainload.image.assemble import assemble, created_in
from trainload.lock.model import ImageBase, Lock
from trainload.pipeline import Built, Locked, Planned, Site, Wishes
from trainload.plan.model import Plan, RuntimeConfig
from trainload.platform import Platform
from trainload.project.model import CodeListing, DockerfileInput, Project

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
    if project.settings.weights.value:
        raise ConfigError(
            Text("weights are for projects without a Dockerfile: here {file} says all", file=dependencies.path),
            place=Place("tool.trainload.weights"),
            hints=[Text("download them in the Dockerfile, or mount them when it runs")],
        )
    wanted = replace(wishes.dockerfile or Wanted(), file=dependencies.path)
    platform = wishes.platform or Platform.host()
    staged = stages_of(site.tree, wanted, platform)
    lock = lock_name(wanted.file)
    empty = Plan(project.settings.name.value, platform, (), RuntimeConfig("", "", (), (), {}, {}))
    planned = Planned(_locked(project, platform), empty, CodeListing(()))
    shop = pipeline.with_registries(site, wishes, planned, pipeline.workshop(site, project, wishes))
    upgrade = wishes.upgrade is not None
    bench = Bench(
        shop=shop,
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
            finished = build_file(file.bench, file.staged, project.settings.name.value)
        except BaseException:
            keep_answers(site, file, whole=False)  # the next try is of the same bytes
            raise
        keep_answers(site, file)
        return _named(site, wishes, file, finished, created)


def look(site: Site, wishes: Wishes, project: Project) -> tuple[Stage, ...]:
    """What becomes of each line; nothing is made. Raises :class:`TrainloadError` that names the line."""
    with site.store.writing():
        file = ready(site, wishes, project)
        stages = look_at(file.bench, file.staged)
        keep_answers(site, file)
        for warning in general_warnings(file.staged):
            site.reporter.report(Said(warning, Level.WARNING))
    return stages


def lock(site: Site, wishes: Wishes, project: Project) -> tuple[str, bool]:
    """Ask for everything from outside that the file names; the lock's name, and whether it changed."""
    with site.store.writing():
        file = ready(site, wishes, project)
        look_at(file.bench, file.staged)
        return file.bench.answers.file, keep_answers(site, file)


def keep_answers(site: Site, file: Ready, *, whole: bool = True) -> bool:
    """Write what was asked for the first time into the lock."""
    answers = file.bench.answers
    changed = answers.write(site.root, whole=whole and file.bench.wanted.target is None)
    if changed:
        site.reporter.report(Said(Text("{file} holds what the Dockerfile takes from outside", file=answers.file)))
    return changed


def _named(site: Site, wishes: Wishes, file: Ready, finished: Finished, created: str | None) -> Built:
    plan = finished.plan
    image = assemble(plan, [made.layer for made in finished.layers], created)
    planned = Planned(_locked(file.project, plan.platform), plan, CodeListing(()))
    built = Built(planned, image, finished.layers, tuple(wishes.references) or (plan.name,))
    if built.elsewhere:
        site.store.put(image.config_bytes)
        site.store.put(image.manifest_bytes)
        return replace(built, references=())
    site.store.commit_image(image, built.references)
    return built


def _locked(project: Project, platform: Platform) -> Locked:
    """The lock of a Dockerfile is its own; of the project's there is nothing to say."""
    lock = Lock("", "", (), ImageBase("", "", {}), (platform,))
    return Locked(project, lock, None, is_new=False)

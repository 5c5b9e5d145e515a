"""The sentence: project → lock → plan → layers → image. The only module that puts the stages together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from trainload.builder.caching import Caching, Sharing, reading, with_shared, writing
from trainload.builder.makers import Code, Sandbox
from trainload.builder.mounts import make_mount
from trainload.builder.outcome import Built, Locked, Planned, look_into, with_pickles
from trainload.builder.places import Ground, local_digests, local_files, places, repositories, shelf
from trainload.builder.sources import Ask, Builder, Desk, with_built
from trainload.builder.supplies import LateFetcher
from trainload.builder.workshop import BaseLayers, Workshop
from trainload.errors import LockError, Place, Text, UsageError
from trainload.events import Reporter, Said
from trainload.image.assemble import assemble, created_in, make_bundle
from trainload.image.model import Image
from trainload.layers.code import code_content
from trainload.lock.model import ImageBase, Lock, ReleaseFile
from trainload.lock.select import select
from trainload.lock.toml import dumps, loads
from trainload.plan.build import CodeFacts, make_plan
from trainload.plan.model import BaseDocument, Kind, Plan
from trainload.plan.tools import with_tools
from trainload.platform import Platform
from trainload.project.detect import read_project
from trainload.project.inputs import inputs_digest
from trainload.project.listing import list_code
from trainload.project.model import BuildFrom, DockerfileInput, Project, lock_file
from trainload.project.weights import Pickles
from trainload.reference import Reference
from trainload.store.store import Store
from trainload.system.files import replace
from trainload.system.git import above
from trainload.system.tree import DiskTree
from trainload.values import dataclass, field
from trainload.values import replace as changed

if TYPE_CHECKING:
    from trainload.builder.bases import Bases
    from trainload.builder.beside import Aside, Beside
    from trainload.builder.dockerfile.bench import Rooms, Wanted
    from trainload.builder.rebuild import Remade
    from trainload.destinations.share import Written
    from trainload.project.matrix import Cell
    from trainload.registry.client import Client
    from trainload.resolve.conda.request import Conda
    from trainload.resolve.fetch import Fetcher
    from trainload.resolve.indexes import Services as Distribution
    from trainload.resolve.services import Services
    from trainload.resolve.upgrade import Upgrade
    from trainload.system.http import Http


__all__ = ["Built", "Locked", "Planned", "Site", "Wishes", "build", "lock", "plan", "rebuild", "share"]
_MAY_SAY_SO = ("Dockerfile", "Containerfile", "pyproject.toml", "trainload.toml")


@dataclass(frozen=True)
class Site:
    """Where a build happens: a folder, the store, and what reaches the world."""

    root: Path
    """The project's folder, absolute."""
    store: Store
    http: Http
    reporter: Reporter
    environ: Mapping[str, str]
    now: datetime
    """UTC."""
    cpus: int
    sandbox: Sandbox | None = None
    rooms: Rooms | None = None
    """Where RUN lines of Dockerfiles run."""
    ask: Ask | None = None
    """Asks build backends of sdists."""
    registry: Callable[[], Client] | None = None
    """A registry client, made when it is first needed; None: none can be reached, so base images cannot be used."""

    @cached_property
    def tree(self) -> DiskTree:
        return DiskTree(self.root)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line says about a build."""

    flags: Mapping[str, object] = field(default_factory=dict)
    """Key path of the configuration → value."""
    frozen: bool = False
    """Refuse to lock."""
    allow_stale: bool = False
    """Accept a distribution's index that is past its date (THREATS D12)."""
    unhashed: bool = False
    """Lock files on trust that nobody tells a sha256 of (THREATS F01)."""
    upgrade: Upgrade | None = None
    platform: Platform | None = None
    """None: the first of the project's."""
    here: bool = False
    """The image is to run on this machine: its platform is taken where none is named."""
    offline: bool = False
    """Ask nobody: what is not on this machine is an error."""
    unrecorded: bool = False
    """Accept files of a wheel that its RECORD does not list (THREATS W21)."""
    portable: bool = False
    """Refuse names that other systems take for the same (THREATS W28)."""
    references: Sequence[str] = ()
    targets: Sequence[Reference] = ()
    """Where the image will be pushed to: layers that are there need not be here, unless it gets a name here."""
    caching: Caching = field(default_factory=Caching)
    dockerfile: Wanted | None = None
    """About a build of a Dockerfile; which one is a matter of settings."""
    cell: Cell | None = None
    """The combination of a matrix that it is, which has a lock of its own."""
    beside: Beside | None = None
    """An image beside the project's own, with a name of its own; nothing of the project changes for it."""


def build(site: Site, wishes: Wishes) -> Built:
    """The image of the project at ``site``, made and named. Raises :class:`TrainloadError`.

    One whose layers lie partly in registries (``wishes.targets``) is not named: a name stands for a whole image.
    Keep ``site.store.writing()`` around this and what is done with it then.
    """
    file = dockerfile_of(site, wishes)
    if file is not None:
        from trainload import dockerbuild

        return dockerbuild.build(site, wishes, file)
    created = created_in(site.environ)
    with site.store.writing():
        planned = plan(site, wishes)
        code = Code(planned.listing, site.tree.open)
        builder = _builder(site, planned.locked.project, wishes)
        ready = _activated(builder.settle(planned.plan), builder.shop, fetch=True)
        look_into(planned.locked, site.store, builder.shop.sources, Pickles.REFUSE)
        shop = with_registries(site, wishes, planned, builder.shop)
        layers = shop.make(ready, code)
        mounted = tuple(make_mount(shop, mount, ready, code) for mount in ready.mounts)
        look_into(planned.locked, site.store, builder.shop.sources, Pickles.WARN)
        ready = with_pickles(ready, planned.locked.lock, site.store)
        finished = changed(ready, layers=tuple(made.planned for made in layers))
        artifacts = [one.image for one in mounted]
        image = assemble(finished, [made.layer for made in layers], created, artifacts)
        bundle = make_bundle(image, artifacts) if artifacts else None
        names = tuple(wishes.references) or (_name(planned, finished, wishes),)
        built = Built(changed(planned, plan=finished), image, layers, names, mounted, bundle)
        return built.keep(site.store)


def dockerfile_of(site: Site, wishes: Wishes) -> Project | None:
    """The project, where a Dockerfile says all about it."""
    named = wishes.dockerfile is not None or "dockerfile" in wishes.flags
    if not named and not any(site.tree.find(name) for name in _MAY_SAY_SO):
        return None
    project = read_project(site.tree, flags=wishes.flags, environ=site.environ)
    return project if isinstance(project.settings.dependencies.value, DockerfileInput) else None


def rebuild(site: Site, wishes: Wishes, image: Image) -> tuple[Remade, ...]:
    """Make the layers of ``image`` again from what the project's lock names, and compare them; nothing is kept."""
    from trainload.builder.rebuild import Rebuild

    with site.store.writing():
        planned = plan(site, changed(wishes, frozen=True, platform=image.config.platform))
        builder = _builder(site, planned.locked.project, wishes)
        ready = builder.settle(planned.plan)
        return Rebuild(builder.shop, ready, Code(planned.listing, site.tree.open), image).run()


def share(site: Site, wishes: Wishes, built: Built, *, pushed: bool) -> tuple[Written, ...]:
    """Write the layers that were made here to the caches that are to have them."""
    repositories = writing(built.planned.locked.project.settings.cache.value, wishes.caching, pushed=pushed)
    if not repositories or site.registry is None or wishes.offline:
        return ()
    sharing = Sharing(site.store, site.registry(), site.now.strftime("%Y-%m-%dT%H:%M:%SZ"), site.reporter)
    return sharing.share(built.layers, built.planned.plan, repositories)


def with_registries(site: Site, wishes: Wishes, planned: Planned, shop: Workshop) -> Workshop:
    """``shop`` as the project and the command line have it about layers that others made."""
    found = reading(planned.locked.project.settings.cache.value, wishes.caching, wishes.targets)
    lazy = bool(wishes.targets) and not wishes.references
    shop = changed(shop, anew=wishes.caching.anew, lazy=lazy)
    return with_shared(shop, found, planned.plan, site.registry, offline=wishes.offline) if site.registry else shop


def plan(site: Site, wishes: Wishes) -> Planned:
    """What :func:`build` would make, complete, with nothing made yet; locks first if it must."""
    locked, aside = _beside(site, lock(site, wishes), wishes)
    target = wishes.platform or (Platform.host() if wishes.here else locked.lock.platforms[0])
    sources = locked.project.settings.build.value.sources is BuildFrom.SANDBOX
    selection = select(locked.lock, target, sdists=sources)
    listing = list_code(site.tree, locked.project, above(site.root, site.environ))
    facts = CodeFacts(code_content(listing, site.tree.open), listing.size, len(listing.files))
    base = _base_document(site, locked.lock, target, wishes)
    made = make_plan(locked.project, locked.lock, target, selection.python, facts, base)
    if aside is not None:
        made = with_tools(made, aside.files(target, selection.python), locked.lock.python)
    made = with_pickles(with_built(made, site.store), locked.lock, site.store)
    if locked.lock.conda is not None:
        made = _activated(made, workshop(site, locked.project, wishes), fetch=False)
    return Planned(locked, changed(made, warnings=(*made.warnings, *listing.warnings)), listing)


def _name(planned: Planned, plan: Plan, wishes: Wishes) -> str:
    """An image that turns out to be the project's own needs no other name."""
    beside = wishes.beside
    project = planned.locked.project
    tag = wishes.cell.tag if wishes.cell is not None else project.variant
    differs = beside is not None and (beside.profile or any(layer.kind is Kind.TOOLS for layer in plan.layers))
    if beside is not None and differs:
        tag = f"{tag}-{beside.tag}" if tag else beside.tag
    return f"{plan.name}:{tag}" if tag else plan.name


def _beside(site: Site, locked: Locked, wishes: Wishes) -> tuple[Locked, Aside | None]:
    """What is wanted beside the project's own image, on the lock that holds for that."""
    wanted = wishes.beside
    if wanted is None:
        return locked, None
    from trainload.builder.beside import Ground, lock_beside
    from trainload.resolve.cache import FolderCache

    project = locked.project
    if wanted.profile is not None:
        flags = {**wishes.flags, "profile": str(wanted.profile)}
        project = read_project(site.tree, flags=flags, environ=site.environ)
    aside = lock_beside(
        wanted,
        Ground(project, site.root, locked.lock),
        FolderCache(site.store.home / "cache" / "beside"),
        lambda: services(site, project, wishes),
    )
    return changed(locked, project=project, lock=aside.lock), aside


def lock(site: Site, wishes: Wishes) -> Locked:
    """The project with a lock that holds: the one in its folder, or a new one, which is written and told.

    Raises :class:`LockError` where a new one is needed and ``wishes.frozen``.
    """
    project = read_project(site.tree, flags=wishes.flags, environ=site.environ)
    if isinstance(project.settings.dependencies.value, DockerfileInput):
        raise UsageError(
            Text("this is for projects whose packages are locked one by one, and here a Dockerfile says all"),
            place=Place(project.settings.dependencies.value.path),
        )
    if wishes.cell is not None and wishes.cell.key:
        project = changed(project, locks=(lock_file(wishes.cell.key), *project.locks))
    file = project.locks[0]
    local = local_digests(project.settings, site.tree, site.root, site.store.home)
    inputs = inputs_digest(site.tree, project, environ=site.environ, local=local)
    old = _read_lock(site, file)
    if old is not None and old.inputs == inputs and wishes.upgrade is None:
        return Locked(project, old, None, is_new=False)
    if wishes.frozen:
        raise LockError(
            Text("the lock does not hold what the project asks for") if old else Text("there is no lock"),
            place=Place(file),
            hints=[Text("run `trainload lock` and keep {file} with the project", file=file)],
        )
    if wishes.upgrade is None:
        _tell(site, old, file)
    begin = old or next((found for one in project.locks[1:] if (found := _read_lock(site, one)) is not None), None)
    new = _make_lock(site, project, inputs, begin, wishes)
    replace(site.root / file, dumps(new))
    return Locked(project, new, old, is_new=True)


def _read_lock(site: Site, file: str) -> Lock | None:
    """A lock in the project's folder, if it is there. Raises :class:`LockError` for one that is broken."""
    if site.tree.find(file) is None:
        return None
    return loads(site.tree.read(file, limit=64 << 20), file)


def _tell(site: Site, old: Lock | None, file: str) -> None:
    if old is None:
        text = Text("{file} is not there yet: locking", file=file)
    else:
        text = Text("{file} no longer holds what the project asks for: locking anew", file=file)
    site.reporter.report(Said(text))


def _make_lock(site: Site, project: Project, inputs: str, old: Lock | None, wishes: Wishes) -> Lock:
    from trainload.resolve import lock as resolve

    needs = services(site, project, wishes)
    return resolve.make_lock(project, site.root, inputs, needs, previous=old, upgrade=wishes.upgrade)


def services(site: Site, project: Project, wishes: Wishes) -> Services:
    from trainload.resolve.cache import FolderCache
    from trainload.resolve.services import Services
    from trainload.resolve.uv import Uv

    cache = FolderCache(site.store.home / "cache" / "indexes")
    http = changed(site.http, offline=wishes.offline)

    def distribution(previous: Sequence[ReleaseFile]) -> Distribution:
        from trainload.resolve.archives import find_archives
        from trainload.resolve.indexes import Services as Distribution

        archives = find_archives(project.settings.mirrors.value.apt)
        return Distribution(http, archives, cache, site.now, previous, wishes.allow_stale, reporter=site.reporter)

    builder = _builder(site, project, wishes)
    ground = Ground(site.tree, site.root, site.environ, site.store, site.reporter)
    return Services(
        http, distribution, Uv(site.environ, wishes.offline), site.reporter, wishes.unhashed,
        lambda below: Desk(builder, below), bases(site, wishes), lambda: shelf(project.settings, ground, http),
        _conda(site, project, wishes), repositories(ground, offline=wishes.offline),
    )  # fmt: skip


def _conda(site: Site, project: Project, wishes: Wishes) -> Conda | None:
    from trainload.resolve.conda.request import is_conda

    if not is_conda(project.settings):
        return None
    from trainload.builder.conda import channels

    return channels(workshop(site, project, wishes), site.root, project.settings, offline=wishes.offline)


def _activated(plan: Plan, shop: Workshop, *, fetch: bool) -> Plan:
    """With the variables that conda packages set; ``fetch``: packages that were never looked into are fetched."""
    if not any(layer.kind is Kind.CONDA for layer in plan.layers):
        return plan
    from trainload.builder.conda import activation

    return activation(shop)(plan) if fetch else activation(shop).known(plan)


def bases(site: Site, wishes: Wishes) -> Bases:
    from trainload.builder.bases import Bases

    return Bases(site.store, site.registry or _no_registry, site.reporter, wishes.offline)


def _no_registry() -> Client:
    raise AssertionError("a base image is used where registries can be reached")


def _base_document(site: Site, lock: Lock, target: Platform, wishes: Wishes) -> BaseDocument | None:
    """What the plan needs of a base image: its manifest and config, no layer."""
    if not isinstance(lock.base, ImageBase):
        return None
    from trainload.builder.bases import document

    locked = lock.base.images[target.architecture]
    reference = Reference.parse(lock.base.reference).completed()
    image = bases(site, wishes).image(reference, locked.manifest, locked.config)
    return document(image, lock.base.reference)


def _builder(site: Site, project: Project, wishes: Wishes) -> Builder:
    from trainload.resolve.cache import FolderCache

    memory = FolderCache(site.store.home / "cache" / "sources")
    return Builder(workshop(site, project, wishes), site.ask, memory, project.settings.build.value.timeout)


def _base_layers(site: Site, project: Project, wishes: Wishes) -> BaseLayers | None:
    """How the workshop gets layers of a base image."""
    base = project.settings.base.value
    if base.startswith("apt:"):
        return None
    reference = Reference.parse(base).completed()
    return BaseLayers(reference, partial(bases(site, wishes).layer, reference))


def workshop(site: Site, project: Project, wishes: Wishes) -> Workshop:
    settings = project.settings
    limits = settings.limits.value.limits(unrecorded=wishes.unrecorded, portable=wishes.portable)
    local = local_files(settings, site.tree, site.root, site.store.home)
    where = places(settings, site.root, site.environ, local)

    def make() -> Fetcher:
        from trainload.resolve.fetch import Fetcher

        return Fetcher(
            site.store.files, site.http, where, offline=wishes.offline, reporter=site.reporter, limits=limits
        )

    fetcher = LateFetcher(make)
    base = _base_layers(site, project, wishes)
    return Workshop(site.store, fetcher, fetcher.prefetch, site.reporter, site.cpus, site.sandbox, base, limits)

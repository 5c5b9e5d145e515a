"""``trainload export dockerfile``: the project for people who must use Docker's own build."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainload.cli.options import pass_world
from trainload.cli.wishes import build_options
from trainload.cli.world import World
from trainload.errors import Place, Text, TrainloadError, UsageError

if TYPE_CHECKING:
    from trainload.export.dockerfile import Wanted
    from trainload.lock.select import Selection
    from trainload.pipeline import Planned, Wishes

_REQUIREMENTS = "requirements.trainload.txt"
_IGNORE = ".dockerignore"


@click.command("dockerfile")
@click.option("--output", metavar="FILE", default="Dockerfile", help="The file to write; default: Dockerfile.")
@click.option(
    "--from", "image", metavar="IMAGE", help="The image to stand on; default: the public one nearest to base."
)
@click.option(
    "--wheels", metavar="FOLDER", help="Put all wheels into FOLDER of the project: the build asks no index."
)
@click.option(
    "--conda-from",
    "conda_image",
    metavar="IMAGE",
    help="The image with micromamba that places conda packages; default: its own public one.",
)
@click.option("--tag-only", is_flag=True, help="Do not ask a registry for the digest of the image to stand on.")
@click.option("--force", is_flag=True, help="Write over files that are there.")
@pass_world
@build_options
def dockerfile(  # noqa: PLR0913 - the options of a verb
    world: World, wishes: Wishes, *, output: str, image: str | None, wheels: str | None,
    conda_image: str | None, tag_only: bool, force: bool,
) -> None:  # fmt: skip
    """Write a Dockerfile that makes an image equivalent to the project's, for Docker build, BuildKit or buildah.

    Its base is pinned by digest, the Python packages by the lock's hashes in a requirements file beside it; it has
    stages, a cache for downloads, a user who is not root, and a health check where the project is a server. With it
    comes .dockerignore. Files that are there are kept, unless --force.
    """
    from trainload.export import conda
    from trainload.export.dockerfile import nearest
    from trainload.pipeline import plan

    folder = _folder(wheels)
    planned = plan(world.site, wishes)
    base = _pinned(world, image or nearest(planned.locked.lock), "--from", tag_only=tag_only)
    wanted = _wanted(world, planned, folder, base)
    if planned.locked.lock.conda is not None:
        tool = _pinned(world, conda_image or conda.IMAGE, "--conda-from", tag_only=tag_only)
        wanted = replace(wanted, conda=tool)
    files = _files(world, planned, wanted, output, again=force)
    _check(world, files, force=force)
    if folder:
        _fetch(world, wishes, planned, wanted, folder)
    from trainload.system.files import replace as write

    for name, text in files.items():
        (world.cwd / name).parent.mkdir(parents=True, exist_ok=True)
        write(world.cwd / name, text.encode())
    _told(world, planned, wanted, output)
    world.result({"files": list(files), "base": wanted.base}, [*files])


def _folder(wheels: str | None) -> str:
    if wheels is None:
        return ""
    name = wheels.strip("/").removeprefix("./")
    if wheels.startswith("/") or not name or ".." in name.split("/"):
        raise UsageError(Text("the folder for wheels lies in the project"), got=wheels, want="wheels")
    return name


def _pinned(world: World, name: str, option: str, *, tag_only: bool) -> str:
    """An image with its digest; ``option`` names another. Raises :class:`UsageError` when nobody tells it."""
    from trainload.reference import Reference

    reference = Reference.parse(name).completed()
    if "@" in name or tag_only:
        return name
    try:
        found = world.registry.find(reference)
    except TrainloadError as error:
        world.warn(error.text)
        found = None
    if found is None:
        raise UsageError(
            Text("the digest of {image} is not known", image=name),
            hints=[
                Text("name another, or a mirror's: {option} IMAGE, or {option} IMAGE@sha256:…", option=option),
                Text("do without a digest: {option}", option="--tag-only"),
            ],
        )
    return f"{name}@{found.digest}"


def _wanted(world: World, planned: Planned, folder: str, base: str) -> Wanted:
    from trainload.export.dockerfile import Wanted
    from trainload.export.requirements import in_folders, sources
    from trainload.lock.model import Commit

    selection = _selection(planned)
    repositories = [each for each in selection.python if isinstance(each.file.location, Commit)]
    if repositories:
        raise UsageError(
            Text("what is built from a repository cannot be written into a Dockerfile"),
            got=", ".join(each.name for each in repositories),
            hints=[Text("put a wheel of it into a find-links folder, and write name==version")],
        )
    lost = in_folders([selection])
    if lost and not folder:
        raise UsageError(
            Text("wheels that no index has cannot be asked for by Docker's build"),
            got=", ".join(file.name for file in lost[:5]),
            hints=[Text("put all wheels into a folder of the project: --wheels wheels")],
        )
    return Wanted(
        planned.locked.project, planned.locked.lock, planned.plan, selection, base,
        requirements=_REQUIREMENTS if selection.python else "", wheels=folder, sources=sources([selection]),
        urls=_urls(world, planned),
    )  # fmt: skip


def _urls(world: World, planned: Planned) -> dict[str, str]:
    """Where the weights of hubs and addresses are, by sha256. Raises :class:`LockError` where no hub is known."""
    from trainload.export.weights import recipes
    from trainload.lock.model import HubPath, Url

    found: dict[str, str] = {}
    for recipe in recipes(planned.plan):
        for one in recipe.files:
            if isinstance(one.file.location, Url):
                found[one.file.sha256] = one.file.location.url
            elif isinstance(one.file.location, HubPath):
                from trainload.resolve.hub import find_endpoints

                hubs = find_endpoints(planned.locked.project.settings.mirrors.value.hub, world.environ)
                found[one.file.sha256] = hubs.files(one.file.location)[0]
    return found


def _selection(planned: Planned) -> Selection:
    from trainload.lock.select import select

    return select(planned.locked.lock, planned.plan.platform, sdists=True)


def _files(world: World, planned: Planned, wanted: Wanted, output: str, *, again: bool) -> Mapping[str, str]:
    """Path → text of everything that is written; ``again``: our own ``.dockerignore`` too, a user's never."""
    from trainload.export import conda
    from trainload.export.dockerfile import dockerfile as text
    from trainload.export.ignorefile import MARK, ignore_file
    from trainload.export.requirements import requirements
    from trainload.export.weights import of_project
    from trainload.lint.around import Folder
    from trainload.lint.check import mended
    from trainload.lint.model import Kind

    settings = planned.locked.project.settings
    # a server gets its health check as `trainload lint --fix` would give it one
    around = Folder.read(world.site.tree).around(output, Kind.DOCKERFILE)
    found = mended(output, text(wanted), around, only=("no-healthcheck",))
    files = {output: found.text}
    if wanted.requirements:
        lock = planned.locked.lock
        files[wanted.requirements] = requirements(
            lock, [wanted.selection], settings.indexes.value, folder=bool(wanted.wheels)
        )
    if planned.locked.lock.conda is not None:
        files[conda.LIST] = conda.listed(planned.locked.lock, planned.plan.platform, folder=bool(wanted.wheels))
    ignore = world.cwd / _IGNORE
    if not ignore.exists() or (again and ignore.read_bytes().startswith(MARK.encode())):
        needed = [name for name in files if name != output]
        needed += [f"{wanted.wheels}/**"] if wanted.wheels else []
        needed += of_project(planned.plan)
        files[_IGNORE] = ignore_file(settings, planned.listing, [output, _IGNORE], needed)
    return files


def _check(world: World, files: Mapping[str, str], *, force: bool) -> None:
    there = [name for name in files if (world.cwd / name).exists()]
    if there and not force:
        raise UsageError(
            Text("there is one already, and it may be yours"),
            place=Place(there[0]),
            hints=[
                Text("write over it: {option}", option="--force"),
                Text("or write another: {option}", option="--output docker/Dockerfile"),
            ],
        )


def _fetch(world: World, wishes: Wishes, planned: Planned, wanted: Wanted, folder: str) -> None:
    """Every locked file of Python in ``folder``, verified; others that lie there are taken out."""
    import shutil

    from trainload.builder.places import places
    from trainload.export import conda
    from trainload.resolve.fetch import Fetcher
    from trainload.system.files import replacing

    site, settings = world.site, planned.locked.project.settings
    fetcher = Fetcher(
        site.store.files, site.http, places(settings, site.root, site.environ, None), offline=wishes.offline,
        reporter=site.reporter,
    )  # fmt: skip
    target = world.cwd / folder
    files = {target / item.file.name: item.file for item in wanted.selection.python}
    if wanted.selection.interpreter is not None:
        files[target / wanted.selection.interpreter.name] = wanted.selection.interpreter
    kept = {path.name for path in files}
    for package in conda.packages(planned.locked.lock, planned.plan.platform):
        files[target / conda.FOLDER / conda.path(package)] = package.file
        kept.add(conda.FOLDER)
    with site.store.writing():
        fetcher.prefetch(fetcher.missing([*files.values()]))
        target.mkdir(parents=True, exist_ok=True)
        for path, file in files.items():
            if _same(path, file.size):
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with fetcher.open(file) as source, replacing(path, 0o644) as out:
                shutil.copyfileobj(source, out, 1 << 20)
    _warn_of_others(world, target, [*kept])


def _same(path: Path, size: int | None) -> bool:
    """There already; pip checks its hash in any case."""
    return size is not None and path.is_file() and path.stat().st_size == size


def _warn_of_others(world: World, target: Path, names: Sequence[str]) -> None:
    others = sorted(path.name for path in target.iterdir() if path.name not in names)
    if others:
        world.warn(
            Text("{folder} holds what no image needs: {names}", folder=target.name, names=", ".join(others[:5]))
        )


def _told(world: World, planned: Planned, wanted: Wanted, output: str) -> None:
    from trainload.lock.model import DistributionBase

    base = planned.locked.lock.base
    if isinstance(base, DistributionBase):
        world.say(
            Text("base apt:{suite} is composed of packages; Docker's build stands on the nearest image: {image}",
                 suite=base.suite, image=wanted.base)
        )  # fmt: skip
    if (world.cwd / _IGNORE).exists() and wanted is not None:
        world.say(Text("{file} says what Docker does not take", file=_IGNORE))
    if wanted.sources:
        world.warn(
            Text("pip builds from source, with what it finds then: {names}", names=", ".join(wanted.sources))
        )
    if any(one.mount for one in planned.locked.project.settings.weights.value):
        world.warn(Text("weights that are mounted when it runs are not in it"))
    world.say(Text("build it: docker build -t {name} -f {file} .", name=planned.plan.name, file=output))

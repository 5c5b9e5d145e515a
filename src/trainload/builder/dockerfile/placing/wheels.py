"""``pip install`` as layers of wheels: what pip would choose with what lies below, from the lock or asked of uv."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from trainload.builder.dockerfile.bench import Bench
from trainload.builder.dockerfile.ground import Ground
from trainload.builder.dockerfile.placing.asking import Ask, ask, read_files
from trainload.builder.dockerfile.placing.interpreter import Caller, Target, find_target
from trainload.builder.dockerfile.placing.links import wheels_in
from trainload.builder.dockerfile.placing.replaced import below_of, removed_by
from trainload.dockerfile.steps import InstallPython
from trainload.dockerfile.understand.words import Beyond
from trainload.errors import Place, Text
from trainload.lock.model import File, Found, PythonFile, Url
from trainload.plan.model import Kind, PlannedLayer
from trainload.plan.order import LAYERS, group
from trainload.plan.placed import SiteRecipe

_WHY = Text("its wheels are placed where pip would install them")
_NAMED = 4


def place_python(
    step: InstallPython, ground: Ground, bench: Bench, caller: Caller, where: Place
) -> tuple[PlannedLayer, ...]:
    """The layers that ``step`` leaves. Raises :class:`Beyond` where pip would do something else than place wheels.

    Raises :class:`LockError` when the lock may not change, :class:`FetchError` when an index cannot be reached.
    """
    target = find_target(step, ground, caller)
    files = read_files(step.files, ground)
    links = (*step.find_links, *files.find_links)
    asked = Ask(
        requirements=step.requirements,
        files=files.texts,
        constraints=read_files(step.constraints, ground).texts,
        index=files.index or step.index,
        extra_indexes=(*step.extra_indexes, *files.extra_indexes),
        find_links=tuple(link for link in links if "://" in link),
        wheels=wheels_in([link for link in links if "://" not in link], ground),
        no_index=step.no_index or files.no_index,
        prereleases=step.prereleases or files.prereleases,
        dependencies=step.dependencies,
        upgrade=step.upgrade,
        is_uv=step.tool[0] == "uv",
        target=target,
        platform=bench.platform,
        glibc=ground.facts.glibc,
    )
    found = _known(asked, bench, ground)
    placed, replaced = _split(found, step, target)
    if not placed:
        return ()
    removed = removed_by(replaced, target.scheme, ground)
    return _layers(placed, target, removed, ground)


def _known(asked: Ask, bench: Bench, ground: Ground) -> tuple[PythonFile, ...]:
    """The answer of the lock, or a new one."""
    question = asked.question
    known = bench.answers.get(question)
    if known is None and bench.answers.frozen:
        bench.answers.put(question, {})
    if known is None:
        found = ask(asked, bench, ground)
        known = bench.answers.put(question, {"packages": [_row(package) for package in found]})
    rows = known.get("packages")
    if not isinstance(rows, list):
        raise Beyond(Text("an answer of the lock is broken"))
    return tuple(_package(row) for row in rows)


def _row(package: PythonFile) -> dict[str, object]:
    file = package.file
    location = {"url": file.location.url} if isinstance(file.location, Url) else {}
    size = {"size": file.size} if file.size is not None else {}
    return {
        "name": package.name,
        "version": package.version,
        "file": file.name,
        "sha256": file.sha256,
        **location,
        **size,
    }


def _package(row: object) -> PythonFile:
    """Raises :class:`Beyond` for a row that is none."""
    if not isinstance(row, dict):
        raise Beyond(Text("an answer of the lock is broken"))
    values = {key: row.get(key) for key in ("name", "version", "file", "sha256")}
    size, url = row.get("size"), row.get("url")
    if not all(isinstance(value, str) for value in values.values()) or not isinstance(size, int | None):
        raise Beyond(Text("an answer of the lock is broken"))
    name, version, file, sha256 = (str(value) for value in values.values())
    location = Url(url) if isinstance(url, str) else Found(file)
    return PythonFile(name, version, File(file, sha256, size, location))


@dataclass(frozen=True, slots=True)
class Replaced:
    """A distribution that makes room."""

    name: str
    version: str


def _split(
    found: Sequence[PythonFile], step: InstallPython, target: Target
) -> tuple[tuple[PythonFile, ...], tuple[Replaced, ...]]:
    """What is placed, and what of the installed it takes the place of."""
    installed = {each.name: each for each in target.installed}
    placed, replaced = [], []
    for package in found:
        own = installed.get(package.name)
        if own is not None and own.version == package.version and not step.reinstall:
            continue
        placed.append(package)
        if own is not None:
            replaced.append(Replaced(own.name, own.version))
    if replaced and (step.prefix is not None or step.user):
        raise Beyond(Text("another version of {name}, which is installed elsewhere", name=replaced[0].name))
    return tuple(placed), tuple(replaced)


def _layers(
    placed: Sequence[PythonFile], target: Target, removed: tuple[str, ...], ground: Ground
) -> tuple[PlannedLayer, ...]:
    """Large packages alone, since their layers are then the same everywhere; all in one where something goes."""
    minor, scheme = target.python.minor, target.scheme
    below = below_of(scheme, ground, (target.uid, target.gid))
    base = SiteRecipe((), minor, scheme, target.uid, target.gid, (), below)
    grouping = group(placed, LAYERS)
    groups = [*([package] for package in grouping.own), *grouping.together]
    if removed:
        groups = [[package for one in groups for package in one]]
    return tuple(
        PlannedLayer(
            Kind.PACKAGE if len(one) == 1 else Kind.SMALL,
            _names(one),
            replace(base, wheels=tuple(package.file for package in one), removed=removed),
            sum(package.file.size or 0 for package in one),
            _WHY,
        )
        for one in groups
    )


def _names(packages: Sequence[PythonFile]) -> str:
    if len(packages) == 1:
        return f"{packages[0].name} {packages[0].version}"
    names = ", ".join(package.name for package in packages[:_NAMED])
    return names if len(packages) <= _NAMED else f"{names} and {len(packages) - _NAMED} more"

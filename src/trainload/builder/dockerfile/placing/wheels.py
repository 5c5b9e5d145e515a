"""``pip install`` as layers of wheels: what pip would choose with what lies below, from the lock or asked of uv."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence

from trainload.builder.dockerfile.bench import Bench
from trainload.builder.dockerfile.ground import Ground
from trainload.builder.dockerfile.placing.asking import Ask, ask
from trainload.builder.dockerfile.placing.interpreter import Caller, Target, find_target
from trainload.builder.dockerfile.placing.links import wheels_in
from trainload.builder.dockerfile.placing.origins import check_origins
from trainload.builder.dockerfile.placing.replaced import below_of, removed_by
from trainload.builder.dockerfile.placing.required import Read, name_of, read_files
from trainload.dockerfile.installs import InstallPython
from trainload.dockerfile.understand.parts import Beyond
from trainload.errors import Place, Text
from trainload.lock.model import File, Found, PythonFile, Url
from trainload.plan.model import Kind, PlannedLayer
from trainload.plan.order import LAYERS, group
from trainload.plan.placed import AddressedSiteRecipe, SiteRecipe
from trainload.values import dataclass, replace

_WHY = Text("its wheels are placed where pip would install them")
_NAMED = 4


def place_python(
    step: InstallPython, ground: Ground, bench: Bench, caller: Caller, where: Place
) -> tuple[PlannedLayer, ...]:
    """The layers that ``step`` leaves. Raises :class:`Beyond` where pip would do something else than place wheels.

    Raises :class:`LockError` when the lock may not change, :class:`FetchError` when an index cannot be reached.
    """
    target, step = find_target(step, ground, caller)
    files = read_files(step.files, ground, is_uv=step.tool[0] == "uv")
    _check_hashes(step, files)
    if step.required:
        from trainload.builder.dockerfile.placing.projects import required

        step = replace(step, requirements=(*step.requirements, *required(step.required, target, ground, bench)))
        if not step.requirements and not any(files.texts):
            return ()
    links = (*step.find_links, *files.find_links)
    index, extra = files.index or step.index, (*step.extra_indexes, *files.extra_indexes)
    no_index = step.no_index or files.no_index
    if step.tool[0] != "uv":
        check_origins((*links, *(() if no_index else (index, *extra))), (*step.trusted, *files.trusted))
    asked = Ask(
        requirements=step.requirements,
        files=files.texts,
        constraints=read_files((*step.constraints, *files.included), ground).texts,
        index=index,
        extra_indexes=extra,
        find_links=tuple(link for link in links if "://" in link),
        wheels=wheels_in([link for link in links if "://" not in link], ground),
        no_index=no_index,
        prereleases=step.prereleases or files.prereleases,
        dependencies=step.dependencies,
        upgrade=step.upgrade,
        is_uv=step.tool[0] == "uv",
        target=target,
        platform=bench.platform,
        glibc=ground.facts.glibc,
        hashes=tuple((name, tuple(sorted(known))) for name, known in sorted(files.hashes.items())),
    )
    found = locked(asked, bench, ground)
    return laid(found, step, target, ground, asked)


def laid(
    found: Sequence[PythonFile], step: InstallPython, target: Target, ground: Ground, asked: Ask | None = None
) -> tuple[PlannedLayer, ...]:
    """The layers of those of ``found`` that are not there; ``asked``: what may have named some by address."""
    placed, replaced = _split(found, step, target)
    if not placed:
        return ()
    removed = removed_by(replaced, target.scheme, ground)
    return _layers(placed, target, removed, ground, _origins(placed, asked) if asked is not None else {})


def _check_hashes(step: InstallPython, files: Read) -> None:
    """One hash, or ``--require-hashes``, and everything needs one: what the line itself names cannot have any."""
    if (step.hashes or files.needs_hashes) and (step.requirements or not files.hashes):
        named = (*step.requirements, *step.files)[0]
        raise Beyond(Text("{line}, which has no hash where others have one", line=named))


def _origins(placed: Sequence[PythonFile], asked: Ask) -> Mapping[str, str]:
    """File → what is noted of a wheel that is asked for by its address (PEP 610), as pip and uv write it."""
    lines = [line for line in (*asked.requirements, *"\n".join(asked.files).splitlines()) if "://" in line]
    direct = {name_of(line) for line in lines}
    found = {}
    for package in placed:
        location = package.file.location
        if package.name in direct and isinstance(location, Url):
            sha256 = package.file.sha256
            info: dict[str, object] = {"hash": f"sha256={sha256}", "hashes": {"sha256": sha256}}
            if not _tells_hashes(asked.target):
                told = any(name_of(line) == package.name and "#sha256=" in line for line in lines)
                info = {"hash": info["hash"]} if told else {}
            pips = json.dumps({"archive_info": info, "url": location.url}, sort_keys=True)
            uvs = json.dumps({"url": location.url, "archive_info": {}}, separators=(",", ":"))
            found[package.file.name] = uvs if asked.is_uv else pips
    return found


def locked(asked: Ask, bench: Bench, ground: Ground) -> tuple[PythonFile, ...]:
    """The answer of the lock, or a new one."""
    return answered(asked.question, bench, lambda: ask(asked, bench, ground))


def answered(question: str, bench: Bench, make: Callable[[], Sequence[PythonFile]]) -> tuple[PythonFile, ...]:
    """The lock's answer to ``question``; ``make``: a new one."""
    known = bench.answers.get(question)
    if known is None and bench.answers.frozen:
        bench.answers.put(question, {})
    if known is None:
        known = bench.answers.put(question, {"packages": [_row(package) for package in make()]})
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


def _tells_hashes(target: Target) -> bool:
    """pip 23.1 and newer write what they found, older ones only what the address says."""
    version = next((each.version for each in target.python.installed if each.name == "pip"), "0")
    return [int(part) for part in re.findall("[0-9]+", version)[:2]] >= [23, 1]


def _layers(
    placed: Sequence[PythonFile],
    target: Target,
    removed: tuple[str, ...],
    ground: Ground,
    origins: Mapping[str, str],
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
            _recipe(base, tuple(package.file for package in one), removed, origins),
            sum(package.file.size or 0 for package in one),
            _WHY,
        )
        for one in groups
    )


def _recipe(
    base: SiteRecipe, wheels: tuple[File, ...], removed: tuple[str, ...], origins: Mapping[str, str]
) -> SiteRecipe:
    told = tuple((file.name, origins[file.name]) for file in wheels if file.name in origins)
    if not told:
        return replace(base, wheels=wheels, removed=removed)
    return AddressedSiteRecipe(
        wheels, base.python, base.scheme, base.uid, base.gid, removed, base.below, origins=told
    )


def _names(packages: Sequence[PythonFile]) -> str:
    if len(packages) == 1:
        return f"{packages[0].name} {packages[0].version}"
    names = ", ".join(package.name for package in packages[:_NAMED])
    return names if len(packages) <= _NAMED else f"{names} and {len(packages) - _NAMED} more"

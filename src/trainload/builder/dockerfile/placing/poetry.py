"""``poetry install --no-root``: wheels of ``poetry.lock``, by its hashes.

The image's own Poetry says whether the lock fits the project, and makes ``.venv``, in the sandbox, offline. The
lock has names of files and hashes and no addresses: where they lie is asked of the index, and locked.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence

from trainload import nesting
from trainload.builder.dockerfile.bench import Bench
from trainload.builder.dockerfile.ground import Ground
from trainload.builder.dockerfile.placing.aided import recipe_of
from trainload.builder.dockerfile.placing.asking import Ask
from trainload.builder.dockerfile.placing.interpreter import Caller, Target, find_target
from trainload.builder.dockerfile.placing.wheels import laid, locked
from trainload.dockerfile.installs import InstallPoetry, InstallPython
from trainload.dockerfile.understand.parts import Beyond
from trainload.dockerfile.understand.poetry import ALONE
from trainload.dockerfile.understood import RunLine
from trainload.errors import Text
from trainload.lock.select import Target as Fitting
from trainload.plan.model import Kind, PlannedLayer
from trainload.values import dataclass, replace

_CHECKED = Text("the image's Poetry checks the lock in the sandbox, offline")
_SHA256 = re.compile(r"sha256:([0-9a-f]{64})")
Table = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class _Chosen:
    """A package of the lock."""

    name: str
    version: str
    sha256: tuple[str, ...]
    index: str | None
    """Of its own source."""


def place_poetry(
    step: InstallPoetry, ground: Ground, bench: Bench, caller: Caller, line: RunLine
) -> tuple[tuple[PlannedLayer, ...], InstallPoetry | None]:
    """Layers, and what has to see them. Raises :class:`Beyond` where Poetry would do more than install wheels."""
    project, lock = (_table(f"{step.folder}/{name}", ground) for name in ("pyproject.toml", "poetry.lock"))
    if not step.begun:
        return (_checked(step, ground, line),), replace(step, begun=True)
    target, tools = find_target(_called(step, ground, caller), ground, caller)
    if tools.system and target.scheme.is_venv:
        raise Beyond(Text("a Poetry that has an environment of its own"))
    if ground.facts.glibc is None:
        raise Beyond(Text("an image whose C library is not known"))
    fitting = Fitting(bench.platform, target.python.version, ground.facts.glibc)
    chosen = tuple(_chosen(step, project, lock, fitting))
    if not chosen:
        return (), None
    found = locked(_ask(chosen, target, ground, bench), bench, ground)
    return laid(found, tools, target, ground), None


def _table(path: str, ground: Ground) -> Table:
    data = ground.read(path)
    if data is None:
        raise Beyond(Text("the file {path}, which is not there", path=path))
    text = data.decode("utf-8", "replace")
    try:
        if nesting.too_deep_toml(text):
            raise ValueError
        return tomllib.loads(text)
    except ValueError:
        raise Beyond(Text("{path}, which is not as usual", path=path)) from None


def _at(table: Table, *path: str) -> Table:
    """What is not there is empty."""
    for name in path:
        found = table.get(name)
        table = found if isinstance(found, dict) else {}
    return table


def _called(step: InstallPoetry, ground: Ground, caller: Caller) -> InstallPython:
    """As pip would be called for the Python that Poetry installs for. Raises :class:`Beyond`."""
    if ground.find(f"{step.folder}/poetry.toml") is not None:
        raise Beyond(Text("{path}, which changes what Poetry does", path=f"{step.folder}/poetry.toml"))
    file = f"{caller.home}/.config/pypoetry/config.toml"
    settings = _table(file, ground) if ground.find(file) is not None else {}
    said = _at(settings, "virtualenvs")
    if settings.keys() - {"virtualenvs", "installer"} or said.keys() - {"create", "in-project"}:
        raise Beyond(Text("{path}, which changes what Poetry does", path=file))
    creates = step.creates if step.creates is not None else said.get("create", True) is True
    inside = step.inside if step.inside is not None else said.get("in-project") is True
    if not creates and not caller.env.get("VIRTUAL_ENV"):
        return InstallPython((step.program,), system=True)
    if creates and inside and ground.find(f"{step.folder}/.venv/pyvenv.cfg") is not None:
        return InstallPython((f"{step.folder}/.venv/bin/python", "-m", "pip"))
    raise Beyond(Text("an environment in Poetry's own folder"))


def _checked(step: InstallPoetry, ground: Ground, line: RunLine) -> PlannedLayer:
    """It fails where the lock does not fit; ``run`` makes the environment, if there is to be one."""
    script = f"{shlex.quote(step.program)} check -n --lock && {shlex.quote(step.program)} run true"
    recipe = recipe_of(("/bin/sh", "-c", script), line, ground, (), dict(ALONE))
    return PlannedLayer(Kind.RUN, f"{step.program} check --lock", recipe, None, _CHECKED)


def _chosen(step: InstallPoetry, project: Table, lock: Table, fitting: Fitting) -> Iterator[_Chosen]:
    """Packages of the groups and extras that the line wants, whose markers hold."""
    if str(_at(lock, "metadata").get("lock-version")) != "2.1":
        raise Beyond(Text("a poetry.lock of a Poetry older than 2"))
    groups, extras = _groups(step, project), _extras(step, lock)
    packages = lock.get("package", [])
    for package in packages if isinstance(packages, list) else []:
        markers = package.get("markers", "")
        for group in package.get("groups", []):
            marker = markers.get(group, "") if isinstance(markers, dict) else markers
            if group in groups and _holds(str(marker), extras, fitting):
                yield _of(package)
                break


def _of(package: Table) -> _Chosen:
    name, source = str(package.get("name")), package.get("source")
    files = package.get("files", [])
    found = [_SHA256.fullmatch(str(file.get("hash"))) for file in files] if isinstance(files, list) else []
    known = tuple(sorted(match[1] for match in found if match is not None))
    index = str(source.get("url")) if isinstance(source, dict) else None
    plain = not isinstance(source, dict) or source.get("type") == "legacy"
    if not plain or not known or (index is not None and not re.fullmatch(r"https?://[^\s@]+", index)):
        raise Beyond(Text("the requirement {text}", text=name))
    return _Chosen(name, str(package.get("version")), known, index)


def _groups(step: InstallPoetry, project: Table) -> set[str]:
    own = _at(project, "tool", "poetry", "group")
    names = {"main", *own, *_at(project, "dependency-groups")}
    if _at(project, "tool", "poetry", "dev-dependencies"):
        names.add("dev")
    optional = {name for name in own if _at(own, name).get("optional") is True}
    for name in (*step.only, *step.more, *step.less):
        if name not in names:
            raise Beyond(Text("the group {name}, which the project does not have", name=name))
    if step.only:
        return set(step.only)
    return ((names - optional) | set(step.more)) - set(step.less)


def _extras(step: InstallPoetry, lock: Table) -> set[str]:
    known = set(_at(lock, "extras"))
    if step.every_extra:
        return known
    if set(step.extras) - known:
        raise Beyond(Text("the extra {name}, which the project does not have", name=min(set(step.extras) - known)))
    return set(step.extras)


def _holds(marker: str, extras: set[str], fitting: Fitting) -> bool:
    from packaging.markers import InvalidMarker, Marker

    if not marker:
        return True
    try:
        parsed = Marker(marker)
    except InvalidMarker:
        raise Beyond(Text("the requirement {text}", text=marker)) from None
    return any(parsed.evaluate({**fitting.environment(), "extra": extra}) for extra in (*extras, ""))


def _ask(chosen: Sequence[_Chosen], target: Target, ground: Ground, bench: Bench) -> Ask:
    indexes = tuple(dict.fromkeys(one.index for one in chosen if one.index is not None))
    bare = all(one.index is not None for one in chosen)
    return Ask(
        requirements=tuple(f"{one.name}=={one.version}" for one in chosen),
        files=(),
        constraints=(),
        index=indexes[0] if bare else None,
        extra_indexes=indexes[1:] if bare else indexes,
        find_links=(),
        wheels=(),
        no_index=False,
        prereleases=True,
        dependencies=False,
        upgrade=False,
        is_uv=True,
        target=replace(target, installed=()),
        platform=bench.platform,
        glibc=ground.facts.glibc,
        hashes=tuple(sorted((re.sub(r"[-_.]+", "-", one.name).lower(), one.sha256) for one in chosen)),
    )

"""From a folder to a :class:`Project`: everything that can be set, with origin and reason.

Pure over the tree, the flags and the environment that are passed in. Precedence: flag > environment > file >
detection > default.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeVar

from trainload.errors import Text
from trainload.limits import Allowed
from trainload.project import keys
from trainload.project.command import find_command
from trainload.project.config import Sources, read_given, read_sources, secret_variables
from trainload.project.dependencies import find_dependencies
from trainload.project.metadata import Metadata, read_metadata
from trainload.project.model import (
    LOCK,
    Building,
    Cache,
    Chosen,
    CondaFile,
    CondaLockFile,
    CondaSettings,
    Dependencies,
    Mirrors,
    Origin,
    Project,
    RequirementFiles,
    Resources,
    Settings,
    lock_file,
)
from trainload.project.python import choose_python
from trainload.tree import EntryKind, Tree

T = TypeVar("T")
_NOTHING: Mapping[str, object] = MappingProxyType({})
_NO_ENVIRONMENT: Mapping[str, str] = MappingProxyType({})
_STRENGTH = tuple(Origin)


def read_project(
    tree: Tree, *, flags: Mapping[str, object] = _NOTHING, environ: Mapping[str, str] = _NO_ENVIRONMENT
) -> Project:
    """The project in ``tree``. ``flags``: key path (``base``, ``run.memory``) → value, None: not given.

    ``environ``: ``TRAINLOAD_*`` variables and what requirements files refer to. Raises :class:`ConfigError`.
    """
    sources = read_sources(tree, flags, environ)
    metadata = read_metadata(sources.pyproject)
    python, base, python_warnings = choose_python(tree, sources, metadata)
    dependencies, dependency_warnings = find_dependencies(tree, sources, metadata, environ)
    if isinstance(dependencies.value, CondaFile | CondaLockFile) and python.value is None:
        python = Chosen(None, python.origin, Text("the conda environment's own"))
    if isinstance(dependencies.value, CondaFile):
        found = secret_variables(dependencies.value.variables, dependencies.value.path)
        dependency_warnings = (*dependency_warnings, *found)
    command, command_warnings = find_command(tree, metadata)
    chosen_command = sources.choose(keys.COMMAND, command)
    workdir = sources.choose(keys.WORKDIR)
    settings = Settings(
        name=sources.choose(keys.NAME, _name(tree, metadata)),
        python=python,
        base=base,
        profile=sources.choose(keys.PROFILE),
        system=sources.choose(keys.SYSTEM),
        dependencies=dependencies,
        find_links=_find_links(sources, dependencies.value),
        indexes=_indexes(sources),
        accelerator=sources.choose(keys.ACCELERATOR),
        command=chosen_command,
        user=sources.choose(keys.USER),
        workdir=workdir,
        env=sources.choose(keys.ENV, _python_path(tree, metadata, workdir.value)),
        bytecode=sources.choose(keys.BYTECODE),
        configure=_text(sources.choose(keys.CONFIGURE)),
        include=sources.choose(keys.INCLUDE),
        exclude=sources.choose(keys.EXCLUDE),
        platforms=sources.choose(keys.PLATFORMS, default=Text("where most GPUs are")),
        mirrors=_mirrors(sources),
        run=_resources(sources),
        secrets=sources.choose(keys.SECRETS),
        limits=_limits(sources),
        build=_building(sources),
        entrypoint=sources.choose(keys.ENTRYPOINT, default=Text("the base's, or an init")),
        cache=_cache(sources),
        weights=sources.choose(keys.WEIGHTS),
        weights_pickles=sources.choose(keys.WEIGHTS_PICKLES),
        conda=_conda(sources),
    )
    warnings = (*sources.warnings, *python_warnings, *dependency_warnings, *_base_warnings(base.value))
    if chosen_command.origin in (Origin.DETECTED, Origin.DEFAULT):
        warnings += command_warnings
    warnings += _without_code(sources, settings)
    locks = (*map(lock_file, sources.line), LOCK)
    return Project(settings, warnings, metadata.requires_python, next(iter(sources.line), None), locks)


def _without_code(sources: Sources, settings: Settings) -> tuple[Text, ...]:
    """A variant that inherits from a base without code has none either, which few have in mind."""
    if not sources.line or settings.include.value != () or settings.command.origin is not Origin.DETECTED:
        return ()
    name = next((one for one in sources.line if keys.INCLUDE.path in sources.variants[one].values), None)
    if name is None or name == sources.line[0]:
        return ()
    text = 'no code goes in: include = [] comes from the variant {name}; include = ["**"] takes all of it'
    return (Text(text, name=name),)


def _name(tree: Tree, metadata: Metadata) -> Chosen[str]:
    if metadata.name and (name := image_name(metadata.name)):
        return Chosen(name, Origin.DETECTED, Text("project.name in pyproject.toml"))
    if name := image_name(tree.name):
        return Chosen(name, Origin.DETECTED, Text("the folder's name"))
    return Chosen(
        keys.NAME.default, Origin.DEFAULT, Text("the folder's name has no letters an image name may have")
    )


def image_name(text: str) -> str:
    """``text`` as a component of an image reference (OCI distribution-spec § Pulling manifests), maybe empty."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()[:100]).strip("-")


def _find_links(sources: Sources, dependencies: Dependencies) -> Chosen[tuple[str, ...]]:
    chosen = sources.choose(keys.FIND_LINKS)
    lines = dependencies.find_links if isinstance(dependencies, RequirementFiles | CondaFile) else ()
    more = tuple(dict.fromkeys(line for line in lines if line not in chosen.value))
    if not more:
        return chosen
    if chosen.value:
        return Chosen((*chosen.value, *more), chosen.origin, chosen.reason)
    return Chosen(more, Origin.FILE, Text("--find-links in the requirements files"))


def _indexes(sources: Sources) -> Chosen[tuple[str, ...]]:
    index, extra = sources.choose(keys.INDEX), sources.choose(keys.EXTRA_INDEX)
    if index.value is None and not extra.value:
        return Chosen((), Origin.DEFAULT, Text("uv's default index"))
    both = ((index.origin, index.reason), (extra.origin, extra.reason))
    origin, reason = min(both, key=lambda pair: _STRENGTH.index(pair[0]))
    return Chosen((*extra.value, index.value or ""), origin, reason)


def _text(chosen: Chosen[keys.Configure]) -> Chosen[str]:
    return Chosen(str(chosen.value), chosen.origin, chosen.reason)


def _python_path(tree: Tree, metadata: Metadata, workdir: str) -> Chosen[Mapping[str, str]]:
    """The project is not installed: a src layout is importable only when its folder is on the path."""
    src = tree.find("src")
    packages = (
        [
            e.path
            for e in tree.walk(lambda entry: entry.path == "src")
            if re.fullmatch(r"src/[A-Za-z_]\w*(\.py)?", e.path)
        ]
        if metadata.present and src and src.kind is EntryKind.FOLDER and tree.find("src/__init__.py") is None
        else []
    )
    if not packages:
        return Chosen({}, Origin.DEFAULT, Text("the default"))
    return Chosen({"PYTHONPATH": f"{workdir}/src"}, Origin.DETECTED, Text("the project's packages lie in src"))


def _base_warnings(base: str) -> tuple[Text, ...]:
    if base.startswith("apt:") or "@" in base:
        return ()
    tag = base.rpartition("/")[2].partition(":")[2]
    if not tag or tag == "latest":
        return (
            Text(
                "base = {base} has no fixed version: what it means changes with time; name a tag or a digest",
                base=base,
            ),
        )
    return ()


def _mirrors(sources: Sources) -> Chosen[Mirrors]:
    pypi, apt = sources.choose(keys.MIRRORS_PYPI), sources.choose(keys.MIRRORS_APT)
    python, registry = sources.choose(keys.MIRRORS_PYTHON), sources.choose(keys.MIRRORS_REGISTRY)
    hub, conda = sources.choose(keys.MIRRORS_HUB), sources.choose(keys.MIRRORS_CONDA)
    value = Mirrors(pypi.value, apt.value, python.value, registry.value, hub.value, conda.value)
    return _together(sources, value, "mirrors.")


def _resources(sources: Sources) -> Chosen[Resources]:
    choose = sources.choose
    value = Resources(
        engine=choose(keys.ENGINE).value,
        gpus=choose(keys.GPUS).value,
        memory=choose(keys.MEMORY).value,
        memory_swap=choose(keys.MEMORY_SWAP).value,
        cpus=choose(keys.CPUS).value,
        pids=choose(keys.PIDS).value,
        shm=choose(keys.SHM).value,
        volumes=choose(keys.VOLUMES).value,
        ports=choose(keys.PORTS).value,
    )
    return _together(sources, value, "run.")


def _cache(sources: Sources) -> Chosen[Cache]:
    choose = sources.choose
    value = Cache(
        choose(keys.CACHE_REGISTRY).value, choose(keys.CACHE_READ).value, str(choose(keys.CACHE_WRITE).value)
    )
    return _together(sources, value, "cache.")


def _conda(sources: Sources) -> Chosen[CondaSettings]:
    choose = sources.choose
    value = CondaSettings(
        choose(keys.CONDA_CHANNELS).value, choose(keys.CONDA_ALIAS).value, choose(keys.CONDA_PRIORITY).value
    )
    return _together(sources, value, "conda.")


def _limits(sources: Sources) -> Chosen[Allowed]:
    value = Allowed(
        max_unpacked=sources.choose(keys.LIMIT_UNPACKED).value,
        max_members=sources.choose(keys.LIMIT_MEMBERS).value,
        max_ratio=sources.choose(keys.LIMIT_RATIO).value,
    )
    return _together(sources, value, "limits.")


def limits_given(flags: Mapping[str, object], environ: Mapping[str, str]) -> Allowed:
    """Where there is no project: what flags and environment say. Raises :class:`ConfigError`."""
    return _limits(read_given(flags, environ)).value


def _building(sources: Sources) -> Chosen[Building]:
    choose = sources.choose
    value = Building(
        sources=choose(keys.BUILD_SOURCES).value,
        packages=choose(keys.BUILD_PACKAGES).value,
        constraints=choose(keys.BUILD_CONSTRAINTS).value,
        timeout=choose(keys.BUILD_TIMEOUT).value,
    )
    return _together(sources, value, "build.")


def engine_given(environ: Mapping[str, str]) -> str | None:
    """As :func:`limits_given`."""
    return read_given({}, environ).choose(keys.ENGINE).value


def _together(sources: Sources, value: T, prefix: str) -> Chosen[T]:
    """A value of several keys: the strongest origin, and the reason of each that was set."""
    chosen = [sources.choose(key) for key in keys.KEYS if key.path.startswith(prefix)]
    given = [part for part in chosen if part.origin is not Origin.DEFAULT]
    if not given:
        return Chosen(value, Origin.DEFAULT, Text("the default"))
    strongest = min((part.origin for part in given), key=_STRENGTH.index)
    reasons = "; ".join(dict.fromkeys(str(part.reason) for part in given))
    return Chosen(value, strongest, Text("{reasons}", reasons=reasons))

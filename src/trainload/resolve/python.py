"""Locks the Python part: asks uv, or takes over the lock the user has, and never mixes the two."""

from __future__ import annotations

from collections.abc import Sequence

from trainload.errors import LockError, Problems
from trainload.lock.adopt import Adopted, adopt
from trainload.lock.merge import merge
from trainload.lock.model import PythonPackage
from trainload.lock.toml import dumps
from trainload.platform import Platform
from trainload.project.model import (
    CondaFile,
    CondaLockFile,
    DockerfileInput,
    NoDependencies,
    PylockFile,
    PyprojectDependencies,
    RequirementFiles,
    UvLock,
)
from trainload.resolve.question import Question
from trainload.resolve.request import OF_THE_INDEX, PythonRequest, find_links, read_lock_file, wanted
from trainload.resolve.sources import Examiner, Leave
from trainload.resolve.uv import Uv, explain
from trainload.system import scratch
from trainload.values import replace


def resolve_python(request: PythonRequest, uv: Uv, examiner: Examiner | None = None) -> Adopted:
    """The exact Python packages for every target. ``examiner``: sources may be taken, and what it says is believed.

    Raises :class:`LockError` with uv's reason in our words, or naming every package that is not locked to bytes.
    """
    match request.dependencies:
        case NoDependencies() | DockerfileInput():
            return Adopted((), {})
        case CondaLockFile():
            return Adopted(request.taken, {})
        case CondaFile():
            return _pip_section(request, request.dependencies, uv, examiner)
        case PylockFile(path=path, extras=extras, groups=groups):
            asks = replace(wanted(request), extras=extras, groups=groups or None)
            return adopt(read_lock_file(request.root / path), path, asks)
        case UvLock():
            return _export(request, request.dependencies, uv)
        case RequirementFiles() | PyprojectDependencies():
            return _compile(request, uv, examiner)


def _pip_section(request: PythonRequest, value: CondaFile, uv: Uv, examiner: Examiner | None) -> Adopted:
    """What the ``pip:`` section of an environment means beside its conda packages (``request.provided``)."""
    if not value.pip and not request.own:
        return Adopted((), {})
    with scratch.folder("pip") as folder:
        own = tuple(each.line for each in request.own)
        files = {"requirements.txt": (*value.index_options, *value.pip, *own), "constraints.txt": value.constraints}
        for name, lines in files.items():
            (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        asked = replace(
            request,
            dependencies=RequirementFiles((str(folder / "requirements.txt"),)),
            constraints=(str(folder / "constraints.txt"),),
            find_links=find_links(request),
        )
        return _compile(asked, uv, examiner)


def _export(request: PythonRequest, lock: UvLock, uv: Uv) -> Adopted:
    """``uv.lock`` as it stands: exported, not resolved."""
    arguments = ["--format", "pylock.toml", "--frozen", "--no-emit-project", "--no-dev", "--no-header"]
    arguments += [f"--extra={extra}" for extra in lock.extras] + [f"--group={group}" for group in lock.groups]
    done = uv.run("export", arguments, (request.root / lock.path).parent)
    if done.exit_code != 0:
        raise explain(done)
    return adopt(done.stdout, lock.path, wanted(request))


def resolve_tools(
    request: PythonRequest,
    uv: Uv,
    requires: Sequence[str],
    kept: Sequence[PythonPackage],
) -> tuple[PythonPackage, ...]:
    """What builds an sdist: wheels that fulfil ``requires`` on every target. Raises :class:`LockError`."""
    previous = replace(request.previous, packages=tuple(kept)) if request.previous is not None else None
    return resolve_beside(replace(request, previous=previous), uv, requires, request.build_constraints)


def resolve_beside(
    request: PythonRequest, uv: Uv, requires: Sequence[str], bounds: Sequence[str]
) -> tuple[PythonPackage, ...]:
    """Wheels that fulfil ``requires`` on every target, beside what the project itself asks for.

    ``bounds``: requirements (PEP 508) that hold for what is taken. Raises :class:`LockError`.
    """
    with scratch.folder("tools") as folder:
        for name, lines in {"requirements.txt": requires, "constraints.txt": bounds}.items():
            (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        asked = replace(
            request,
            dependencies=RequirementFiles((str(folder / "requirements.txt"),)),
            constraints=(str(folder / "constraints.txt"),),
            accelerator=OF_THE_INDEX,
            find_links=find_links(request),
        )
        found = _compile(asked, uv, None)
    problems = Problems([error for errors in found.misfits.values() for error in errors])
    problems.check()
    return found.packages


def _compile(request: PythonRequest, uv: Uv, examiner: Examiner | None) -> Adopted:
    """Every platform in one resolution; one by one when that leaves some platform without a wheel it can take.

    Also one by one where a base image has not the same on all platforms, and at once where there is but one:
    an answer for every system and Python takes longer, and folders of wheels for one of them have none.
    """
    with scratch.folder("lock") as folder:
        output = folder / "pylock.resolved.toml"
        if request.previous is not None and not request.upgrade.everything:
            output.write_bytes(dumps(request.previous))
        question = Question(request, uv, output, examiner)
        if not request.provided.is_same():
            return _one_by_one(question, Leave())
        if len(request.targets) == 1 and (alone := _alone(question)) is not None:
            return alone
        together, leave = question.answer(Leave())
        if not together.misfits:
            return together
        try:
            apart = _one_by_one(question, leave)
        except LockError:
            return together
        return together if apart.misfits else apart


def _alone(question: Question) -> Adopted | None:
    """The answer for the one platform there is; None: there is none, and the common one may say better why."""
    before = question.output.read_bytes() if question.output.exists() else None
    try:
        found = replace(question, alone=True).answer(Leave())[0]
    except LockError as error:
        if error.retryable:
            raise
        found = None
    if found is not None and not found.misfits:
        return found
    if before is None:
        question.output.unlink(missing_ok=True)
    else:
        question.output.write_bytes(before)
    return None


def _one_by_one(question: Question, leave: Leave) -> Adopted:
    """A resolution for each platform, put together; what the last one left is preferred by each."""
    output = question.output
    common = output.read_bytes() if output.exists() else None
    parts: dict[Platform, Adopted] = {}
    for target in question.request.targets:
        if common is None:
            output.unlink(missing_ok=True)
        else:
            output.write_bytes(common)
        alone = replace(question, request=replace(question.request, targets=(target,)), alone=True)
        parts[target.platform] = alone.settled(leave)[0]
    return Adopted(
        merge({platform: part.packages for platform, part in parts.items()}),
        {platform: errors for part in parts.values() for platform, errors in part.misfits.items()},
        {file: hashes for part in parts.values() for file, hashes in part.unhashed.items()},
    )

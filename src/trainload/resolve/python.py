"""Locks the Python part: asks uv, or takes over the lock the user has, and never mixes the two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from trainload.errors import LockError, Problems
from trainload.lock.adopt import Adopted, adopt
from trainload.lock.merge import merge
from trainload.lock.model import PythonPackage
from trainload.lock.toml import dumps
from trainload.platform import Platform
from trainload.project.model import (
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


def resolve_python(request: PythonRequest, uv: Uv, examiner: Examiner | None = None) -> Adopted:
    """The exact Python packages for every target. ``examiner``: sources may be taken, and what it says is believed.

    Raises :class:`LockError` with uv's reason in our words, or naming every package that is not locked to bytes.
    """
    match request.dependencies:
        case NoDependencies():
            return Adopted((), {})
        case PylockFile(path=path, extras=extras, groups=groups):
            asks = replace(wanted(request), extras=extras, groups=groups or None)
            return adopt(read_lock_file(request.root / path), path, asks)
        case UvLock():
            return _export(request, request.dependencies, uv)
        case RequirementFiles() | PyprojectDependencies():
            return _compile(request, uv, examiner)


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
    with scratch.folder("tools") as folder:
        lines = [f"{line}\n" for line in requires]
        (folder / "requirements.txt").write_text("".join(lines), encoding="utf-8")
        bounds = "".join(f"{line}\n" for line in request.build_constraints)
        (folder / "constraints.txt").write_text(bounds, encoding="utf-8")
        asked = replace(
            request,
            dependencies=RequirementFiles((str(folder / "requirements.txt"),)),
            constraints=(str(folder / "constraints.txt"),),
            accelerator=OF_THE_INDEX,
            find_links=find_links(request),
            previous=replace(request.previous, packages=tuple(kept)) if request.previous is not None else None,
        )
        found = _compile(asked, uv, None)
    problems = Problems([error for errors in found.misfits.values() for error in errors])
    problems.check()
    return found.packages


def _compile(request: PythonRequest, uv: Uv, examiner: Examiner | None) -> Adopted:
    """Every platform in one resolution; one by one when that leaves some platform without a wheel it can take."""
    with scratch.folder("lock") as folder:
        output = folder / "pylock.resolved.toml"
        if request.previous is not None and not request.upgrade.everything:
            output.write_bytes(dumps(request.previous))
        question = Question(request, uv, output, examiner)
        together, leave = question.answer(Leave())
        if not together.misfits:
            return together
        common = output.read_bytes()
        parts: dict[Platform, tuple[PythonPackage, ...]] = {}
        unhashed = dict(together.unhashed)
        for target in request.targets:
            output.write_bytes(common)
            alone = Question(replace(request, targets=(target,)), uv, output, examiner, alone=True)
            try:
                part = alone.settled(leave)[0]
            except LockError:
                return together
            if part.misfits:
                return together
            parts[target.platform] = part.packages
            unhashed.update(part.unhashed)
        return Adopted(merge(parts), {}, unhashed)

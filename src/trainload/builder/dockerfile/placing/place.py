"""The steps of one RUN line over what lies below: layers, or why the line has to be run after all."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trainload.builder.dockerfile.bench import Bench
from trainload.builder.dockerfile.ground import Ground
from trainload.builder.dockerfile.placing import accounts, debian, files, pipconf
from trainload.builder.dockerfile.placing.archives import check_added
from trainload.builder.dockerfile.placing.draft import Draft
from trainload.builder.dockerfile.placing.interpreter import Caller
from trainload.builder.dockerfile.placing.mounted import Mounted, shown_of, with_mounts
from trainload.dockerfile.installs import (
    CreateCondaEnvironment,
    InstallConda,
    InstallPoetry,
    InstallPython,
    SyncProject,
)
from trainload.dockerfile.steps import (
    HAS_PROGRAM,
    AddArchive,
    AddGroup,
    AddUser,
    ChangeMode,
    ChangeOwner,
    ChangeUser,
    Clear,
    EditFile,
    FetchWeights,
    InstallDistribution,
    Link,
    MakeFolder,
    Nothing,
    PlacedStep,
    Remove,
    RunProgram,
    SetPip,
    UpdateDistribution,
    UpgradeDistribution,
    Within,
    WriteFile,
)
from trainload.dockerfile.understand import poetry
from trainload.dockerfile.understand.parts import Beyond
from trainload.dockerfile.understood import Opaque, RunLine
from trainload.errors import Place, Text
from trainload.layers.tarread import MemberKind
from trainload.lock.model import File
from trainload.plan.model import Kind, PlannedLayer
from trainload.values import dataclass, field, replace

_DRAWN: Mapping[type, Callable[[Any, Draft], None]] = {
    AddUser: lambda step, draft: (debian if step.debian else accounts).add_user(step, draft),
    AddGroup: lambda step, draft: (debian if step.debian else accounts).add_group(step, draft),
    ChangeUser: lambda step, draft: (debian if step.debian else accounts).change_user(step, draft),
    Link: files.link,
    MakeFolder: files.make_folder,
    ChangeMode: files.change_mode,
    ChangeOwner: files.change_owner,
    Clear: files.clear,
    Remove: files.remove,
    WriteFile: files.write_file,
    EditFile: files.edit_file,
    SetPip: pipconf.set_pip,
    AddArchive: lambda step, draft: check_added(step.archive, draft.ground),
}
_OF_FILES = (*_DRAWN, Nothing, UpdateDistribution)
_WHY = Text("what the line changes is known")
_OFFLINE = Text("a project that pip cannot build offline from what is locked")
_TITLE = 200


@dataclass(frozen=True, slots=True)
class Placed:
    """What the first steps of a line leave."""

    layers: tuple[PlannedLayer, ...]
    rest: tuple[PlacedStep, ...] = ()
    """Steps that need to see those layers: they are placed over them."""
    files: tuple[File, ...] = ()
    """What a layer that is run is given."""
    fails: Text | None = None
    """Why the line is run where these layers cannot be made: as it stands it may do more."""
    shown: Mapping[str, bytes] = field(default_factory=dict)
    """Files of the context that a layer that is run sees, by path."""


def place(
    steps: Sequence[PlacedStep],
    literal: Sequence[str],
    line: RunLine,
    ground: Ground,
    bench: Bench,
    where: Place,
) -> Placed | Opaque:
    """The layers of as many of ``steps`` as can be told now.

    Raises :class:`LockError` when the lock may not change, :class:`FetchError` for what cannot be reached.
    """
    try:
        _check_literal(literal, ground)
        ground = with_mounts(line, ground, bench, where)
        entered, steps = _entered(steps)
        here = line
        for within in entered:
            here = _inside(within, line, ground)
        found = _placed(steps, here, ground, bench, where)
    except Beyond as beyond:
        return Opaque(beyond.reason)
    later = found.rest and entered and not isinstance(found.rest[0], Within)
    return replace(found, rest=(entered[-1], *found.rest)) if later else found


def _entered(steps: Sequence[PlacedStep]) -> tuple[list[Within], tuple[PlacedStep, ...]]:
    """What holds for the first step that does something, the last of it; and the steps without that."""
    within: list[Within] = []
    kept: list[PlacedStep] = []
    for number, step in enumerate(steps):
        if isinstance(step, Within):
            within.append(step)
        elif isinstance(step, Nothing | UpdateDistribution | AddArchive):
            kept.append(step)
        else:
            return within, (*kept, *steps[number:])
    return within, tuple(kept)


def _inside(within: Within, line: RunLine, ground: Ground) -> RunLine:
    """``line`` as the shell has it there. Raises :class:`Beyond` where it would not get there."""
    if within.home is not None and within.home != accounts.home_of("root", Draft(ground)):
        raise Beyond(Text("a home folder that is written as ~"))
    if within.venv is not None:
        text = (ground.read(f"{within.venv}/bin/activate".strip("/")) or b"").decode("utf-8", "replace")
        if not re.search(rf"^\s*(?:export )?VIRTUAL_ENV=(['\"]?){re.escape(within.venv)}\1$", text, re.MULTILINE):
            raise Beyond(Text("{path}, which is not as usual", path=f"{within.venv}/bin/activate"))
    if within.folder is None:
        return replace(line, env={**line.env, **dict(within.env)})
    path = within.folder.strip("/")
    seen = ground.find(path)
    if seen is None or ground.real(path) != path or seen.kind is not MemberKind.DIRECTORY:
        raise Beyond(Text("the folder {path}, which is not there", path=within.folder))
    if line.user and not seen.mode & 1:
        raise Beyond(Text("the folder {path}, which not everybody may enter", path=within.folder))
    return replace(line, env={**line.env, **dict(within.env)}, workdir=within.folder)


def _placed(steps: Sequence[PlacedStep], line: RunLine, ground: Ground, bench: Bench, where: Place) -> Placed:
    """Raises :class:`Beyond`, and as :func:`place`."""
    first, rest = _first(steps)
    for step in steps[: len(steps) - len(rest)]:
        if isinstance(step, AddArchive):
            check_added(step.archive, ground)
    if isinstance(first, InstallPython):
        from trainload.builder.dockerfile.placing.projects import place_projects, projects_of
        from trainload.builder.dockerfile.placing.wheels import place_python

        projects = projects_of(first, ground, line.workdir)
        if projects:
            if isinstance(ground, Mounted):
                raise Beyond(Text("a mount of type {kind}", kind="bind"))
            built = place_projects(first, projects, ground, bench, _caller(line, ground), line)
            later = replace(first, projects=(), required=projects)
            return Placed(built.layers, (later, *rest), built.files, _OFFLINE)
        return Placed(place_python(first, ground, bench, _active(first, line, ground), where), rest)
    if isinstance(first, SyncProject):
        from trainload.builder.dockerfile.placing.synced import FAILS, place_sync

        synced = place_sync(first, ground, bench, _caller(line, ground), line)
        left = (synced.rest,) if synced.rest is not None else ()
        return Placed(synced.layers, (*left, *rest), synced.files, FAILS, shown_of(ground))
    if isinstance(first, InstallPoetry):
        from trainload.builder.dockerfile.placing.poetry import place_poetry

        laid, after = place_poetry(first, ground, bench, _caller(line, ground), line)
        return Placed(laid, (*((after,) if after is not None else ()), *rest), (), poetry.FAILS)
    if isinstance(first, InstallConda | CreateCondaEnvironment):
        from trainload.builder.dockerfile.placing.conda import place_conda

        layers, more = place_conda(first, ground, bench, _caller(line, ground))
        return Placed(layers, (*more, *rest))
    if isinstance(first, InstallDistribution):
        from trainload.builder.dockerfile.placing.packages import place_packages

        packages = place_packages(first, line, ground, bench)
        return Placed(packages.layers, rest, packages.files)
    if isinstance(first, UpgradeDistribution):
        from trainload.builder.dockerfile.placing.packages import place_upgrade

        packages = place_upgrade(first, line, ground, bench)
        return Placed(packages.layers, rest, packages.files)
    if isinstance(first, FetchWeights):
        from trainload.builder.dockerfile.placing.fetched import place_weights

        return Placed(place_weights(first, ground, bench, _caller(line, ground)), rest)
    if isinstance(first, RunProgram):
        return _alone(first, rest, line, ground)
    return _drawn(steps, line, ground)


def _drawn(steps: Sequence[PlacedStep], line: RunLine, ground: Ground) -> Placed:
    """The steps of files that follow each other, as one layer. Raises :class:`Beyond` when the first is none."""
    draft = Draft(ground)
    count = 0
    while count < len(steps) and isinstance(step := steps[count], _OF_FILES):
        before = dict(draft.changed)
        try:
            _draw(step, draft)
        except Beyond:
            if not isinstance(step, HAS_PROGRAM) or step.program is None:
                raise
            draft.changed = before
            steps = (*steps[:count], step.program, *steps[count + 1 :])
            break
        count += 1
    if not count and steps and isinstance(steps[0], RunProgram):
        return _alone(steps[0], steps[1:], line, draft.ground)
    if not count and steps:
        raise Beyond(Text("a step that is not placed yet"))
    recipe = draft.recipe()
    title = " ".join((line.script or " ".join(line.argv)).split())[:_TITLE]
    made = () if recipe is None else (PlannedLayer(Kind.COPIED, title, recipe, None, _WHY),)
    return Placed(made, tuple(steps[count:]))


def _alone(step: RunProgram, rest: Sequence[PlacedStep], line: RunLine, ground: Ground) -> Placed:
    from trainload.builder.dockerfile.placing.aided import program

    made = program(step, line, ground)
    return Placed(made.layers, tuple(rest), made.files, fails=step.fails)


def _first(steps: Sequence[PlacedStep]) -> tuple[PlacedStep | None, tuple[PlacedStep, ...]]:
    """The first step that does something, and those after it."""
    for number, step in enumerate(steps):
        if not isinstance(step, Nothing | UpdateDistribution | AddArchive):
            return step, tuple(steps[number + 1 :])
    return None, ()


def _draw(step: PlacedStep, draft: Draft) -> None:
    """What changes nothing that stays is not drawn."""
    draw = _DRAWN.get(type(step))
    if draw is not None:
        draw(step, draft)


def _check_literal(patterns: Sequence[str], ground: Ground) -> None:
    for path in patterns:
        folder, _, pattern = path.rpartition("/")
        if any(fnmatch.fnmatchcase(name, pattern) for name in ground.folder(folder)):
            text = Text("the pattern {pattern}, which files in {folder} fit", pattern=pattern, folder=folder or "/")
            raise Beyond(text)


def _active(step: InstallPython, line: RunLine, ground: Ground) -> Caller:
    """The caller in the environment that is active for the step."""
    caller = _caller(line, ground)
    if step.active is None:
        return caller
    from trainload.builder.dockerfile.placing.condahome import activated

    return replace(caller, env=activated(step.active, ground, caller))


def _caller(line: RunLine, ground: Ground) -> Caller:
    user, _, group = line.user.partition(":")
    draft = Draft(ground)
    uid, gid = accounts.user_ids(user, draft) if user else (0, 0)
    home = line.env.get("HOME") or accounts.home_of(user or "root", draft)
    if group:
        gid = accounts.group_id(group, draft)
    return Caller(line.env, uid, gid or 0, home)

"""``conda install``, ``conda create``, ``conda env create -f`` as layers: packages linked into their prefix.

What is chosen is what rattler's solver chooses for the image, with what is installed there and how its conda is
configured; nothing of a package runs. Where packages have scripts that conda would run, the line is run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from trainload.builder.dockerfile.bench import Bench
from trainload.builder.dockerfile.ground import Ground
from trainload.builder.dockerfile.placing.condaask import Answer, Ask, answer
from trainload.builder.dockerfile.placing.condahome import (
    HISTORY,
    Configured,
    Prefix,
    configured,
    family,
    find_prefix,
)
from trainload.builder.dockerfile.placing.condalists import specs_of
from trainload.builder.dockerfile.placing.condanotes import notes
from trainload.builder.dockerfile.placing.draft import Draft
from trainload.builder.dockerfile.placing.interpreter import Caller
from trainload.dockerfile.installs import CreateCondaEnvironment, InstallConda, InstallPython
from trainload.dockerfile.steps import PlacedStep
from trainload.dockerfile.understand.parts import Beyond
from trainload.dockerfile.understand.pip import read_pip
from trainload.errors import ConfigError, ManyErrors, Text
from trainload.layers.tarread import MemberKind
from trainload.plan.conda import package_layer
from trainload.plan.model import CondaRecipe, Kind, PlannedLayer, PrefixCondaRecipe
from trainload.plan.order import group
from trainload.plan.placed import Below
from trainload.project.conda.environment import parse_environment
from trainload.project.model import Origin
from trainload.values import dataclass, replace

_WHY = Text("its packages are placed where conda would link them")
_LAYERS = 30
"""Most layers of one line: others follow it."""
_ODD = 2000
"""Folders of an image that do not look like ours; more of them are another kind of prefix."""
_OPTION = re.compile(r"(-[a-z]|--[a-z-]+)(?:[ =]+(\S+))?")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a line asks for, whichever way it says it."""

    specs: tuple[str, ...]
    channels: tuple[str, ...]
    alone: bool
    """No channels of the configuration count."""
    pip: InstallPython | None = None
    variables: tuple[tuple[str, str], ...] = ()


def place_conda(
    step: InstallConda | CreateCondaEnvironment, ground: Ground, bench: Bench, caller: Caller
) -> tuple[tuple[PlannedLayer, ...], tuple[PlacedStep, ...]]:
    """The layers that ``step`` leaves, and what is to be placed over them.

    Raises :class:`Beyond` where conda would do something else than link packages, :class:`LockError` when the lock
    may not change or a channel cannot be read.
    """
    prefix, wishes = _wished(step, ground, caller)
    creates = step.creates if isinstance(step, InstallConda) else not step.update
    if creates == prefix.exists and not (creates and _is_empty(prefix, ground)):
        name = f"/{prefix.path}"
        if creates:
            raise Beyond(Text("the environment {name}, which is there already", name=name))
        raise Beyond(Text("the environment {name}, which is not there", name=name))
    tool = family(step.tool)
    found = configured(step.tool, prefix, ground, caller)
    if isinstance(step, InstallConda) and step.priority is not None:
        found = replace(found, priority=step.priority)
    asked = Ask(
        tool, _verb(step), prefix, wishes.specs, _channels(wishes, found, tool, bench), found,
        caller.env.get("CONDA_OVERRIDE_CUDA", ""),
    )  # fmt: skip
    _check_owner(prefix, ground, caller)
    answered = answer(asked, ground, bench) if wishes.specs else Answer((), "", "", ())
    if answered.scripts:
        raise Beyond(Text("the scripts of {package}, which conda runs", package=answered.scripts[0]))
    _check_python(asked, answered)
    below = _below(prefix, ground, caller)
    removed = _removed(answered, prefix, ground)
    noted = notes(asked, answered, wishes.variables, ground, caller)
    layers = (*removed, *_layers(answered, prefix, below, caller), noted)
    return layers, () if wishes.pip is None else (wishes.pip,)


def _verb(step: InstallConda | CreateCondaEnvironment) -> str:
    if isinstance(step, CreateCondaEnvironment):
        return f"{family(step.tool)} env {'update' if step.update else 'create'}"
    return f"{family(step.tool)} {'create' if step.creates else 'install'}"


def _is_empty(prefix: Prefix, ground: Ground) -> bool:
    """micromamba's own image has an empty base, which ``create`` may fill."""
    return not prefix.there and ground.find(f"{prefix.path}/{HISTORY}") is None


def _wished(step: InstallConda | CreateCondaEnvironment, ground: Ground, caller: Caller) -> tuple[Prefix, Wishes]:
    if isinstance(step, InstallConda):
        prefix = find_prefix(step.tool, step.environment, ground, caller.env)
        listed = (spec for file in step.files for spec in specs_of(file, ground, family(step.tool)))
        return prefix, Wishes((*step.specs, *listed), step.channels, step.override)
    data = ground.read(step.file)
    if data is None:
        raise Beyond(Text("the file {path}, which is not there", path=step.file))
    try:
        parsed = parse_environment(data, step.file)
    except (ConfigError, ManyErrors) as error:
        raise Beyond(Text("{reason}", reason=str(error).splitlines()[0])) from error
    name = step.environment or parsed.file.name
    if not name:
        raise Beyond(Text("an environment without a name"))
    prefix = find_prefix(step.tool, name, ground, caller.env)
    if parsed.file.variables and family(step.tool) == "micromamba":
        raise Beyond(Text("{path} has {line}", path=step.file, line="variables"))
    specs = parsed.file.specs
    pip = _pip([line for _, line in parsed.pip], step.file, prefix, caller.env)
    names = {re.split(r"[=<>!~ \[]", spec.rpartition("::")[2], maxsplit=1)[0] for spec in specs}
    if pip is not None and "pip" not in names:
        specs = (*specs, "pip")
    alone = parsed.nodefaults or family(step.tool) == "micromamba"
    channels = (*step.channels, *parsed.file.channels)
    return prefix, Wishes(specs, channels, alone and bool(channels), pip, parsed.file.variables)


def _pip(lines: Sequence[str], file: str, prefix: Prefix, env: Mapping[str, str]) -> InstallPython | None:
    """As conda calls it: ``pip install -U -r`` in the file's own folder."""
    if not lines:
        return None
    words = [f"/{prefix.path}/bin/python", "-m", "pip", "install", "-U"]
    for line in lines:
        option = _OPTION.fullmatch(line)
        words += [line] if option is None else [word for word in option.groups() if word]
    found = read_pip(words, env, file.rpartition("/")[0] or "/")
    assert isinstance(found[0], InstallPython)
    return found[0]


def _channels(wishes: Wishes, found: Configured, tool: str, bench: Bench) -> tuple[str, ...]:
    """The line's channels first, then those of conda's configuration, which is ``defaults`` where it has none."""
    if wishes.alone and wishes.channels:
        return wishes.channels
    setting = bench.settings.conda
    ours = setting.value.channels if setting.origin is not Origin.DEFAULT else ()
    more = found.channels or ours
    if not more and tool == "micromamba" and not wishes.channels:
        raise Beyond(Text("a {program} without channels", program=tool))
    if not more and tool != "micromamba":
        more = ("defaults",)
    own = found.default_channels
    joined = dict.fromkeys((*wishes.channels, *more))
    return tuple(part for name in joined for part in (own if name == "defaults" and own is not None else (name,)))


def _check_owner(prefix: Prefix, ground: Ground, caller: Caller) -> None:
    """conda falls back to a folder of the user's own where it may not write."""
    if caller.uid == 0:
        return
    path = prefix.path if prefix.exists else prefix.path.rpartition("/")[0]
    while path and ground.find(path) is None:
        path = path.rpartition("/")[0]
    seen = ground.find(path)
    if seen is None or seen.owner.uid != caller.uid:
        raise Beyond(Text("the user {user}, who is not root", user=caller.uid))


def _check_python(asked: Ask, answered: Answer) -> None:
    """Another minor version moves every ``noarch`` package."""
    old = next((each.version for each in asked.prefix.there if each.name == "python"), None)
    if old is not None and old.split(".")[:2] != answered.python.split(".")[:2] and answered.packages:
        raise Beyond(Text("another Python than {version}, which is there", version=old))


def _below(prefix: Prefix, ground: Ground, caller: Caller) -> tuple[Below, ...]:
    """Folders above and in the prefix that do not look as ours would, and links to folders."""
    found: list[Below] = []
    parts = prefix.path.split("/")
    above = {"/".join(parts[:count]) for count in range(1, len(parts))}
    start = f"{prefix.path}/"
    for path in sorted({*above, *(path for path in ground.nodes if path.startswith(start) or path == prefix.path)}):
        seen = ground.nodes.get(path)
        owner = (0, 0) if path in above else (caller.uid, caller.gid)
        if seen is not None and seen.kind is MemberKind.SYMLINK:
            real = ground.real(path)
            led = ground.at(real)
            if led is not None and led.kind is MemberKind.DIRECTORY:
                found.append(Below(path, target=real))
        elif seen is not None and seen.kind is MemberKind.DIRECTORY:
            looks = seen.mode & 0o7777, seen.owner.uid, seen.owner.gid
            if looks != (0o755, *owner):
                found.append(Below(path, *looks))
    if len(found) > _ODD:
        raise Beyond(Text("a prefix whose folders are not as usual"))
    return tuple(found)


def _removed(answered: Answer, prefix: Prefix, ground: Ground) -> tuple[PlannedLayer, ...]:
    """What packages that are replaced have, as their records list it."""
    names = [package.name for package in answered.packages if package.name in prefix.documents]
    if not names:
        return ()
    draft = Draft(ground)
    documents = ground.read_all([prefix.documents[name] for name in names])
    for name in names:
        path = prefix.documents[name]
        try:
            files = json.loads(documents[path])["files"]
        except (KeyError, ValueError, TypeError):
            raise Beyond(Text("{file}, which is not as usual", file=f"/{path}")) from None
        for file in [*(f"{prefix.path}/{each}" for each in files), path]:
            if ".." not in file.split("/") and ground.at(file) is not None:
                draft.remove(file)
    recipe = draft.recipe()
    title = f"without the older {', '.join(names)}"[:200]
    return () if recipe is None else (PlannedLayer(Kind.CONDA, title, recipe, None, _WHY),)


def _layers(answered: Answer, prefix: Prefix, below: tuple[Below, ...], caller: Caller) -> tuple[PlannedLayer, ...]:
    if not answered.packages:
        return ()
    grouping = group(answered.packages, _LAYERS)
    groups = [*([package] for package in grouping.own), *grouping.together]
    found = []
    for each in groups:
        planned = package_layer(each, answered.site_packages, answered.python, _WHY)
        recipe = planned.recipe
        assert isinstance(recipe, CondaRecipe)
        recipe = replace(recipe, prefix=f"/{prefix.path}")
        if below or caller.uid or caller.gid:
            recipe = PrefixCondaRecipe(
                recipe.packages, recipe.site_packages, recipe.python, recipe.prefix, uid=caller.uid, gid=caller.gid,
                below=below,
            )  # fmt: skip
        found.append(replace(planned, recipe=recipe))
    return tuple(found)

"""A whole Dockerfile: the stages that the wanted one needs, each after those it takes something from."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from trainload.builder.dockerfile.bench import Bench, Wanted
from trainload.builder.dockerfile.origins import Built
from trainload.builder.dockerfile.stage import build_stage
from trainload.builder.workshop import MadeLayer
from trainload.dockerfile.model import Add, Cmd, Copy, Entrypoint, Run, Words
from trainload.dockerfile.parse import LONGEST, parse
from trainload.dockerfile.stages import Staged, find_stages, undeclared
from trainload.errors import ConfigError, Place, PlanError, Problems, Text, TrainloadError
from trainload.plan.model import Plan
from trainload.plan.order import MOST_LAYERS
from trainload.platform import Platform
from trainload.tree import Tree
from trainload.values import dataclass

_MOST_TOLD = 10
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*://|git@|.*\.git(?:#.*)?$")
"""Sources of ADD that are no files of the context."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The wanted stage, made."""

    plan: Plan
    layers: tuple[MadeLayer, ...]


def lock_name(file: str) -> str:
    """The lock beside a Dockerfile."""
    return f"{file}.lock"


def stages_of(tree: Tree, wanted: Wanted, platform: Platform) -> Staged:
    """The file, parsed, and its stages. Raises :class:`ConfigError` with lines."""
    name = posixpath.normpath(wanted.file)
    try:
        data = tree.read(name, limit=LONGEST)
    except ConfigError as error:
        here = (one.path for one in tree.walk(lambda _: False))
        others = [path for path in here if re.search("(?i)(docker|container)file", path)]
        error.hints = (*error.hints, *(Text("there is {file}: -f {file}", file=one) for one in others[:3]))
        raise
    return find_stages(parse(data, name), wanted.arguments, platform, wanted.target)


def build_file(bench: Bench, staged: Staged, name: str) -> Finished:
    """Every layer of the wanted stage, in order. Call it inside ``store.writing()``."""
    target = staged.target(bench.wanted.target)
    _check_sources(bench, staged, target)
    done: dict[int, Built] = {}
    for stage in staged.needed(target):
        try:
            done[stage.number] = build_stage(bench, staged, stage, done)
        except TrainloadError as error:
            error.hints = (*misspelt(staged, error.place), *error.hints)
            raise
    last = done[target]
    layers = last.layers if last.shop.lazy else last.shop.bring(last.layers)
    if len(layers) > MOST_LAYERS:
        raise PlanError(
            Text("the image would have {count} layers", count=len(layers)), want=f"at most {MOST_LAYERS}",
            hints=[Text("join RUN lines with &&, or COPY several files at once")],
        )  # fmt: skip
    warnings = dict.fromkeys(warning for stage in done.values() for warning in stage.warnings)
    plan = Plan(
        name=name,
        platform=last.stage.platform,
        layers=tuple(made.planned for made in layers),
        config=last.config,
        warnings=(*general_warnings(staged), *warnings, *_secrets(bench), *_ballast(bench)),
        base=last.base,
    )
    return Finished(plan, layers)


def misspelt(staged: Staged, place: Place | None) -> Iterator[Text]:
    """The stage that the line at ``place`` may have meant, whose ``--from`` or FROM is no stage and no image."""
    from difflib import get_close_matches

    if place is None or place.file != staged.file.name:
        return
    stages = {stage.name: stage.line for stage in staged.stages if stage.name}
    for item in staged.file.instructions:
        name = getattr(item.what, "from_", None) or getattr(item.what, "image", None)
        if item.line == place.line and isinstance(name, str) and name.lower() not in stages:
            near = get_close_matches(name, [one for one, line in stages.items() if line < item.line], n=1)
            yield from (Text("did you mean the stage {name}?", name=one) for one in near)


def _check_sources(bench: Bench, staged: Staged, target: int) -> None:
    """What COPY takes from the context is there: told before a base is fetched or a line is run.

    Sources with variables are looked at when their values are known. Raises :class:`ConfigError`, all at once.
    """
    problems = Problems()
    for stage in staged.needed(target):
        for item in stage.instructions:
            what = item.what.copy if isinstance(item.what, Add) else item.what
            if not isinstance(what, Copy) or what.from_ is not None:
                continue
            for source in bench.context.wanted(what.sources, deep=what.parents):
                if "$" in source or _ELSEWHERE.match(source):
                    continue
                try:
                    bench.context.check(source, Place(staged.file.name, line=item.line), deep=what.parents)
                except ConfigError as error:
                    problems.add(error)
    problems.check()


def _secrets(bench: Bench) -> Iterator[Text]:
    """Docker copies them too; but never in silence (THREATS P08)."""
    for path, kind in sorted(bench.context.secrets.items())[:_MOST_TOLD]:
        yield Text(
            "{path} looks like a secret ({rule}) and goes into the image; name it in .dockerignore", path=path,
            rule=kind,
        )  # fmt: skip


def _ballast(bench: Bench) -> Iterator[Text]:
    """What ``COPY . .`` takes by mistake more often than on purpose, known by a file in it."""
    for path in sorted(bench.context.taken):
        folder, _, name = path.rpartition("/")
        if name == "pyvenv.cfg" or (name == "HEAD" and f"/{folder}".endswith("/.git")):
            text = "{path} goes into the image, where nothing needs it; name it in .dockerignore"
            yield Text(text, path=f"{folder}/" if folder else path)


def look_at(bench: Bench, staged: Staged) -> tuple[Built, ...]:
    """The stages that are needed, nothing made: what becomes of each line, and which layers there are already."""
    done: dict[int, Built] = {}
    target = staged.target(bench.wanted.target)
    _check_sources(bench, staged, target)
    for stage in staged.needed(target):
        done[stage.number] = build_stage(bench, staged, stage, done, dry=True)
    return tuple(done.values())


def general_warnings(staged: Staged) -> tuple[Text, ...]:
    """What is to be told of the file as a whole."""
    found = []
    if staged.file.syntax is not None and not staged.file.syntax.startswith("docker/dockerfile"):
        found.append(
            Text(
                "{file}: # syntax={frontend} names a program that Docker would fetch and run; it is not used here",
                file=staged.file.name, frontend=staged.file.syntax,
            )
        )  # fmt: skip
    found += [
        Text("{place}: {text} is no JSON list (its strings stand in double quotes), so a shell gets it as it is",
             place=Place(staged.file.name, line=item.line), text=item.text)
        for stage in staged.stages
        for item in stage.instructions
        if isinstance(item.what, Cmd | Entrypoint | Run) and _looks_like_list(item.what.command)
    ]  # fmt: skip
    found += [
        Text("--build-arg {name} does nothing: no ARG of the file has this name", name=name)
        for name in undeclared(staged)
    ]
    return tuple(found)


def _looks_like_list(command: Words) -> bool:
    first = command.words[0] if command.words else ""  # ENTRYPOINT alone resets the base's
    return not command.is_exec and re.match(r"\[\s*['\"]", first) is not None

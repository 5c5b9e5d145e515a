"""A Dockerfile's stages: what each stands on, and which of them the wanted one needs."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from trainload.dockerfile.expand import PROXIES, Scope, platform_arguments
from trainload.dockerfile.model import Arg, Copy, Dockerfile, From, Instruction, Run
from trainload.dockerfile.mounts import read_mount
from trainload.errors import ConfigError, Place, Text, UsageError
from trainload.platform import Platform
from trainload.values import dataclass, replace


@dataclass(frozen=True, slots=True)
class Stage:
    """From one FROM to the next."""

    number: int
    name: str | None
    base: str
    """An image reference, ``scratch``; with ``parent`` the name of that stage."""
    parent: int | None
    """The stage it goes on from."""
    platform: Platform
    line: int
    text: str
    instructions: tuple[Instruction, ...]
    needs: tuple[int, ...] = ()
    """Other stages it takes something from, its parent too."""

    @property
    def label(self) -> str:
        return self.name or str(self.number)


@dataclass(frozen=True, slots=True)
class Staged:
    """A whole file, its FROM lines resolved."""

    file: Dockerfile
    stages: tuple[Stage, ...]
    outer: Mapping[str, str]
    """Values for ARGs that have no default in their stage."""
    given: Mapping[str, str]

    def scope(self, env: Mapping[str, str]) -> Scope:
        """As a stage begins."""
        return Scope(self.file.escape, self.given, self.outer, {}, env)

    def find(self, name: str, before: int | None = None) -> int | None:
        """The stage that ``name``, or a number, means above the stage ``before``."""
        stages = self.stages[:before]
        for stage in reversed(stages):
            if stage.name == name.lower():
                return stage.number
        return int(name) if name.isascii() and name.isdigit() and int(name) < len(stages) else None

    def target(self, name: str | None) -> int:
        """The stage that is wanted; None: the last. Raises :class:`UsageError`."""
        if name is None:
            return len(self.stages) - 1
        found = self.find(name)
        if found is None:
            known = [stage.label for stage in self.stages]
            near = difflib.get_close_matches(name, known, 1)
            raise UsageError(
                Text("{file} has no stage {name}", file=self.file.name, name=name),
                got=name, want=", ".join(known), hints=[Text("did you mean {name}?", name=near[0])] if near else [],
            )  # fmt: skip
        return found

    def needed(self, target: int) -> tuple[Stage, ...]:
        """The stages that ``target`` takes something from, and itself, each after those it needs."""
        wanted, todo = {target}, [target]
        while todo:
            for other in self.stages[todo.pop()].needs:
                if other not in wanted:
                    wanted.add(other)
                    todo.append(other)
        return tuple(self.stages[number] for number in sorted(wanted))


def find_stages(file: Dockerfile, given: Mapping[str, str], target: Platform, stage: str | None = None) -> Staged:
    """Split ``file``; ``given``: ``--build-arg``; ``stage``: ``--target``. Raises :class:`ConfigError`."""
    scope = Scope(file.escape, given, platform_arguments(target, Platform.host(), stage or ""))
    scope = replace(scope, args=dict(scope.outer))
    stages: list[Stage] = []
    for item in file.instructions:
        what, place = item.what, Place(file.name, line=item.line)
        if isinstance(what, From):
            stages.append(_stage(item, scope, stages, target, place))
        elif stages:
            last = stages[-1]
            stages[-1] = replace(last, instructions=(*last.instructions, item))
        elif isinstance(what, Arg):
            for name, default in what.pairs:
                value = scope.argument(name, scope.word(default, place) if default is not None else None)
                if value is not None:
                    scope = replace(scope, args={**scope.args, name: value})
        else:
            raise ConfigError(Text("only ARG may stand before the first FROM"), place=place, got=item.text)
    if not stages:
        raise ConfigError(Text("the file has no FROM"), place=Place(file.name))
    staged = Staged(file, tuple(stages), scope.args, given)
    return replace(staged, stages=tuple(replace(one, needs=_needs(staged, one)) for one in stages))


def undeclared(staged: Staged) -> tuple[str, ...]:
    """Names of ``--build-arg`` that no ARG of the file declares: they do nothing."""
    declared = {
        name for item in staged.file.instructions if isinstance(item.what, Arg) for name, _ in item.what.pairs
    }
    return tuple(sorted(set(staged.given) - declared - PROXIES))


def _stage(item: Instruction, scope: Scope, above: list[Stage], target: Platform, place: Place) -> Stage:
    what = item.what
    assert isinstance(what, From)
    base = scope.word(what.image, place)
    if not base:
        raise ConfigError(
            Text("FROM names nothing: its variables have no value"), place=place, got=what.image,
            hints=[Text("give it: --build-arg NAME=value")],
        )  # fmt: skip
    parent = next((one.number for one in reversed(above) if one.name == base.lower()), None)
    platform = target
    if what.platform:
        platform = Platform.parse(scope.word(what.platform, place))
    if parent is not None:
        platform = above[parent].platform
    return Stage(len(above), what.name, base, parent, platform, item.line, item.text, ())


def _needs(staged: Staged, stage: Stage) -> tuple[int, ...]:
    found = set() if stage.parent is None else {stage.parent}
    for item in stage.instructions:
        place = Place(staged.file.name, line=item.line)
        for name in _sources(item, place):
            number = staged.find(name, stage.number)
            if number is not None:
                found.add(number)
    return tuple(sorted(found))


def _sources(item: Instruction, place: Place) -> list[str]:
    """What an instruction takes files from, other than the context."""
    what = item.what
    if isinstance(what, Copy):
        return [what.from_] if what.from_ else []
    if isinstance(what, Run):
        return [name for text in what.mounts if "$" not in text and (name := read_mount(text, place).from_)]
    return []

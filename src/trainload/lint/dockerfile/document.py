"""A Dockerfile as rules read it: stages, what the last one stands on, the commands of each RUN and their places."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from trainload.dockerfile.model import Add, Arg, Copy, Env, From, Instruction, Run, User, What, Words, Workdir
from trainload.dockerfile.parse import parse
from trainload.lint.model import Edit
from trainload.lint.shell import Command, commands, of_shell, unwrapped
from trainload.lint.source import Source

_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)(?::?-([^{}]*))?\}|([A-Za-z_][A-Za-z0-9_]*))")
_KEYWORD = re.compile(r"[ \t]*[A-Za-z]+(?:(?:[ \t]|\\[ \t]*\n)+--[a-z-]+(?:=\S*)?)*(?=\s|\Z)")
_HEREDOC = re.compile(r"<<-?(['\"]?)([A-Za-z_][A-Za-z0-9_]*)\1")


@dataclass(frozen=True, slots=True)
class Stage:
    """From one FROM to the next."""

    number: int
    name: str | None
    base: str
    """Variables filled in as far as they are known; with ``$`` in it, it is not."""
    parent: int | None
    opening: Instruction
    items: tuple[Instruction, ...]


@dataclass(frozen=True, slots=True)
class Script:
    """The commands of a RUN."""

    item: Instruction
    commands: tuple[Command, ...]
    text: str
    """The instruction's own lines, its keyword and flags blanked; offsets of words count in it."""
    body: bool
    """It is a heredoc."""
    placed: bool
    """False: the exec form, or a script of ``sh -c``, whose words have no places."""


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """The whole file."""

    name: str
    source: Source
    stages: tuple[Stage, ...]
    escape: str

    @property
    def last(self) -> Stage:
        return self.stages[-1]

    @property
    def chain(self) -> tuple[Stage, ...]:
        """The last stage and those it is built on, the lowest first: what of the file is in the image."""
        found = [self.last]
        while (parent := found[0].parent) is not None:
            found.insert(0, self.stages[parent])
        return tuple(found)

    @property
    def image(self) -> str:
        """What the last stage stands on in the end."""
        return self.chain[0].base

    def script(self, item: Instruction) -> Script:
        """The commands of a RUN. A shell of Windows is none of ours: its words are found all the same."""
        what = item.what
        assert isinstance(what, Run)
        text = "\n".join(line.rstrip("\r") for line in self.source.part(item.line, max(item.last, item.line)))
        if what.command.is_exec:
            return Script(item, unwrapped(what.command.words), text, body=False, placed=False)
        opening = _KEYWORD.match(text)
        blanked = re.sub(r"[^\n]", " ", opening[0]) + text[opening.end() :] if opening else text
        body = False
        if what.heredocs:
            blanked, body = _heredoc(blanked, what.heredocs[0].name)
        outer = commands(blanked, self.escape)
        inner = [of_shell(one) for one in outer]
        if not any(inner):
            return Script(item, outer, blanked, body=body, placed=True)
        found = tuple(one for command, script in zip(outer, inner, strict=True) for one in script or (command,))
        return Script(item, found, blanked, body=body, placed=False)

    def scripts(self, stage: Stage) -> Iterator[Script]:
        for item in stage.items:
            if isinstance(item.what, Run):
                yield self.script(item)

    def instructions(self) -> Iterator[tuple[Stage, Instruction]]:
        """Those of the chain, in order."""
        for stage in self.chain:
            for item in stage.items:
                yield stage, item

    def find(self, kind: type[What]) -> list[Instruction]:
        """The chain's instructions of a kind."""
        return [item for _, item in self.instructions() if isinstance(item.what, kind)]

    def environ(self, stage: Stage, before: int | None = None) -> Mapping[str, str]:
        """ENV and ARG with a value, of ``stage`` and those below, up to a line."""
        found: dict[str, str] = {}
        stages = [stage]
        while (parent := stages[0].parent) is not None:
            stages.insert(0, self.stages[parent])
        for one in stages:
            for item in one.items:
                if before is not None and item.line >= before:
                    break
                if isinstance(item.what, Env | Arg):
                    found |= {name: unquoted(value) for name, value in item.what.pairs if value is not None}
        return found

    def workdir(self, stage: Stage, before: int | None = None) -> str | None:
        """WORKDIR at a line; None: the base's, which nobody here knows."""
        found: str | None = None
        if stage.parent is not None:
            found = self.workdir(self.stages[stage.parent])
        for item in stage.items:
            if before is not None and item.line >= before:
                break
            if isinstance(item.what, Workdir):
                path = expanded(unquoted(item.what.path), self.environ(stage, item.line))
                found = path if path.startswith("/") else f"{(found or '').rstrip('/')}/{path}" if found else None
        return found

    def user(self) -> str | None:
        """USER of the image; None: the base's."""
        users = self.find(User)
        item = users[-1] if users else None
        if item is None or not isinstance(item.what, User):
            return None
        return expanded(unquoted(item.what.user), self.environ(self.last, item.line)).partition(":")[0]

    def inserted(self, script: Script, places: list[tuple[int, str]]) -> tuple[Edit, ...]:
        """Text put in at offsets of a script."""
        lines: dict[int, str] = {}
        for offset, text in sorted(places, reverse=True):
            number = script.item.line + script.text.count("\n", 0, offset)
            column = offset - (script.text.rfind("\n", 0, offset) + 1)
            line = lines.get(number, self.source.line(number))
            lines[number] = line[:column] + text + line[column:]
        return tuple(Edit(number, number, (line,)) for number, line in sorted(lines.items()))

    def appended(self, script: Script, command: str) -> tuple[Edit, ...]:
        """One more command at the end of a RUN that does what came before."""
        if not script.placed:
            return ()
        last = max(script.item.last, script.item.line)
        if script.body:
            indent = self.source.indent(last - 1)
            return (Edit(last, last - 1, (indent + command,)),)
        line = self.source.line(last).rstrip()
        if "#" in line or line.endswith((self.escape, "&", "|")) or not line.strip():
            return ()
        indent = self.source.indent(last) if last > script.item.line else "    "
        return (
            Edit(last, last, (f"{line.rstrip(';').rstrip()} {self.escape}", f"{indent or '    '}&& {command}")),
        )


def _heredoc(text: str, mark: str) -> tuple[str, bool]:
    """A heredoc's body as the script, when it stands alone behind RUN; otherwise the line before it."""
    first, newline, rest = text.partition("\n")
    match = _HEREDOC.search(first)
    if match is None or match[2] != mark:
        return text, False
    alone = not (first[: match.start()] + first[match.end() :]).strip()
    lines = rest.split("\n")
    if lines and lines[-1].strip() == mark:
        lines[-1] = " " * len(lines[-1])
    if alone:
        return " " * len(first) + newline + "\n".join(lines), True
    return first[: match.start()] + " " * len(match[0]) + first[match.end() :] + newline + re.sub(
        r"[^\n]", " ", rest
    ), False  # fmt: skip


def expanded(text: str, values: Mapping[str, str]) -> str:
    """``text`` with the variables that are known; others stay."""

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[3]
        return values.get(name) or (match[2] if match[2] is not None else match[0])

    return _VARIABLE.sub(value, text)


def unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def words_of(command: Words) -> tuple[Command, ...]:
    """The commands of CMD, ENTRYPOINT or HEALTHCHECK."""
    return unwrapped(command.words) if command.is_exec else commands(command.words[0] if command.words else "")


def copied(item: Instruction) -> Copy | None:
    """COPY and ADD from the build context."""
    what = item.what.copy if isinstance(item.what, Add) else item.what
    return what if isinstance(what, Copy) and what.from_ is None else None


def read_dockerfile(name: str, source: Source) -> Dockerfile:
    """The file. Raises :class:`ConfigError` when it is none."""
    parsed = parse(source.text.encode("utf-8", "surrogateescape"), name)
    outer: dict[str, str] = {}
    opened: list[tuple[Instruction, list[Instruction]]] = []
    for item in parsed.instructions:
        if isinstance(item.what, From):
            opened.append((item, []))
        elif opened:
            opened[-1][1].append(item)
        elif isinstance(item.what, Arg):
            outer |= {key: expanded(unquoted(value), outer) for key, value in item.what.pairs if value is not None}
    stages: list[Stage] = []
    for number, (opening, items) in enumerate(opened):
        what = opening.what
        assert isinstance(what, From)
        base = expanded(unquoted(what.image), outer)
        parent = next((one.number for one in reversed(stages) if one.name == base.lower()), None)
        stages.append(Stage(number, what.name, base, parent, opening, tuple(items)))
    if not stages:
        from trainload.errors import ConfigError, Place, Text

        raise ConfigError(Text("the file has no FROM"), place=Place(name))
    return Dockerfile(name, source, tuple(stages), parsed.escape)

"""A Dockerfile's text as instructions with line numbers; words are BuildKit's, by the parser ported from it.

What it says and we do not do is an error with its line, never left out in silence. ``# syntax=`` names a program
that Docker would fetch and run on the build's machine; it is told and not fetched (THREATS F10).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from trainload.dockerfile.model import (
    Add,
    Arg,
    Cmd,
    Copy,
    Dockerfile,
    Entrypoint,
    Env,
    Expose,
    From,
    Healthcheck,
    Heredoc,
    Instruction,
    Label,
    Maintainer,
    Onbuild,
    Run,
    Shell,
    StopSignal,
    User,
    Volume,
    What,
    Words,
    Workdir,
)
from trainload.dockerfile.mounts import read_mount
from trainload.errors import ConfigError, Place, Problems, Text
from trainload.limits import MiB

if TYPE_CHECKING:
    from e2b_dockerfile_utils import DockerfileAst, DockerfileInstruction, DockerfileSyntaxError

LONGEST = MiB
"""Bytes; BuildKit's own limit is that of its messages, 4 MiB."""
_SYNTAX = re.compile(r"\A(?:\ufeff)?(?:#\s*(?:escape|check)\s*=.*\n)*#\s*syntax\s*=\s*(\S+)", re.IGNORECASE)
_STAGE = re.compile(r"[a-z][a-z0-9_.-]*")
_SECOND = 1_000_000_000
_UNITS = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": _SECOND, "m": 60 * _SECOND, "h": 3600 * _SECOND}
_NO_TRIGGER = frozenset({"ONBUILD", "FROM", "MAINTAINER"})  # BuildKit: dispatchOnbuild


def parse(data: bytes, name: str) -> Dockerfile:
    """The file; ``name`` is for messages. Raises :class:`ConfigError`, all of them at once."""
    if len(data) > LONGEST:
        raise ConfigError(Text("the file is too long for a Dockerfile"), place=Place(name), got=len(data))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        from trainload.charset import hint

        raise ConfigError(
            Text("the file is not UTF-8"), place=Place(name, line=line), hints=[hint(data, name)]
        ) from error
    instructions, escape = _instructions(text, name)
    if not instructions:
        raise ConfigError(Text("the file has no instruction"), place=Place(name), want="FROM …")
    syntax = _SYNTAX.match(text)
    return Dockerfile(name, instructions, escape, syntax[1] if syntax else None)


def parse_trigger(text: str, escape: str, base: str) -> Instruction:
    """An ONBUILD instruction of the image ``base``. Raises :class:`ConfigError`."""
    from trainload.values import replace

    directive = "# escape=`\n" if escape == "`" else ""
    found, _ = _instructions(f"{directive}{text}\n", f"ONBUILD of {base}")
    if len(found) != 1:
        raise ConfigError(Text("an ONBUILD of {base} is no instruction", base=base), got=text)
    return replace(found[0], line=0, last=0)


def _instructions(text: str, name: str) -> tuple[tuple[Instruction, ...], str]:
    problems, found = Problems(), []
    tree, wrong = _tree(text.replace("\r\n", "\n"), name)
    for error in wrong.values():
        problems.add(error)
    for node in tree.instructions if tree is not None else ():
        place = Place(name, line=node.start_line)
        if node.start_line in wrong:
            continue
        try:
            what = _READERS[node.name](_Node(node, place))
        except ConfigError as error:
            problems.add(error)
            continue
        found.append(Instruction(what, node.start_line, node.original.strip(), node.end_line))
    problems.found.sort(key=lambda error: (error.place and error.place.line) or 0)
    problems.check()
    return tuple(found), tree.escape_token if tree is not None else "\\"


def _tree(text: str, name: str) -> tuple[DockerfileAst | None, dict[int, ConfigError]]:
    """What the parser made of it, and by line what it refused: it ends at the first; we go on behind it."""
    from e2b_dockerfile_utils import DockerfileSyntaxError, parse_dockerfile_ast

    lines, wrong = text.split("\n"), dict[int, ConfigError]()
    while True:
        try:
            return parse_dockerfile_ast("\n".join(lines)), wrong
        except DockerfileSyntaxError as error:
            line = error.line
            if line is not None and line in wrong:
                del lines[line - 1 :]  # a heredoc without its end: what follows cannot be told apart
                continue
            wrong[line or 0] = _refused(text, name, error)
            if line is None or len(wrong) == _TOLD:
                return None, wrong
            # RUN takes any words, lines that continue and heredocs, so that what belongs to it is not told too
            lines[line - 1] = re.sub(r"\S+", "RUN", lines[line - 1], count=1)


def _refused(text: str, name: str, error: DockerfileSyntaxError) -> ConfigError:
    told = re.sub(r"^Dockerfile parse error(?: on line \d+)?: ", "", str(error))
    refused = ConfigError(
        Text("{reason}", reason=told), place=Place(name, line=error.line), got=_shown(text, error.line),
        want=_FORMS.get(told.split()[0]), hints=_meant(told, text, error.line),
    )  # fmt: skip
    refused.__cause__ = error
    return refused


_TOLD = 10
"""Lines that are told: more say no more than that it is no Dockerfile."""
_FORMS = {"ENV": "ENV name=value", "LABEL": "LABEL name=value"}
_WIDTH = 100  # characters of a line in an error


def _shown(text: str, line: int | None) -> str | None:
    lines = text.splitlines()
    return lines[line - 1].strip()[:_WIDTH] if line and line <= len(lines) else None


def _meant(told: str, text: str, line: int | None) -> list[Text]:
    """The instruction that an unknown one is nearest to, or that it goes on with the one before."""
    from difflib import get_close_matches

    unknown = re.fullmatch(r"unknown instruction: (\S+)", told)
    if unknown is None:
        return []
    near = get_close_matches(unknown[1].upper(), _READERS, n=1)
    if near:
        return [Text("did you mean {name}?", name=near[0])]
    before = [each for each in text.splitlines()[: (line or 1) - 1] if each.strip()]
    if before and (_GOES_ON.search(before[-1]) or not unknown[1].isupper()):
        return [Text("does this belong to the line before it? Then that one ends with \\")]
    return []


_GOES_ON = re.compile(r"(?:&&|\|\|?|;)\s*$")


class _Node:
    """One instruction of the parser, its flags taken one by one."""

    def __init__(self, node: DockerfileInstruction, place: Place) -> None:
        self.name, self.place, self.args = node.name, place, node.args
        self.is_exec = node.json
        self.heredocs = tuple(Heredoc(h.name, h.content, h.expand, h.chomp) for h in node.heredocs)
        self.original = node.original
        self._flags: dict[str, list[str]] = {}
        self._known: set[str] = set()
        """Flags that were asked for, given or not."""
        for flag in node.flags:
            key, equals, value = flag.removeprefix("--").partition("=")
            self._flags.setdefault(key, []).append(value if equals else "true")

    def flag(self, key: str) -> str | None:
        self._known.add(key)
        values = self._flags.pop(key, [])
        if len(values) > 1:
            raise self.wrong(Text("--{flag} is given twice", flag=key))
        return values[0] if values else None

    def flags(self, key: str) -> tuple[str, ...]:
        self._known.add(key)
        return tuple(self._flags.pop(key, ()))

    def switch(self, key: str) -> bool | None:
        value = self.flag(key)
        if value is not None and value.lower() not in ("true", "false", "1", "0"):
            raise self.wrong(Text("--{flag} is true or false", flag=key), got=value)
        return None if value is None else value.lower() in ("true", "1")

    def done(self) -> None:
        """No flag is left. Raises :class:`ConfigError`."""
        from difflib import get_close_matches

        for key in self._flags:
            error = self.wrong(Text("{instruction} has no flag --{flag}", instruction=self.name, flag=key))
            near = get_close_matches(key, sorted(self._known), n=1)
            error.hints = tuple(Text("did you mean {name}?", name=f"--{name}") for name in near)
            raise error

    def one(self, want: str) -> str:
        self.done()
        if len(self.args) != 1:
            raise self.wrong(Text("{instruction} needs one argument", instruction=self.name), want=want)
        return self.args[0].strip()

    def some(self, want: str) -> list[str]:
        self.done()
        if not self.args:
            raise self.wrong(Text("{instruction} needs an argument", instruction=self.name), want=want)
        return self.args

    def wrong(self, text: Text, got: object = None, want: object = None) -> ConfigError:
        return ConfigError(text, place=self.place, got=got, want=want)


def _from(node: _Node) -> From:
    platform = node.flag("platform")
    node.done()
    match node.args:
        case [image]:
            return From(image, None, platform)
        case [image, as_, name] if as_.lower() == "as":
            lowered = name.lower()
            if not _STAGE.fullmatch(lowered):
                raise node.wrong(Text("{name} cannot be a stage's name", name=name), want="a-z 0-9 . _ -")
            return From(image, lowered, platform)
    raise node.wrong(Text("FROM names one image"), got=" ".join(node.args), want="FROM image [AS name]")


def _arg(node: _Node) -> Arg:
    pairs = []
    for word in node.some("ARG name[=default]"):
        name, equals, default = word.partition("=")
        if not name:
            raise node.wrong(Text("{instruction} needs a name", instruction="ARG"), got=word)
        pairs.append((name, default if equals else None))
    return Arg(tuple(pairs))


def _pairs(node: _Node) -> tuple[tuple[tuple[str, str], ...], bool]:
    args = node.some(f"{node.name} name=value")
    pairs = tuple((args[at], args[at + 1]) for at in range(0, len(args), 3))
    if any(not name for name, _ in pairs):
        raise node.wrong(Text("{instruction} needs a name", instruction=node.name), got=node.original)
    return pairs, args[2] == ""


def _words(node: _Node) -> Words:
    node.done()
    return Words(tuple(node.args), node.is_exec)


def _run(node: _Node) -> Run:
    mounts, network = node.flags("mount"), node.flag("network")
    if (node.flag("security") or "sandbox") != "sandbox":
        raise node.wrong(Text("RUN is never given more rights than the sandbox has"), got="--security")
    for text in mounts:
        if "$" not in text:
            read_mount(text, node.place)
    if network not in (None, "none", "default", "host"):
        raise node.wrong(Text("RUN has no such network"), got=network, want="none, default, host")
    command = _words(node)
    if not command.words:
        raise node.wrong(Text("{instruction} needs an argument", instruction="RUN"), want="RUN command")
    return Run(command, node.heredocs, mounts, network)


def _copy(node: _Node, *, add: bool = False) -> Copy:
    flags = (None if add else node.flag("from"), node.flag("chown"), node.flag("chmod"))
    link, parents, exclude = node.switch("link"), node.switch("parents"), node.flags("exclude")
    node.done()
    markers = {f"<<{dash}{quote}{heredoc.name}{quote}" for heredoc in node.heredocs
               for dash in ("", "-") for quote in ("", '"', "'")}  # fmt: skip
    sources = [word for word in node.args[:-1] if word not in markers]
    if len(node.args) < 2:
        text = Text("{instruction} needs a source and a target", instruction=node.name)
        raise node.wrong(text, got=" ".join(node.args) or None, want=f"{node.name} source … target")
    return Copy(tuple(sources), node.args[-1], *flags, bool(link), bool(parents), exclude, node.heredocs)


def _add(node: _Node) -> Add:
    checksum, unpack = node.flag("checksum"), node.switch("unpack")
    if node.flag("keep-git-dir") is not None:
        raise node.wrong(Text("ADD from a git repository is not done here"), got="--keep-git-dir")
    return Add(_copy(node, add=True), checksum, unpack)


def _healthcheck(node: _Node) -> Healthcheck:
    interval, timeout = _duration(node, "interval"), _duration(node, "timeout")
    start, between = _duration(node, "start-period"), _duration(node, "start-interval")
    retries = node.flag("retries")
    if retries is not None and not re.fullmatch("[0-9]{1,6}", retries):
        raise node.wrong(Text("--{flag} is a number", flag="retries"), got=retries)
    args = node.some("HEALTHCHECK [--interval=30s] CMD command")
    kind = args[0].upper()
    if kind == "NONE" and len(args) == 1:
        return Healthcheck(None)
    if kind != "CMD" or len(args) < 2:
        raise node.wrong(Text("HEALTHCHECK is followed by CMD or NONE"), got=" ".join(args))
    command = Words(tuple(args[1:]), node.is_exec)
    return Healthcheck(command, interval, timeout, start, between, int(retries or 0))


def _duration(node: _Node, flag: str) -> int:
    """Nanoseconds (Go: time.ParseDuration); BuildKit takes none below a millisecond."""
    text = node.flag(flag)
    if text is None:
        return 0
    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h)", text)
    total = sum(round(float(number) * _UNITS[unit]) for number, unit in parts)
    if "".join(map("".join, parts)) != text or not (total == 0 or total >= 1_000_000):
        raise node.wrong(Text("--{flag} is a time", flag=flag), got=text, want="30s, 1m30s, 500ms")
    return total


def _shell(node: _Node) -> Shell:
    words = _words(node)
    if not words.is_exec or not words.words:
        raise node.wrong(Text("SHELL is a JSON list"), got=node.original, want='SHELL ["/bin/bash", "-c"]')
    return Shell(words.words)


def _onbuild(node: _Node) -> Onbuild:
    text = re.sub(r"(?i)^\s*ONBUILD\s*", "", node.original).strip()
    trigger = text.split(maxsplit=1)[0].upper() if text else ""
    if not trigger or trigger in _NO_TRIGGER:
        raise node.wrong(Text("ONBUILD needs an instruction other than {these}", these=", ".join(_NO_TRIGGER)))
    return Onbuild(text)


def _env(node: _Node) -> Env:
    return Env(*_pairs(node))


def _label(node: _Node) -> Label:
    return Label(*_pairs(node))


def _paths(node: _Node) -> Volume:
    paths: Iterable[str] = node.some('VOLUME ["/data"]')
    if not all(path.strip() for path in paths):
        raise node.wrong(Text("VOLUME needs a path"))
    return Volume(tuple(paths))


_READERS: Mapping[str, Callable[[_Node], What]] = {
    "FROM": _from,
    "ARG": _arg,
    "ENV": _env,
    "LABEL": _label,
    "RUN": _run,
    "COPY": _copy,
    "ADD": _add,
    "CMD": lambda node: Cmd(_words(node)),
    "ENTRYPOINT": lambda node: Entrypoint(_words(node)),
    "SHELL": _shell,
    "USER": lambda node: User(node.one("USER name[:group]")),
    "WORKDIR": lambda node: Workdir(node.one("WORKDIR /path")),
    "EXPOSE": lambda node: Expose(tuple(node.some("EXPOSE 8000"))),
    "VOLUME": _paths,
    "STOPSIGNAL": lambda node: StopSignal(node.one("STOPSIGNAL SIGINT")),
    "HEALTHCHECK": _healthcheck,
    "MAINTAINER": lambda node: Maintainer(node.one("MAINTAINER name")),
    "ONBUILD": _onbuild,
}

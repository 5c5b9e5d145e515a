"""A RUN line as steps, all of it or nothing; and what only several lines together tell.

What is promised: the steps have the result that running the line would have, apart from logs, caches and dates.
A line of which any part is not in the tables is opaque, with that part as its reason.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence

from trainload.dockerfile.installs import (
    CreateCondaEnvironment,
    InstallConda,
    InstallPoetry,
    InstallPython,
    SyncProject,
)
from trainload.dockerfile.steps import (
    HAS_PROGRAM,
    Clear,
    FetchWeights,
    InstallDistribution,
    Nothing,
    PlacedStep,
    RunProgram,
    UpdateDistribution,
    UpgradeDistribution,
    Within,
)
from trainload.dockerfile.understand import accounts, apt, conda, fetching, files, hub, pip, pipconf, poetry, uv
from trainload.dockerfile.understand.parts import Beyond, Command, Word
from trainload.dockerfile.understand.programs import read_program
from trainload.dockerfile.understand.state import CHANGES_THE_SHELL, ROOT_HOME, State
from trainload.dockerfile.understand.words import commands
from trainload.dockerfile.understood import Opaque, RunLine, Understanding, Understood
from trainload.errors import Text
from trainload.values import dataclass, replace

LISTS = "/var/lib/apt/lists"
_ROOT = frozenset({"", "root", "0", "root:root", "0:0", "root:0", "0:root"})
_APT = re.compile(r"\b(?:apt|apt-get|apt-cache|aptitude)\b")
_UPDATES = re.compile(r"\bapt(?:-get)?\b[^&;|\n]*\bupdate\b")
_SHELLS = re.compile(r"(?:(?:/usr)?/bin/)?(?:ba|da)?sh")
_SHELL_OPTIONS = re.compile(r"(?:-[eux]+ |-[eux]*o pipefail )*-[eux]*c")
_SET = re.compile(r"-[eux]+o?")
_OPTION_VARIABLES = apt.VARIABLES | pip.HARMLESS | pip.UV_HARMLESS
_FETCHING = (
    InstallDistribution,
    UpgradeDistribution,
    InstallPython,
    InstallConda,
    CreateCondaEnvironment,
    FetchWeights,
    SyncProject,
    InstallPoetry,
)
"""What is worth being placed: the network would be asked for it anew each time."""
_OF_ANYONE = (
    InstallPython, InstallConda, CreateCondaEnvironment, FetchWeights, RunProgram, SyncProject,
    InstallPoetry, Within, Nothing,
)  # fmt: skip
"""What others than root may do, too, where they may write."""
_BRACKETS = re.compile(
    r"[A-Za-z0-9._-]+(?:\[[a-z0-9,._-]+\])[A-Za-z0-9.,=_-]*|[a-z0-9][a-z0-9+.-]*=[A-Za-z0-9.+:~-]+\*"
)


def understand(line: RunLine) -> Understanding:
    """What ``line`` does, by itself."""
    try:
        return _understood(line)
    except Beyond as beyond:
        return Opaque(beyond.reason)


def understand_all(lines: Sequence[RunLine]) -> tuple[Understanding, ...]:
    """The RUNs of one stage in order, after those of the stages it is made from.

    apt's lists are not placed. So a line that leaves them is run, if a later line that is run may read them.
    """
    found = [understand(line) for line in lines]
    needed = False
    for number in reversed(range(len(found))):
        each = found[number]
        if isinstance(each, Understood):
            if any(isinstance(step, UpdateDistribution) for step in each.steps):
                if needed and _leaves_lists(each):
                    found[number] = Opaque(Text("a later line that is run needs the lists this one leaves"))
                needed = False
        elif _speaks_of_apt(lines[number]):
            needed = not _UPDATES.search(_said(lines[number]))
    return tuple(found)


def _leaves_lists(understood: Understood) -> bool:
    return not any(
        isinstance(step, Clear) and LISTS in (*step.contents, *step.folders) for step in understood.steps
    )


def _speaks_of_apt(line: RunLine) -> bool:
    """A script of the context may do so too, but it is told to update by whoever wrote it."""
    return _APT.search(_said(line)) is not None


def _said(line: RunLine) -> str:
    """The line's text, here-documents and all."""
    text = line.script if line.script is not None else " ".join(line.argv)
    return "\n".join([text, *(heredoc.content for heredoc in line.heredocs)])


def _understood(line: RunLine) -> Understood:
    _check_surroundings(line)
    parsed = _parsed(line)
    literal: list[str] = []
    if any(map(_may_break, parsed)) and "pipefail" in (line.script or ""):
        raise Beyond(Text("a pipe"))  # what of it fails would count
    state = State(line, _OPTION_VARIABLES, _home(line))
    found = [_Read(state.tell(), None)]
    parts: list[fetching.Part] = []
    for command in parsed:
        within = state.take(command)
        # what else is called may be a program of the environment that is active
        program = read_program(command, state.line) if within is None and state.active is None else None
        is_known = within is not None or state.active is None
        parts.append(fetching.part(command, state.line, program) if is_known else fetching.Part(command, None, ""))
        found.append(_read(command, state, literal, program, parts[-1]) if within is None else _Read(within, None))
    if state.active is not None and not any(
        isinstance(step, InstallPython) and step.active == state.active for read in found for step in read.steps
    ):
        raise Beyond(Text("{command}", command="conda activate"))  # only running it tells whether it does well
    fetches = any(isinstance(step, _FETCHING) for read in found for step in read.steps)
    for first, (end, script) in fetching.scripts(parts, line.shell).items():
        moved = tuple(
            step for read in found[first + 1 : end + 1] for step in read.steps if isinstance(step, Within)
        )
        found[first + 1 : end + 1] = [_Read((script, *moved[-1:]), None), *[_Read((), None)] * (end - first - 1)]
        fetches = True
    steps = [step for read in found for step in read.taken(fetches=fetches)]
    _check_mounts(line, steps)
    _check_user(line, steps)
    _check_lists(steps)
    shell = conda.shell_of(line.shell, line.env)[1] if line.script is not None else line.shell
    return Understood(tuple(steps), tuple(literal), _stops(parsed, shell))


def _may_break(command: Command) -> bool:
    """A pipe of which more than the last command may fail."""
    return command.source is not None and command.source.name not in ("echo", "printf")


def _home(line: RunLine) -> str | None:
    """``~`` of root, who may have another home than usual."""
    speaks = line.script is not None and re.search(r"~|\$\{?HOME\b", line.script)
    return ROOT_HOME if speaks and "HOME" not in line.env else None


@dataclass(frozen=True, slots=True)
class _Read:
    """A command that was read."""

    steps: tuple[PlacedStep, ...]
    program: RunProgram | None
    """The same, run by itself."""
    beyond: Beyond | None = None

    def taken(self, *, fetches: bool) -> tuple[PlacedStep, ...]:
        """``fetches``: the line is worth being placed around what has to run."""
        if self.beyond is not None and not fetches:
            raise self.beyond
        if self.program is None or not fetches:
            return self.steps
        if self.beyond is not None:
            return (self.program,)
        return tuple(
            replace(step, program=self.program) if isinstance(step, HAS_PROGRAM) else step for step in self.steps
        )


def _read(
    command: Command, state: State, literal: list[str], program: RunProgram | None, part: fetching.Part
) -> _Read:
    line = state.line
    if part.fetched is not None:
        return _Read((), None)  # it becomes a part of a script, or is beyond all of the line
    try:
        return _Read(conda.inside(_steps(command, line, literal), state.active), program)
    except Beyond as beyond:
        if program is None:
            raise
        return _Read((), program, beyond)


def _check_surroundings(line: RunLine) -> None:
    if line.heredocs:
        raise Beyond(Text("a here-document"))
    for mount in line.mounts:
        if mount.kind not in ("cache", "tmpfs", "bind") or (mount.kind == "bind" and mount.from_ is not None):
            raise Beyond(Text("a mount of type {kind}", kind=mount.kind))
    if line.network == "none":
        raise Beyond(Text("a network of its own"))
    for name in sorted(CHANGES_THE_SHELL & set(line.env)):
        raise Beyond(Text("the variable {name}, which changes what programs do", name=name))


def _check_mounts(line: RunLine, steps: Sequence[PlacedStep]) -> None:
    """Of what a bind mount shows only requirements are read, which say all that they do, and projects of uv."""
    if not any(mount.kind == "bind" for mount in line.mounts):
        return
    for step in steps:
        reads = not isinstance(step, InstallPython | SyncProject | Clear | Nothing | Within)
        if isinstance(step, InstallPython):
            reads = bool(step.projects) or any("://" not in link for link in step.find_links)
        if reads:
            raise Beyond(Text("a mount of type {kind}", kind="bind"))


def _stops(parsed: Sequence[Command], shell: Sequence[str]) -> bool:
    """Whether a failure ends the line: ``&&`` all along, or one command after the other with ``set -e``."""
    if any(command.is_excused for command in parsed):
        return False
    if all(command.is_guarded for command in parsed):
        return True
    strict = any(word.startswith("-") and "e" in word and not word.startswith("--") for word in shell[1:])
    first = [word.text for word in parsed[0].words]
    strict = strict or (first[:1] == ["set"] and any(re.fullmatch("-[eux]*e[eux]*o?", word) for word in first[1:]))
    return strict and not any(command.is_guarded for command in parsed[1:])


def _parsed(line: RunLine) -> tuple[Command, ...]:
    if line.script is not None:
        _check_shell(conda.shell_of(line.shell, line.env)[1])
        home = {"HOME": ROOT_HOME} if line.user in _ROOT else {}
        return commands(line.script, {**home, **line.env})
    if line.argv[:1] in (("export",), ("set",), (":",)):
        raise Beyond(Text("{command}, which is no program", command=line.argv[0]))
    return (Command(tuple(Word(word) for word in line.argv)),)


def _check_user(line: RunLine, steps: Sequence[PlacedStep]) -> None:
    """What only root can do; as another user it fails, or makes files of that user's."""
    if line.user in _ROOT:
        return
    for step in steps:
        if not isinstance(step, _OF_ANYONE):
            raise Beyond(Text("the user {user}, who is not root", user=line.user))


def _check_lists(steps: Sequence[PlacedStep]) -> None:
    """What is installed comes from the archives as they are when the line is locked, not from older lists."""
    updated = False
    for step in steps:
        updated = updated or isinstance(step, UpdateDistribution)
        if isinstance(step, InstallDistribution | UpgradeDistribution) and not updated:
            verb = "install" if isinstance(step, InstallDistribution) else "upgrade"
            text = Text("an apt-get {verb} that no apt-get update stands before in the same line", verb=verb)
            raise Beyond(text)
        if isinstance(step, Clear) and LISTS in (*step.contents, *step.folders):
            updated = False


def _check_shell(shell: Sequence[str]) -> None:
    if not shell or not _SHELLS.fullmatch(shell[0]) or not _SHELL_OPTIONS.fullmatch(" ".join(shell[1:])):
        raise Beyond(Text("the shell {shell}", shell=" ".join(shell)))


def _steps(command: Command, line: RunLine, literal: list[str]) -> tuple[PlacedStep, ...]:
    name = command.name
    if command.source is not None:
        raise Beyond(Text("a pipe"))
    for variable, _ in command.assignments:
        if variable not in _OPTION_VARIABLES:
            raise Beyond(Text("the variable {name}, set for one command", name=variable))
    env = {**line.env, **dict(command.assignments)}
    if name in files.PROGRAMS:
        return files.read_files(command, line.workdir, env.get("PATH", ""))
    words = _words(command, line.workdir, literal)
    if command.output is not None:
        raise Beyond(Text("output that goes elsewhere"))
    active = conda.shell_of(line.shell, env)[0] if line.script is not None else None
    if name in ("true", ":") or (name == "set" and _is_set(words)):
        return (Nothing(name),)
    if name in apt.PROGRAMS:
        return apt.read_apt(words, line.workdir)
    if name == "add-apt-repository":
        return apt.read_archive(words)
    if name in accounts.PROGRAMS:
        return accounts.read_accounts(words)
    if conda.is_conda(name):
        called = conda.read_run(words)
        if called is None:
            return conda.read_conda(words, line.workdir, active)
        active, words = called
    return conda.inside(_python_steps(words, env, line), active)


def _python_steps(words: Sequence[str], env: Mapping[str, str], line: RunLine) -> tuple[PlacedStep, ...]:
    name = words[0] if words else "?"
    if pipconf.is_config(words):
        return pipconf.read_config(words, env)
    if pip.is_pip(words):
        return pip.read_pip(words, env, line.workdir)
    if uv.is_uv(words):
        return uv.read_uv(words, env, line)
    if poetry.is_poetry(words):
        return poetry.read_poetry(words, env, line)
    if hub.is_download(words):
        return hub.read_download(words, line.workdir)
    raise Beyond(Text("{command}", command=name or "?"))


def _words(command: Command, workdir: str, literal: list[str]) -> tuple[str, ...]:
    """``uvicorn[standard]`` outside of quotes is itself as long as no file is called like that."""
    for word in command.words:
        if word.finder:
            raise Beyond(Text("the output of a command"))
        if word.is_pattern:
            if not _BRACKETS.fullmatch(word.text) or word is command.words[0]:
                raise Beyond(Text("the pattern {pattern}", pattern=word.text))
            literal.append(posixpath.join(workdir, word.text))
    return tuple(word.text for word in command.words)


def _is_set(words: Sequence[str]) -> bool:
    rest = list(words[1:])
    while rest:
        word = rest.pop(0)
        if not _SET.fullmatch(word) and word != "-o":
            return False
        if word.endswith("o") and (not rest or rest.pop(0) not in ("pipefail", "errexit", "nounset", "xtrace")):
            return False
    return True

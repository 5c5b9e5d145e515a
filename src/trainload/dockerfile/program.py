"""A stage as what is to be done, in order, and the config it ends with: every word expanded, every path absolute.

Pure: needs the config of the image below, whose variables are seen and whose ONBUILD instructions come first.
"""

from __future__ import annotations

from collections.abc import Sequence

from trainload.dockerfile.config import absolute, configured, looks_secret, suspicious, whole
from trainload.dockerfile.expand import PROXIES, Scope
from trainload.dockerfile.model import (
    Add,
    Arg,
    Copy,
    Env,
    Expose,
    Heredoc,
    Instruction,
    Label,
    Run,
    RunMount,
    StopSignal,
    User,
    Volume,
    What,
    Workdir,
)
from trainload.dockerfile.mounts import read_mount
from trainload.dockerfile.parse import parse_trigger
from trainload.dockerfile.stages import Stage, Staged
from trainload.dockerfile.understood import PROGRAMS, RunLine
from trainload.dockerfile.unset import unset
from trainload.errors import ConfigError, Place, Text
from trainload.plan.model import RuntimeConfig
from trainload.values import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class FolderStep:
    """WORKDIR: the folder is there, and belongs to the user in force if it was not."""

    line: int
    text: str
    path: str
    user: str


@dataclass(frozen=True, slots=True)
class RunStep:
    """RUN."""

    line: int
    text: str
    run: RunLine


@dataclass(frozen=True, slots=True)
class CopyStep:
    """COPY and ADD."""

    line: int
    text: str
    sources: tuple[str, ...]
    """Patterns below the source's root, or addresses (ADD)."""
    target: str
    """Absolute; with a slash at the end it is a folder."""
    contents: tuple[tuple[str, str], ...] = ()
    """Heredocs: name and content."""
    stage: int | None = None
    image: str | None = None
    """With neither, the build context."""
    chown: str = ""
    chmod: str = ""
    link: bool = False
    parents: bool = False
    exclude: tuple[str, ...] = ()
    add: bool = False
    checksum: str = ""
    unpack: bool | None = None


Step = FolderStep | RunStep | CopyStep


@dataclass(frozen=True, slots=True)
class Program:
    """A stage, evaluated."""

    stage: Stage
    steps: tuple[Step, ...]
    config: RuntimeConfig
    warnings: tuple[Text, ...] = ()


def evaluate(staged: Staged, stage: Stage, below: RuntimeConfig) -> Program:
    """What ``stage`` does over an image with the config ``below``. Raises :class:`ConfigError` with the line."""
    walk = _Walk(staged, stage, replace(below, onbuild=()), staged.scope(below.env))
    for text in below.onbuild:
        walk.take(parse_trigger(text, staged.file.escape, stage.base))
    for item in stage.instructions:
        walk.take(item)
    return Program(stage, tuple(walk.steps), walk.config, tuple(walk.warnings))


@dataclass(slots=True)
class _Walk:
    staged: Staged
    stage: Stage
    config: RuntimeConfig
    scope: Scope
    commanded: bool = False
    steps: list[Step] = field(default_factory=list)
    warnings: list[Text] = field(default_factory=list)

    def take(self, item: Instruction) -> None:
        place = Place(self.staged.file.name, line=item.line or self.stage.line)
        self.warnings += unset(item.what, self.scope.variables, self.staged.file, place)
        what = self._expanded(item.what, place)
        match what:
            case Arg():
                self._argument(what, place)
            case Run():
                self.steps.append(RunStep(place.line or 0, item.text, self._run(what, place)))
            case Copy():
                self.steps.append(self._copy(what, item, place))
            case Add():
                step = self._copy(what.copy, item, place)
                more = replace(step, add=True, checksum=what.checksum or "", unpack=what.unpack)
                self.steps.append(more)
            case _:
                self._configure(what, item, place)

    def _configure(self, what: What, item: Instruction, place: Place) -> None:
        self._warn(suspicious(what), place)
        self.config = configured(self.config, what, place, commanded=self.commanded)
        self.commanded |= type(what).__name__ == "Cmd"
        self.scope = replace(self.scope, env=self.config.env)
        if isinstance(what, Workdir):
            step = FolderStep(place.line or 0, item.text, self.config.workdir, self.config.user)
            self.steps.append(step)

    def _warn(self, names: Sequence[str], place: Place) -> None:
        for name in names:
            self.warnings.append(
                Text(
                    "{place}: {name} looks like a secret, and everybody who has the image can read it; "
                    "use RUN --mount=type=secret",
                    place=place, name=name,
                )
            )  # fmt: skip

    def _argument(self, what: Arg, place: Place) -> None:
        for name, default in what.pairs:
            value = self.scope.argument(name, default)
            if looks_secret(name) and value:
                self._warn((name,), place)
            if value is not None:
                self.scope = replace(self.scope, args={**self.scope.args, name: value})

    def _expanded(self, what: What, place: Place) -> What:
        """``what`` with its words expanded, where Docker expands them."""
        word = self.scope.word
        match what:
            case Arg():
                pairs = tuple((name, None if value is None else word(value, place)) for name, value in what.pairs)
                return Arg(pairs)
            case Env() | Label():
                return type(what)(tuple((word(name, place), word(value, place)) for name, value in what.pairs))
            case User():
                return User(word(what.user, place))
            case Workdir():
                return Workdir(word(what.path, place))
            case StopSignal():
                return StopSignal(word(what.signal, place))
            case Volume():
                return Volume(tuple(word(path, place) for path in what.paths))
            case Expose():
                return Expose(tuple(port for text in what.ports for port in self.scope.words(text, place)))
            case Copy():
                return self._expanded_copy(what, place)
            case Add():
                checksum = word(what.checksum, place) if what.checksum else None
                return replace(what, copy=self._expanded_copy(what.copy, place), checksum=checksum)
        return what

    def _expanded_copy(self, what: Copy, place: Place) -> Copy:
        word = self.scope.word
        return replace(
            what,
            sources=tuple(word(source, place) for source in what.sources),
            target=word(what.target, place),
            chown=word(what.chown, place) if what.chown else None,
            chmod=word(what.chmod, place) if what.chmod else None,
            exclude=tuple(word(pattern, place) for pattern in what.exclude),
        )

    def _copy(self, what: Copy, item: Instruction, place: Place) -> CopyStep:
        stage = image = None
        if what.from_:
            stage = self.staged.find(what.from_, self.stage.number)
            image = None if stage is not None else what.from_
            if image is not None and image.isdigit():
                raise ConfigError(Text("there is no stage {name} above", name=image), place=place, got=item.text)
        is_folder = what.target.endswith(("/", "/.")) or what.target in (".", "..")
        if len(what.sources) + len(what.heredocs) > 1 and not is_folder:
            raise ConfigError(
                Text("with several sources the target is a folder, and ends with a slash"), place=place,
                got=what.target, want=f"{what.target}/",
            )  # fmt: skip
        target = absolute(what.target, self.config.workdir)
        return CopyStep(
            place.line or 0,
            item.text,
            what.sources,
            f"{target.rstrip('/')}/" if is_folder else target,
            tuple((heredoc.name, self._body(heredoc, place)) for heredoc in what.heredocs),
            stage,
            image,
            what.chown or "",
            what.chmod or "",
            what.link,
            what.parents,
            what.exclude,
        )

    def _body(self, heredoc: Heredoc, place: Place) -> str:
        from e2b_dockerfile_utils import chomp_heredoc_content

        text = chomp_heredoc_content(heredoc.content) if heredoc.chomp else heredoc.content
        return self.scope.body(text, place) if heredoc.expand else text

    def _run(self, what: Run, place: Place) -> RunLine:
        words, script = what.command.words, None
        if not what.command.is_exec:
            script = _script(words[0], what.heredocs)
            words = whole(replace(what.command, words=(script,)), self.config)
            if script.startswith("#!") and len(what.heredocs) == 1:  # BuildKit: dispatchRun
                words = (f"{PROGRAMS}/{what.heredocs[0].name}",)
        proxies = {name: value for name, value in self.staged.given.items() if name in PROXIES}
        return RunLine(
            line=place.line or 0,
            script=script,
            argv=words,
            shell=self.config.shell or ("/bin/sh", "-c"),
            env={**proxies, **self.scope.variables},
            args=frozenset({*proxies, *self.scope.args} - set(self.config.env)),
            user=self.config.user,
            workdir=self.config.workdir or "/",
            heredocs=what.heredocs,
            mounts=tuple(self._mount(text, place) for text in what.mounts),
            network=what.network,
        )

    def _mount(self, text: str, place: Place) -> RunMount:
        mount = read_mount(self.scope.word(text, place), place)
        if mount.target is None:
            return mount
        return replace(mount, target=absolute(mount.target, self.config.workdir))


def _script(text: str, heredocs: Sequence[Heredoc]) -> str:
    """What the shell is given (BuildKit: dispatchRun): a lone heredoc is itself the script."""
    from e2b_dockerfile_utils import chomp_heredoc_content, parse_heredoc

    if not heredocs:
        return text
    if parse_heredoc(text) is not None:
        body = heredocs[0].content
        return str(chomp_heredoc_content(body)) if heredocs[0].chomp else body
    return "".join([text, *(f"\n{heredoc.content}{heredoc.name}" for heredoc in heredocs)])

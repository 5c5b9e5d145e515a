"""What a command changes for those after it in the same line: its folder and its variables."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

from trainload.dockerfile.installs import CondaActive
from trainload.dockerfile.steps import Within
from trainload.dockerfile.understand.parts import Beyond, Command
from trainload.dockerfile.understood import RunLine
from trainload.errors import Text
from trainload.values import dataclass, field, replace

CHANGES_THE_SHELL = frozenset(
    {
        "IFS", "BASH_ENV", "SHELLOPTS", "BASHOPTS", "POSIXLY_CORRECT", "GLOBIGNORE", "APT_CONFIG", "LD_PRELOAD",
        "CDPATH",
    }
)  # fmt: skip
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FOLDER = re.compile(r"[A-Za-z0-9_./@+:,=-]+")
ROOT_HOME = "/root"
_HOOK = "/etc/profile.d/conda.sh"


@dataclass(slots=True)
class State:
    """Of a line's shell."""

    first: RunLine
    harmless: frozenset[str]
    """Variables that are options of commands, which have been read with them."""
    home: str | None = None
    """What ``~`` was taken for."""
    line: RunLine = field(init=False)
    """As the next command sees it."""
    venv: str | None = None
    conda: str | None = None
    """The prefix of the conda whose shell function is there (``. /opt/conda/etc/profile.d/conda.sh``)."""
    active: CondaActive | None = None
    told: Within = field(default_factory=Within)

    def __post_init__(self) -> None:
        self.line = self.first

    def take(self, command: Command) -> tuple[Within, ...] | None:
        """What holds from now on; None: the command is none of these. Raises :class:`Beyond`."""
        if command.source is not None:
            return None
        if not command.words:
            self._set([pair for pair in command.assignments if pair[0] in self.line.env])
        elif command.name == "export":
            self._set(_exported(command))
        elif command.name == "cd":
            self._enter(command)
        elif self.conda is not None and [word.text for word in command.words[:2]] == ["conda", "activate"]:
            self._enter_conda(command, 2, f"{self.conda}/bin/conda", f"{self.conda}{_HOOK}")
        elif command.name == "source" and command.words[1:] and command.words[1].text == "activate":
            self._enter_conda(command, 2, "conda", "activate")
        elif command.name in (".", "source"):
            self._activate(command)
        else:
            return None
        return self.tell()

    def tell(self) -> tuple[Within, ...]:
        """What holds now, if it is news."""
        now, before = self._within(), self.told
        self.told = now
        return (now,) if now != before else ()

    def _within(self) -> Within:
        env = {
            name: value for name, value in self.line.env.items()
            if self.first.env.get(name) != value and name not in self.harmless
        }  # fmt: skip
        folder = self.line.workdir if self.line.workdir != self.first.workdir else None
        return Within(folder, tuple(sorted(env.items())), self.venv, self.home)

    def _set(self, pairs: Sequence[tuple[str, str]]) -> None:
        found = dict(pairs)
        for name in found:
            if name in CHANGES_THE_SHELL:
                raise Beyond(Text("the variable {name}, which changes what programs do", name=name))
        self.line = replace(self.line, env={**self.line.env, **found})

    def _enter(self, command: Command) -> None:
        words = command.words[1:]
        if len(words) != 1 or not words[0].is_plain or command.output is not None or command.assignments:
            raise Beyond(Text("{command}", command="cd"))
        self.line = replace(self.line, workdir=_path(self.line.workdir, words[0].text))

    def _activate(self, command: Command) -> None:
        """The environment that ``python -m venv`` made."""
        shell = posixpath.basename(self.first.shell[0]) if self.first.shell else "sh"
        text = command.words[1].text if len(command.words) == 2 and command.words[1].is_plain else ""
        # sh looks for a name without a slash in PATH; dash has no source
        is_bare = command.output is None and not command.assignments
        if text.endswith(_HOOK) and text.startswith("/") and is_bare and (command.name == "." or shell == "bash"):
            self.conda = _path("/", text.removesuffix(_HOOK))
            return
        if not text.endswith("/bin/activate") or (command.name == "source" and shell != "bash"):
            raise Beyond(Text("{command}", command=command.name))
        if not is_bare or "PATH" not in self.line.env or self.venv is not None:
            raise Beyond(Text("{command}", command=command.name))
        folder = _path(self.line.workdir, text.removesuffix("/bin/activate"))
        self._set([("VIRTUAL_ENV", folder), ("PATH", f"{folder}/bin:{self.line.env['PATH']}")])
        self.venv = folder

    def _enter_conda(self, command: Command, count: int, tool: str, script: str) -> None:
        """``conda activate x``; for pip it is what ``conda run -n x`` is."""
        shell = posixpath.basename(self.first.shell[0]) if self.first.shell else "sh"
        name = command.words[count] if len(command.words) == count + 1 else None
        is_bare = command.output is None and not command.assignments
        if name is None or not name.is_plain or not is_bare or (command.name == "source" and shell != "bash"):
            raise Beyond(Text("{command}", command=" ".join(word.text for word in command.words[:count])))
        if self.active is not None or self.venv is not None or not _FOLDER.fullmatch(name.text):
            raise Beyond(Text("{command}", command=" ".join(word.text for word in command.words[:count])))
        self.active = CondaActive(tool, name.text, script)


def _path(workdir: str, path: str) -> str:
    if not _FOLDER.fullmatch(path) or path == "-" or ".." in path.split("/"):
        raise Beyond(Text("the path {path}", path=path))
    return "/" + posixpath.normpath(posixpath.join(workdir, path)).lstrip("/")


def _exported(command: Command) -> list[tuple[str, str]]:
    found = []
    for word in command.words[1:]:
        name, equals, value = word.text.partition("=")
        if not equals or not _NAME.fullmatch(name) or not word.is_plain or command.output or command.assignments:
            raise Beyond(Text("the variable {name}, set for later commands", name=name))
        found.append((name, value))
    return found

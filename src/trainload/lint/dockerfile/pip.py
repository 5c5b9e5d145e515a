"""Commands that install packages, told apart."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from trainload.lint.shell import Command, Word

_PIP = re.compile(r"pip[0-9.]*")
_PYTHON = re.compile(r"(?:python|pypy)[0-9.]*")
_CONDA = frozenset({"conda", "mamba", "micromamba"})
_WITH_VALUE = frozenset({
    "-r", "--requirement", "-c", "--constraint", "-i", "--index-url", "--extra-index-url", "-f", "--find-links",
    "-t", "--target", "--prefix", "--root", "--platform", "--python-version", "--abi", "--implementation",
    "--trusted-host", "--timeout", "--retries", "--cache-dir", "--log", "--proxy", "--only-binary", "--no-binary",
    "--progress-bar", "--src",
    "-e", "--editable", "--default-index", "--index", "--python", "-p", "--config-settings",
    "--upgrade-strategy", "--report", "--torch-backend", "--index-strategy", "--extra",
})  # fmt: skip
_TOOLS = frozenset({"pip", "setuptools", "wheel", "uv", "pip-tools", "build"})


@dataclass(frozen=True, slots=True)
class Install:
    """``pip install``, ``python -m pip install``, ``uv pip install`` or ``uv sync``."""

    tool: str
    """``pip`` or ``uv``."""
    verb: Word
    """``install`` or ``sync``: options go behind it."""
    command: Command
    options: Mapping[str, tuple[str, ...]]
    packages: tuple[str, ...]

    @property
    def files(self) -> tuple[str, ...]:
        return (*self.options.get("-r", ()), *self.options.get("--requirement", ()))

    @property
    def indexes(self) -> tuple[str, ...]:
        names = ("-i", "--index-url", "--extra-index-url", "--default-index", "--index", "-f", "--find-links")
        return tuple(value for name in names for value in self.options.get(name, ()))

    @property
    def local(self) -> bool:
        """It installs the project itself, or files of it."""
        editable = (*self.options.get("-e", ()), *self.options.get("--editable", ()))
        return any(is_path(one) for one in (*self.packages, *editable)) or self.verb.text == "sync"

    @property
    def only_tools(self) -> bool:
        """Nothing but pip and its like."""
        return bool(self.packages) and not self.files and {name_of(one) for one in self.packages} <= _TOOLS

    def has(self, *names: str) -> bool:
        return any(name in self.options for name in names)


def is_path(requirement: str) -> bool:
    return "://" not in requirement and (
        requirement.startswith((".", "/")) or requirement.endswith((".whl", ".tar.gz", ".zip"))
    )


def name_of(requirement: str) -> str:
    """``torch`` of ``torch==2.1.0+cu118``; normalised."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\s\[<>=!~;@]", requirement.strip(), maxsplit=1)[0]).lower()


def install(command: Command) -> Install | None:
    """The installation, if ``command`` is one."""
    words = command.words
    for index, word in enumerate(words):
        name = word.text.rpartition("/")[2]
        rest = words[index + 1 :]
        if _PIP.fullmatch(name) and (index == 0 or words[index - 1].text in ("-m", "uv") or _runs(words[:index])):
            tool = "uv" if index and words[index - 1].text == "uv" else "pip"
            verb = next((one for one in rest if not one.text.startswith("-")), None)
            if verb is not None and verb.text == "install":
                return _install(tool, verb, command, rest)
            return None
        if name == "uv" and index == 0 and rest and rest[0].text == "sync":
            return _install("uv", rest[0], command, rest)
        if index == 0 and not (_PYTHON.fullmatch(name) or name in _CONDA | {"uv", "poetry", "pipenv"}):
            return None
    return None


def _runs(before: tuple[Word, ...]) -> bool:
    """``conda run -n x pip``, ``uv run pip``."""
    return len(before) > 1 and any(word.text == "run" for word in before)


def _install(tool: str, verb: Word, command: Command, rest: tuple[Word, ...]) -> Install:
    options: dict[str, list[str]] = {}
    packages: list[str] = []
    texts = [word.text for word in rest if word is not verb]
    index = 0
    while index < len(texts):
        text = texts[index]
        index += 1
        if text.startswith("-"):
            name, equals, value = text.partition("=")
            if re.fullmatch(r"-[rcief].+", name) and not name.startswith("--"):
                name, equals, value = name[:2], "=", text[2:]
            if not equals and name in _WITH_VALUE and index < len(texts):
                value = texts[index]
                index += 1
            options.setdefault(name, []).append(value)
        elif not re.match(r"[0-9]*[<>]", text) or re.match(r"[A-Za-z]", text):
            packages.append(text)
    frozen = {name: tuple(values) for name, values in options.items()}
    return Install(tool, verb, command, frozen, tuple(packages))


def installs(commands: tuple[Command, ...]) -> Iterator[Install]:
    for command in commands:
        found = install(command)
        if found is not None:
            yield found


def apt(command: Command) -> str | None:
    """The verb of ``apt-get`` or ``apt``: ``update``, ``install``."""
    if command.name not in ("apt-get", "apt", "aptitude"):
        return None
    skip = False
    for word in command.texts[1:]:
        if skip:
            skip = False
        elif word in ("-o", "-c", "-t"):
            skip = True
        elif not word.startswith("-"):
            return word
    return None


def conda(command: Command) -> tuple[str, str] | None:
    """Tool and verb of ``conda install``, ``mamba env create`` and the like."""
    if command.name not in _CONDA:
        return None
    words = [word for word in command.texts[1:] if not word.startswith("-")]
    verb = " ".join(words[:2]) if words[:1] == ["env"] else (words or [""])[0]
    return command.name, verb

"""How a command starts a training: torchrun and its older forms, with what they say of nodes and ranks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from trainload.lint.shell import Command

_INTERPRETER = re.compile(r"(python|pypy)[0-9.]*")
_MODULES = {"torch.distributed.run": "torchrun", "torch.distributed.launch": "launch"}
_NUMBER = re.compile(r"[0-9]+")
_WORKERS = re.compile(r"--(?:[a-z]+[-_])?(?:num[-_])?(?:data[-_])?(?:loader[-_])?workers", re.IGNORECASE)
_TRAINING = re.compile(r"(?:^|[/_.-])(?:pre)?(?:train(?:er|ing)?|finetune|fine[-_]tune|sft|dpo|lora)(?:[/_.-]|$)")


@dataclass(frozen=True, slots=True)
class Launch:
    """One start of a launcher; what was not written is None."""

    tool: str
    """``torchrun``, or ``launch`` for the deprecated ``torch.distributed.launch``."""
    options: Mapping[str, str]
    """Without leading dashes, ``_`` as ``-``."""
    command: Command

    @property
    def nodes(self) -> int | None:
        """How many, where a number is written; the upper end of ``1:4``."""
        return _integer((self.options.get("nnodes") or "").rpartition(":")[2])

    @property
    def processes(self) -> int | None:
        return _integer(self.options.get("nproc-per-node"))

    @property
    def several(self) -> bool:
        """More than one process, here or on other machines, for all that is written."""
        nodes, local = self.options.get("nnodes", "1"), self.options.get("nproc-per-node", "1")
        return nodes not in ("1", "1:1") or local != "1"

    def has(self, *names: str) -> bool:
        return any(name in self.options for name in names)


def launches(commands: Iterable[Command]) -> Iterator[Launch]:
    """The launches among ``commands``."""
    for command in commands:
        words = command.texts
        if command.name == "torchrun":
            yield Launch("torchrun", _options(words[1:]), command)
        elif _INTERPRETER.fullmatch(command.name):
            for index, word in enumerate(words[1:], 1):
                if word == "-m" and index + 1 < len(words):
                    if words[index + 1] in _MODULES:
                        yield Launch(_MODULES[words[index + 1]], _options(words[index + 2 :]), command)
                    break
                if not word.startswith("-"):
                    break


def _options(words: Sequence[str]) -> dict[str, str]:
    """Options in front of the script."""
    found: dict[str, str] = {}
    index = 0
    while index < len(words) and words[index].startswith("-"):
        name, equals, value = words[index].lstrip("-").partition("=")
        index += 1
        name = name.replace("_", "-")
        if not equals and name not in _ALONE and index < len(words) and not words[index].startswith("--"):
            value = words[index]
            index += 1
        found[name] = value
    return found


_ALONE = frozenset({"standalone", "no-python", "use-env", "module", "m", "run-path", "help"})


def _integer(text: str | None) -> int | None:
    return int(text) if text and _NUMBER.fullmatch(text) else None


def worker_option(words: Sequence[str]) -> str | None:
    """``--num-workers 8``: the option of a command that starts worker processes of a DataLoader."""
    for index, word in enumerate(words):
        name, equals, value = word.partition("=")
        if _WORKERS.fullmatch(name):
            value = value if equals else words[index + 1] if index + 1 < len(words) else ""
            if not re.fullmatch(r"0|", value):
                return f"{name} {value}"
    return None


def trains(words: Sequence[str]) -> bool:
    """Whether a command looks like a training by its script or module."""
    return any(_TRAINING.search(word.lower()) for word in words if not word.startswith("-"))

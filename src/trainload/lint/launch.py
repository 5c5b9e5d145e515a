"""How a command starts a training: torchrun and its older forms, with what they say of nodes and ranks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from trainload.errors import Text
from trainload.lint.shell import Command

_INTERPRETER = re.compile(r"(python|pypy)[0-9.]*")
_MODULES = {"torch.distributed.run": "torchrun", "torch.distributed.launch": "launch"}
LOOPBACK = frozenset({"localhost", "127.0.0.1", "0.0.0.0", "::1"})  # noqa: S104 - what others wrote
"""Each machine itself: no place where several meet."""
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


_ALONE = frozenset({"multi-gpu", "standalone", "no-python", "use-env", "module", "m", "run-path", "help"})


def _integer(text: str | None) -> int | None:
    return int(text) if text and _NUMBER.fullmatch(text) else None


def loopback_interface(name: str, value: str) -> Text | None:
    """``NCCL_SOCKET_IFNAME=lo``: ranks on several machines that speak with nobody but themselves."""
    names = [one.strip() for one in value.split(",")]
    if name in ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME", "TP_SOCKET_IFNAME") and set(names) <= {"lo", "=lo"}:
        return Text("{name}={value}: no other machine is reached through the loopback interface",
                    name=name, value=value)  # fmt: skip
    return None


def spreads(words: Sequence[str]) -> bool:
    """``accelerate launch`` or ``deepspeed`` with more than one process on a machine."""
    name, rest = words[0].rpartition("/")[2] if words else "", list(words[1:])
    if name == "accelerate" and rest[:1] == ["launch"]:
        options = _options(rest[1:])
        return "multi-gpu" in options or (_integer(options.get("num-processes")) or 1) > 1
    return name == "deepspeed" and _options(rest).get("num-gpus", "2") not in ("0", "1")


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

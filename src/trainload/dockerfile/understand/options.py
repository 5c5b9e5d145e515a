"""Options of commands, as getopt_long(3) reads them; one that is not in the table makes the line opaque."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trainload.dockerfile.understand.parts import Beyond
from trainload.errors import Text
from trainload.values import dataclass, field


@dataclass(frozen=True, slots=True)
class Table:
    """What a command takes."""

    flags: Mapping[str, str]
    """Spelling → name: ``-y`` → ``yes``."""
    valued: Mapping[str, str] = field(default_factory=dict)
    """The same for options with a value."""


@dataclass(slots=True)
class Options:
    """What a command was given."""

    flags: set[str] = field(default_factory=set)
    values: dict[str, list[str]] = field(default_factory=dict)
    rest: list[str] = field(default_factory=list)
    """What is no option, in order."""

    def one(self, name: str) -> str | None:
        """The value that counts: the last."""
        return self.values[name][-1] if name in self.values else None

    def all(self, name: str) -> tuple[str, ...]:
        return tuple(self.values.get(name, ()))


def read(command: str, words: Sequence[str], table: Table) -> Options:
    """The options among ``words``. Raises :class:`Beyond` for one that the table lacks."""
    found = Options()
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        if word == "--":
            found.rest += waiting
            break
        if not word.startswith("-") or word == "-":
            found.rest.append(word)
        elif word.startswith("--"):
            name, equals, value = word.partition("=")
            _long(command, found, table, name, value if equals else None, waiting)
        else:
            _short(command, found, table, word, waiting)
    return found


def _long(command: str, found: Options, table: Table, name: str, value: str | None, waiting: list[str]) -> None:
    if name in table.flags and value is None:
        found.flags.add(table.flags[name])
    elif name in table.valued:
        found.values.setdefault(table.valued[name], []).append(
            value if value is not None else _next(command, name, waiting)
        )
    else:
        raise _unknown(command, name)


def _short(command: str, found: Options, table: Table, word: str, waiting: list[str]) -> None:
    """``-ms /bin/bash``: several letters, the last of which may have a value, here or in the next word."""
    rest = word[1:]
    while rest:
        name, rest = f"-{rest[0]}", rest[1:]
        if name in table.flags:
            found.flags.add(table.flags[name])
        elif name in table.valued:
            found.values.setdefault(table.valued[name], []).append(rest or _next(command, name, waiting))
            return
        else:
            raise _unknown(command, name)


def _next(command: str, name: str, waiting: list[str]) -> str:
    if not waiting:
        raise Beyond(Text("{command} {option} without a value", command=command, option=name))
    return waiting.pop(0)


def _unknown(command: str, name: str) -> Beyond:
    return Beyond(Text("the option {option} of {command}", option=name, command=command))

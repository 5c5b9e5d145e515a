"""The simple commands of a shell script, word by word, each with its place in the text.

Enough of the shell's grammar for what installs and starts things: quotes, escapes, continuations, comments,
operators, substitutions kept as they are. Nothing is expanded and nothing is run.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh"})
_WRAPPERS = frozenset({"exec", "sudo", "env", "nohup", "time", "nice", "command", "tini", "dumb-init"})
_CLOSED_BY = {"(": ")", "{": "}"}
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=", re.ASCII)
_KEYWORDS = frozenset({"if", "then", "else", "elif", "fi", "do", "done", "while", "until", "!", "{", "}"})


@dataclass(frozen=True, slots=True)
class Word:
    """One word: its text without quotes, and where it stands."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Command:
    """One simple command, less assignments before it, ``exec``, ``sudo`` and the like."""

    words: tuple[Word, ...]
    assignments: tuple[Word, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(word.text for word in self.words)

    @property
    def name(self) -> str:
        """The program, without its folder."""
        return self.words[0].text.rpartition("/")[2] if self.words else ""

    @property
    def start(self) -> int:
        return self.words[0].start if self.words else 0

    @property
    def end(self) -> int:
        return self.words[-1].end if self.words else 0


def commands(text: str, escape: str = "\\") -> tuple[Command, ...]:
    """The simple commands of ``text`` in their order; scripts of ``sh -c`` stay one word."""
    found: list[Command] = []
    words: list[Word] = []
    for word in _Reader(text, escape).tokens():
        if word is not None:
            words.append(word)
        elif words:
            found.append(_command(words))
            words = []
    if words:
        found.append(_command(words))
    return tuple(one for one in found if one.words or one.assignments)


def unwrapped(words: Sequence[str]) -> tuple[Command, ...]:
    """The commands that an argument list runs: those of the script of ``sh -c``, else the list itself."""
    plain = tuple(Word(word, 0, 0) for word in words)
    inner = _command(list(plain))
    return of_shell(inner) or ((inner,) if inner.words else ())


def of_shell(command: Command) -> tuple[Command, ...]:
    """The commands of the script of ``sh -c``, without places; none when ``command`` is no such thing."""
    if command.name in _SHELLS:
        for index, word in enumerate(command.words[1:], 1):
            if re.fullmatch(r"-[a-z]*c[a-z]*", word.text) and index + 1 < len(command.words):
                return tuple(_nowhere(one) for one in commands(command.words[index + 1].text))
            if not word.text.startswith("-"):
                break
    return ()


def _nowhere(command: Command) -> Command:
    def words(some: tuple[Word, ...]) -> tuple[Word, ...]:
        return tuple(Word(word.text, 0, 0) for word in some)

    return Command(words(command.words), words(command.assignments))


def _command(words: list[Word]) -> Command:
    before: list[Word] = []
    index = 0
    while index < len(words):
        word = words[index].text
        if _ASSIGNMENT.match(word):
            before.append(words[index])
        elif word.rpartition("/")[2] in _WRAPPERS:
            while index + 1 < len(words) and words[index + 1].text.startswith("-"):
                index += 1  # their own options
        elif word not in _KEYWORDS:
            break
        index += 1
    return Command(tuple(words[index:]), tuple(before))


class _Reader:
    """Characters to words; None stands for the end of a command."""

    def __init__(self, text: str, escape: str) -> None:
        self._text = text
        self._escape = escape
        self._at = 0

    def tokens(self) -> list[Word | None]:
        found: list[Word | None] = []
        text = self._text
        while self._at < len(text):
            char = text[self._at]
            if self._continued():
                self._skip_continuation()
            elif char in " \t\r":
                self._at += 1
            elif char == "#":
                end = text.find("\n", self._at)
                self._at = len(text) if end < 0 else end
            elif char in "\n;&|()":
                found.append(None)
                self._at += 1
            else:
                found.append(self._word())
        return found

    def _continued(self) -> bool:
        rest = self._text[self._at : self._at + 1]
        return rest == self._escape and re.match(r"[ \t\r]*\n", self._text[self._at + 1 :]) is not None

    def _skip_continuation(self) -> None:
        """A continuation, and the comment lines and empty lines that Docker leaves out behind it."""
        self._at = self._text.index("\n", self._at) + 1
        while comment := re.match(r"[ \t]*(?:#[^\n]*)?\r?\n|[ \t]*#[^\n]*\Z", self._text[self._at :]):
            self._at += comment.end()

    def _word(self) -> Word:
        text, start, parts = self._text, self._at, []
        while self._at < len(text) and text[self._at] not in " \t\r\n;&|()":
            char = text[self._at]
            if self._continued():
                self._skip_continuation()
            elif char == "\\" and self._at + 1 < len(text):
                parts.append(text[self._at + 1])
                self._at += 2
            elif char in "'\"":
                parts.append(self._quoted(char))
            elif char == "$" and text[self._at + 1 : self._at + 2] in ("(", "{"):
                parts.append(self._substitution(text[self._at + 1]))
            elif char in "<>" and text[self._at + 1 : self._at + 2] == "&":  # 2>&1
                parts.append(text[self._at : self._at + 2])
                self._at += 2
            else:
                parts.append(char)
                self._at += 1
        return Word("".join(parts), start, self._at)

    def _quoted(self, quote: str) -> str:
        parts: list[str] = []
        self._at += 1
        while self._at < len(self._text) and self._text[self._at] != quote:
            if quote == '"' and self._text[self._at] == "\\" and self._at + 1 < len(self._text):
                self._at += 1
                if self._text[self._at] not in '"\\$`\n':
                    parts.append("\\")
                if self._text[self._at] == "\n":
                    self._at += 1
                    continue
            parts.append(self._text[self._at])
            self._at += 1
        self._at += 1
        return "".join(parts)

    def _substitution(self, opening: str) -> str:
        """``$(…)`` or ``${…}`` as it stands."""
        start, depth = self._at, 0
        self._at += 1
        while self._at < len(self._text):
            char = self._text[self._at]
            self._at += 1
            depth += (char == opening) - (char == _CLOSED_BY[opening])
            if depth == 0:
                break
        return self._text[start : self._at]

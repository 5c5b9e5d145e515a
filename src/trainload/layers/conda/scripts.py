"""What a script of ``activate.d`` would set, read and not run: assignments, exports and plain conditions.

Most of conda-forge's scripts say no more than that (proj, gdal, openjdk, glib). What says more (commands,
functions, loops, substitutions) is beyond this, and told by name. Nothing of a package runs (THREATS C07).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

MOST = 64 << 10
"""Bytes of a script that is read."""
_DEEP = 20
_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_ASSIGNMENT = re.compile(rf"({_NAME})=")
_BRACED = re.compile(rf"\{{({_NAME})(?:(:?[-+])((?:[^{{}}$`\"'\\]|\$CONDA_PREFIX|\$\{{CONDA_PREFIX\}})*))?\}}")
_PLAIN = re.compile(_NAME)
_BARE = frozenset("`|&<>(){}*?[]~!#")
"""Outside quotes these mean something else, or might."""
_CLOSED = frozenset({"then", "else", "elif", "fi", "do", "done", "esac"})
_UNARY = frozenset({"-z", "-n", "-d", "-f", "-e", "-s", "-r", "-x", "-L", "-h"})


class BeyondError(Exception):
    """Something that is not read; the argument says what."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """What lies in the environment."""

    path: str
    """Absolute."""
    files: Callable[[str], str | None]
    """Path below it → ``file``, ``folder``, ``link``; None: nothing is there."""


@dataclass(frozen=True, slots=True)
class _Part:
    text: str
    quoted: bool
    variable: bool = False
    operator: str = ""
    other: str = ""


_Word = tuple[_Part, ...]


@dataclass(frozen=True, slots=True)
class _Simple:
    words: tuple[_Word, ...]


@dataclass(frozen=True, slots=True)
class _If:
    branches: tuple[tuple[tuple[_List, ...], tuple[_List, ...]], ...]
    """(condition, what then); the last one's condition is empty for ``else``."""


@dataclass(frozen=True, slots=True)
class _List:
    """Commands joined by ``&&`` and ``||``."""

    commands: tuple[_Simple | _If, ...]
    joints: tuple[str, ...]


def exported(script: str, before: Mapping[str, str], prefix: Prefix) -> dict[str, str]:
    """``before`` with what ``script`` exports. Raises :class:`BeyondError`."""
    shell = _Shell(dict(before), set(before), prefix)
    shell.run(_Parser(_tokens(script)).whole())
    return {name: shell.values[name] for name in sorted(shell.exported) if name in shell.values}


# --- words ---

_Token = _Word | str
"""A word, or a sign: newline, ``;``, ``&&``, ``||``."""


def _tokens(script: str) -> list[_Token]:
    found: list[_Token] = []
    at, text = 0, script.replace("\\\n", "").replace("\r\n", "\n")
    word: list[_Part] = []
    begun = False

    def end() -> None:
        nonlocal word, begun
        if begun:
            found.append(tuple(word))
        word, begun = [], False

    while at < len(text):
        sign = text[at]
        if sign in " \t":
            end()
            at += 1
        elif sign in "\n;":
            end()
            found.append(";")
            at += 1
        elif text.startswith(("&&", "||"), at):
            end()
            found.append(text[at : at + 2])
            at += 2
        elif sign == "#" and not begun:
            at = len(text) if (line := text.find("\n", at)) < 0 else line
        else:
            at = _part(text, at, word)
            begun = True
    end()
    return found


def _part(text: str, at: int, word: list[_Part]) -> int:
    """Adds a part of a word; where the next begins."""
    sign = text[at]
    if sign == "'":
        close = text.find("'", at + 1)
        if close < 0:
            raise BeyondError("a quote that does not end")
        word.append(_Part(text[at + 1 : close], quoted=True))
        return close + 1
    if sign == '"':
        return _double(text, at + 1, word)
    if sign == "$":
        return _variable(text, at, word, quoted=False)
    if sign == "\\" and at + 1 < len(text):
        word.append(_Part(text[at + 1], quoted=True))
        return at + 2
    if text.startswith(("[[", "]]"), at) and not word:
        word.append(_Part(text[at : at + 2], quoted=False))
        return at + 2
    if sign in "[]!" and not word and (at + 1 == len(text) or text[at + 1] in " \t\n;"):
        word.append(_Part(sign, quoted=False))
        return at + 1
    if sign == "!" and text.startswith("!=", at):
        word.append(_Part("!=", quoted=False))
        return at + 2
    if sign in _BARE:
        raise BeyondError(text[at : at + 20].split("\n", maxsplit=1)[0])
    word.append(_Part(sign, quoted=False))
    return at + 1


def _double(text: str, at: int, word: list[_Part]) -> int:
    word.append(_Part("", quoted=True))
    while at < len(text):
        sign = text[at]
        if sign == '"':
            return at + 1
        if sign == "`":
            raise BeyondError("`…`")
        if sign == "$":
            at = _variable(text, at, word, quoted=True)
        elif sign == "\\" and text[at + 1 : at + 2] in ("$", "`", '"', "\\"):
            word.append(_Part(text[at + 1], quoted=True))
            at += 2
        else:
            word.append(_Part(sign, quoted=True))
            at += 1
    raise BeyondError("a quote that does not end")


def _variable(text: str, at: int, word: list[_Part], *, quoted: bool) -> int:
    plain = _PLAIN.match(text, at + 1)
    if plain is not None:
        word.append(_Part(plain[0], quoted, variable=True))
        return plain.end()
    braced = _BRACED.match(text, at + 1)
    if braced is None:
        raise BeyondError(text[at : at + 20].split("\n", maxsplit=1)[0])
    word.append(_Part(braced[1], quoted, variable=True, operator=braced[2] or "", other=braced[3] or ""))
    return braced.end()


def _literal(word: _Token) -> str | None:
    """The text of a word without quotes and variables; None: it has some."""
    if isinstance(word, str) or any(part.quoted or part.variable for part in word):
        return None
    return "".join(part.text for part in word)


# --- statements ---


class _Parser:
    def __init__(self, tokens: Sequence[_Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def whole(self) -> tuple[_List, ...]:
        found = self._lists()
        if self._at < len(self._tokens):
            raise BeyondError(str(self._word()))
        return found

    def _word(self) -> str | None:
        return _literal(self._tokens[self._at]) if self._at < len(self._tokens) else None

    def _lists(self) -> tuple[_List, ...]:
        found: list[_List] = []
        while self._at < len(self._tokens):
            if self._tokens[self._at] == ";":
                self._at += 1
            elif self._word() in _CLOSED:
                break
            else:
                found.append(self._list())
        return tuple(found)

    def _list(self) -> _List:
        commands, joints = [self._command()], []
        while self._at < len(self._tokens) and self._tokens[self._at] in ("&&", "||"):
            joints.append(str(self._tokens[self._at]))
            self._at += 1
            while self._at < len(self._tokens) and self._tokens[self._at] == ";":
                self._at += 1
            commands.append(self._command())
        return _List(tuple(commands), tuple(joints))

    def _command(self) -> _Simple | _If:
        if self._word() == "if":
            return self._if()
        words: list[_Word] = []
        while self._at < len(self._tokens) and not isinstance(token := self._tokens[self._at], str):
            words.append(token)
            self._at += 1
        if not words:
            raise BeyondError("&&")
        return _Simple(tuple(words))

    def _if(self) -> _If:
        self._depth += 1
        if self._depth > _DEEP:
            raise BeyondError("if")
        branches = []
        self._at += 1
        while True:
            condition = self._lists()
            self._take("then")
            branches.append((condition, self._lists()))
            if self._word() != "elif":
                break
            self._at += 1
        if self._word() == "else":
            self._at += 1
            branches.append(((), self._lists()))
        self._take("fi")
        self._depth -= 1
        return _If(tuple(branches))

    def _take(self, word: str) -> None:
        if self._word() != word:
            raise BeyondError("if")
        self._at += 1


# --- meaning ---


@dataclass(slots=True)
class _Shell:
    values: dict[str, str]
    exported: set[str]
    prefix: Prefix
    unset: set[str] = field(default_factory=set)

    def run(self, lists: Sequence[_List]) -> bool:
        result = True
        for each in lists:
            result = self._one(each.commands[0])
            for joint, command in zip(each.joints, each.commands[1:], strict=True):
                if result is (joint == "&&"):
                    result = self._one(command)
        return result

    def _one(self, command: _Simple | _If) -> bool:
        if isinstance(command, _If):
            for condition, then in command.branches:
                if not condition or self.run(condition):
                    return self.run(then) if then else True
            return True
        return self._simple(command.words)

    def _simple(self, words: Sequence[_Word]) -> bool:
        name = _literal(words[0])
        if all(self._assigns(word) for word in words):
            for word in words:
                self._assign(word, "".join(map(self._value, word)))
            return True
        if name in ("export", "unset"):
            # all of them are expanded before the first is set
            texts = [self._text(word, split=True) for word in words[1:]]
            for word, text in zip(words[1:], texts, strict=True):
                self._declare(word, text, unset=name == "unset")
            return True
        if name in ("[", "[[", "test"):
            return self._test(words, name)
        if name in (":", "true"):
            return True
        if name == "false":
            return False
        raise BeyondError(name or "a command")

    def _assigns(self, word: _Word) -> bool:
        return _ASSIGNMENT.match(self._head(word)) is not None

    def _head(self, word: _Word) -> str:
        """What stands before the first quote and variable."""
        found = ""
        for part in word:
            if part.quoted or part.variable:
                break
            found += part.text
        return found

    def _assign(self, word: _Word, text: str) -> str:
        match = _ASSIGNMENT.match(self._head(word))
        assert match is not None
        self.values[match[1]] = text[match.end() :]
        return match[1]

    def _declare(self, word: _Word, text: str, *, unset: bool) -> None:
        if not unset and self._assigns(word):
            self.exported.add(self._assign(word, text))
            return
        name = _literal(word)
        if name is None or not _PLAIN.fullmatch(name):
            raise BeyondError("unset" if unset else "export")
        if unset:
            self.values.pop(name, None)
            self.exported.discard(name)
        else:
            self.exported.add(name)

    def _value(self, part: _Part) -> str:
        if not part.variable:
            return part.text
        if part.text == "PATH":
            raise BeyondError("$PATH")
        value = self.values.get(part.text)
        there = value is not None and (value != "" or ":" not in part.operator)
        other = part.other.replace("${CONDA_PREFIX}", self.prefix.path).replace("$CONDA_PREFIX", self.prefix.path)
        if part.operator.endswith("-"):
            return (value or "") if there else other
        if part.operator.endswith("+"):
            return other if there else ""
        return value or ""

    def _text(self, word: _Word, *, split: bool) -> str:
        bare = any(re.search(r"\s", self._value(part)) for part in word if part.variable and not part.quoted)
        if split and bare:
            raise BeyondError("words of a variable")
        return "".join(map(self._value, word))

    def _arguments(self, words: Sequence[_Word], *, split: bool) -> list[str]:
        found = []
        for word in words:
            text = self._text(word, split=split)
            bare = any(part.variable and not part.quoted for part in word)
            if text or not bare or not split or any(part.quoted for part in word):
                found.append(text)
        return found

    def _test(self, words: Sequence[_Word], name: str) -> bool:
        close = {"[": "]", "[[": "]]"}.get(name)
        inner = words[1:]
        if close is not None:
            if not inner or _literal(inner[-1]) != close:
                raise BeyondError(name)
            inner = inner[:-1]
        arguments = self._arguments(inner, split=name != "[[")
        negated = False
        while len(arguments) > 1 and arguments[0] == "!":
            negated, arguments = not negated, arguments[1:]
        return self._truth(arguments) is not negated

    def _truth(self, arguments: Sequence[str]) -> bool:
        match list(arguments):
            case []:
                return False
            case [text]:
                return text != ""
            case ["-z", text]:
                return text == ""
            case ["-n", text]:
                return text != ""
            case [("-d" | "-f" | "-e" | "-s" | "-r" | "-x" | "-L" | "-h") as operator, path]:
                return self._is(operator, path)
            case [left, "=" | "==", right]:
                return left == right
            case [left, "!=", right]:
                return left != right
        raise BeyondError(" ".join(arguments)[:40])

    def _is(self, operator: str, path: str) -> bool:
        if not path:
            return False
        if path.rstrip("/") == self.prefix.path:
            return operator in ("-d", "-e", "-r", "-x")
        below = path.removeprefix(f"{self.prefix.path}/").rstrip("/")
        if below == path.rstrip("/") or ".." in below.split("/"):
            raise BeyondError(f"{operator} {path}"[:40])
        kind = self.prefix.files(re.sub(r"/+", "/", below))
        if kind is None:
            return False
        if (kind == "link" and operator != "-e") or operator in ("-x", "-s"):
            raise BeyondError(f"{operator} {path}"[:40])
        return {"-d": kind == "folder", "-f": kind == "file", "-L": False, "-h": False}.get(operator, True)

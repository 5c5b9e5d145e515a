"""The part of the shell's grammar that means the same in every shell and every state of it (POSIX.1-2024, XCU 2).

Simple commands between ``&&``, ``;`` and line feeds; quotes; the values of variables that are known; output that is
thrown away or goes to one file. Whatever else stands in a line makes all of it opaque: the table of what is allowed
is short, and nothing is guessed. A file name pattern is kept as such, since what it means depends on the files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from trainload.dockerfile.understand.parts import Beyond, Command, Output, Word
from trainload.errors import Text
from trainload.values import dataclass, field, replace

_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+=:,./@%^")
"""What stands for itself outside of quotes."""
_BLANK = " \t"
_PATTERN = frozenset("*?[")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=")
_OUTPUT = re.compile(r"([0-9]?)(>>?)(&?)")
_IN_QUOTES = '$`"\\'
"""What a backslash makes plain between double quotes."""
_TOLD = {
    "&": Text("a command in the background"),
    "<": Text("input from a file"),
    "(": Text("a subshell"),
    ")": Text("a subshell"),
    "`": Text("the output of a command"),
    "{": Text("braces"),
    "}": Text("braces"),
    "~": Text("a home folder that is written as ~"),
    "!": Text("a negation"),
}


_FINDER = re.compile(r"(?:\$\(|`) *(?P<finder>which|command +-v) +(?P<name>[A-Za-z0-9_.+-]+) *[)`]")
_AFTER_HOME = frozenset({"", "/", " ", "\t", "\n", ";", "&"})
_IDLE = frozenset({"true", ":", "echo", "exit"})
"""What ``||`` may lead to: nothing that stays."""


def commands(script: str, known: Mapping[str, str]) -> tuple[Command, ...]:
    """The commands of ``script``, one after the other; ``known``: the variables that are set before it.

    A command without words sets variables for those after it, as ``export`` does.

    Each is taken to succeed, since the line fails otherwise or goes on as if it had. Raises :class:`Beyond`.
    """
    return _Reader(script, known).run()


@dataclass(slots=True)
class _Word:
    """A word while it is read."""

    text: list[str] = field(default_factory=list)
    started: bool = False
    """Some sign of it was read: what comes next belongs to it, even when it turns out to be nothing."""
    begun: bool = False
    """It is a word, if perhaps an empty one."""
    plain: int | None = None
    """How many signs stand before its first quote, backslash or variable; None: it has none."""
    is_pattern: bool = False
    finder: str = ""

    def add(self, text: str, *, plain: bool = False) -> None:
        if not plain and self.plain is None:
            self.plain = sum(map(len, self.text))
        self.text.append(text)
        self.started = self.begun = True

    def assigns(self) -> re.Match[str] | None:
        """Whether it sets a variable, if it stands before the command."""
        match = _ASSIGNMENT.match("".join(self.text))
        return match if match is not None and (self.plain is None or self.plain >= match.end()) else None


@dataclass(slots=True)
class _Command:
    words: list[Word] = field(default_factory=list)
    assignments: list[tuple[str, str]] = field(default_factory=list)
    output: Output | None = None
    redirected: bool = False


def _set_by(command: Command) -> Mapping[str, str]:
    """Variables that later commands see."""
    if not command.words:
        return dict(command.assignments)
    pairs = [word.text.partition("=") for word in command.words[1:]] if command.name == "export" else []
    return {name: value for name, equals, value in pairs if equals}


class _Reader:
    def __init__(self, script: str, known: Mapping[str, str]) -> None:
        self._text = script
        self._known = dict(known)
        self._at = 0
        self._done: list[Command] = []
        self._command = _Command()
        self._word = _Word()
        self._and = False
        """``&&`` came, and what follows it did not yet."""
        self._guarded = True
        self._source: Command | None = None
        """``|`` came after this."""
        self._or = False
        """``||`` came: what follows it does nothing that stays."""

    def run(self) -> tuple[Command, ...]:
        while self._at < len(self._text):
            self._step(self._text[self._at])
        self._end_command(need=self._and or self._or)
        return tuple(self._done)

    def _step(self, sign: str) -> None:
        if sign in _BLANK:
            self._end_word()
            self._at += 1
        elif sign in ";\n":
            self._separate(sign)
        elif self._text.startswith("&&", self._at):
            self._end_command(need=True)
            self._and = self._guarded = True
            self._at += 2
        elif self._text.startswith("||", self._at):
            self._end_command(need=True)
            self._done[-1] = replace(self._done[-1], is_excused=True)
            self._or = True
            self._at += 2
        elif sign == "|":
            self._pipe()
        elif sign == "#" and not self._word.started:
            end = self._text.find("\n", self._at)
            self._at = len(self._text) if end < 0 else end
        elif sign == ">" or (sign.isdigit() and sign.isascii() and self._is_output()):
            self._redirect()
        else:
            self._piece(sign)

    def _separate(self, sign: str) -> None:
        """The end of a command; an empty one is an error of syntax, unless it is an empty line."""
        self._end_command(need=sign == ";")
        self._at += 1

    def _pipe(self) -> None:
        """The command before it is the next one's source."""
        self._end_command(need=True)
        self._source, self._and = self._done.pop(), True
        self._guarded = self._source.is_guarded
        self._at += 1

    def _piece(self, sign: str) -> None:
        """A part of a word."""
        word = self._word
        if sign in _PLAIN or sign in _PATTERN or (sign == "]" and word.is_pattern):
            word.is_pattern |= sign in _PATTERN
            word.add(sign, plain=True)
            self._at += 1
        elif sign == "'":
            end = self._text.find("'", self._at + 1)
            if end < 0:
                raise Beyond(Text("a quote that does not end"))
            self._add(self._text[self._at + 1 : end])
            self._at = end + 1
        elif sign == '"':
            self._double()
        elif sign == "\\":
            self._escape()
        elif sign in "$`" and self._found():
            pass
        elif sign == "~" and not self._word.started and self._text[self._at + 1 : self._at + 2] in _AFTER_HOME:
            self._add(self._value("HOME"))
            self._at += 1
        elif sign == "$":
            self._split(self._variable())
        elif sign in _TOLD:
            raise Beyond(_TOLD[sign])
        else:
            raise Beyond(Text("the sign {sign} outside of quotes", sign=sign))

    def _add(self, text: str) -> None:
        """A quoted part, or a variable's value."""
        if any(ord(sign) < 32 and sign not in "\t\n" for sign in text):
            raise Beyond(Text("a control character"))
        self._word.add(text)

    def _escape(self) -> None:
        following = self._text[self._at + 1 : self._at + 2]
        if following == "\n":
            self._at += 2  # a line goes on
            return
        if not following:
            raise Beyond(Text("a backslash at the end"))
        self._add(following)
        self._at += 2

    def _double(self) -> None:
        self._at += 1
        kept: list[str] = []
        while True:
            sign = self._text[self._at : self._at + 1]
            if not sign:
                raise Beyond(Text("a quote that does not end"))
            if sign == '"':
                self._at += 1
                self._add("".join(kept))
                return
            if sign in "$`" and not kept and self._found(end='"'):
                return
            if sign == "$":
                kept.append(self._variable())
            elif sign == "`":
                raise Beyond(Text("the output of a command"))
            elif sign == "\\":
                following = self._text[self._at + 1 : self._at + 2]
                if following in _IN_QUOTES and following:
                    kept.append(following)
                elif following != "\n":
                    kept.append("\\" + following)
                self._at += 2
            else:
                kept.append(sign)
                self._at += 1

    def _variable(self) -> str:
        """The value of the variable at this place. Raises :class:`Beyond` for any other expansion."""
        braced = self._text.startswith("${", self._at)
        match = _NAME.match(self._text, self._at + (2 if braced else 1))
        if match is None:
            raise Beyond(Text("the output of a command") if self._text[self._at + 1 :][:1] == "(" else
                         Text("an expansion other than of a variable"))  # fmt: skip
        end = match.end()
        if braced:
            if self._text[end : end + 1] != "}":
                raise Beyond(Text("an expansion other than of a variable"))
            end += 1
        value = self._value(match[0])
        self._at = end
        return value

    def _value(self, name: str) -> str:
        value = self._known.get(name)
        if value is None or name in dict(self._command.assignments):
            raise Beyond(Text("the variable {name}, which no ENV or ARG sets", name=name))
        return value

    def _found(self, end: str = "") -> bool:
        """``$(which python3)``, if it is a whole word."""
        match = _FINDER.match(self._text, self._at)
        if match is None or self._word.started or not self._command.words:
            return False
        if not self._text.startswith(end, match.end()) or not self._ends(match.end() + len(end)):
            return False
        self._word.add(match["name"])
        self._word.finder = " ".join(match["finder"].split())
        self._at = match.end() + len(end)
        return True

    def _split(self, value: str) -> None:
        """A value outside of quotes is split at blanks, and patterns in it count."""
        if any(ord(sign) < 32 and sign not in "\t\n" for sign in value) or set(value) & {*_PATTERN, "\\"}:
            raise Beyond(Text("a variable whose value has patterns or control characters"))
        if not self._command.words and self._word.assigns() is not None:
            self._add(value)  # not split there (XCU 2.9.1)
            return
        first, *more = re.split(r"[ \t\n]+", value)
        if first:
            self._add(first)
        for part in more:
            self._end_word()
            if part:
                self._add(part)
        self._word.started = True

    def _is_output(self) -> bool:
        return _OUTPUT.match(self._text, self._at) is not None and not self._word.started

    def _redirect(self) -> None:
        match = _OUTPUT.match(self._text, self._at)
        assert match is not None
        if self._word.plain is None and "".join(self._word.text).isdigit():
            raise Beyond(Text("output that goes elsewhere"))  # 12>file
        self._end_word()
        self._at = match.end()
        number, sign, same = match.groups()
        if number in ("", "1") and self._command.redirected:
            raise Beyond(Text("output that goes elsewhere"))
        if same:
            if self._text.startswith("1", self._at) and number == "2" and self._ends(self._at + 1):
                self._at += 1
                return
            if self._text.startswith("2", self._at) and number in ("", "1") and self._ends(self._at + 1):
                self._at += 1
                return
            raise Beyond(Text("output that goes elsewhere"))
        target = self._target()
        if target.text == "/dev/null" and number in ("", "1", "2"):
            return
        if number not in ("", "1"):
            raise Beyond(Text("output that goes elsewhere"))
        self._command.redirected = True
        self._command.output = Output(target.text, append=sign == ">>")

    def _target(self) -> Word:
        """The word after a redirection."""
        before = len(self._command.words)
        while self._text[self._at : self._at + 1] in tuple(_BLANK):
            self._at += 1
        kept, self._command.words = self._command.words, [Word("")]  # no assignment here
        while self._at < len(self._text) and not self._ends(self._at):
            sign = self._text[self._at]
            if sign in ">$":  # shells differ in what they do with blanks in a value here
                raise Beyond(Text("output that goes elsewhere"))
            self._piece(sign)
        self._end_word()
        found = self._command.words[1:]
        self._command.words = kept
        if len(found) != 1 or not found[0].is_plain or not found[0].text or before != len(kept):
            raise Beyond(Text("output that goes elsewhere"))
        return found[0]

    def _ends(self, at: int) -> bool:
        return self._text[at : at + 1] in ("", " ", "\t", "\n", ";", "&")

    def _end_word(self) -> None:
        word, self._word = self._word, _Word()
        if not word.begun:
            return
        text = "".join(word.text)
        if word.is_pattern and word.plain is not None:
            raise Beyond(Text("a pattern that is partly quoted"))
        match = word.assigns() if not self._command.words else None
        if match is not None:
            if word.is_pattern:
                raise Beyond(Text("a pattern in a variable"))
            self._command.assignments.append((match[1], text[match.end() :]))
            return
        self._command.words.append(Word(text, word.is_pattern, word.finder))

    def _end_command(self, *, need: bool) -> None:
        self._end_word()
        made, self._command = self._command, _Command()
        source, assigned = self._source, tuple(made.assignments)
        command = Command(tuple(made.words), assigned, made.output, self._guarded, source)
        if self._or and made.words:
            if command.name not in _IDLE or made.redirected:
                raise Beyond(Text("one of several commands (||)"))
            self._or = self._and = self._guarded = False
        elif made.words or (made.assignments and not made.redirected):
            self._done.append(command)
            self._and = self._guarded = False
            self._source = None
            self._known |= _set_by(command) if source is None else {}
        elif made.redirected:
            raise Beyond(Text("output that goes elsewhere"))
        elif need:
            raise Beyond(Text("an error of syntax"))

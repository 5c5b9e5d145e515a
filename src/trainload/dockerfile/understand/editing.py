"""``sed -i`` with ``s`` commands that switch a mirror or a comment (POSIX.1-2024: sed, basic regular expressions).

Only expressions in which every sed and Python find the same: signs that mean themselves, ``.``, and one star.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from trainload.dockerfile.steps import Edit, EditFile, PlacedStep
from trainload.dockerfile.understand.parts import Beyond, Command
from trainload.errors import Text

_PLAIN = re.compile(r"[A-Za-z0-9 /_:@#,;=!%~\"'<>&-]")
_ONLY_IN_BASIC = frozenset("+?(){}|")
"""Which mean themselves in a basic expression, and other things in an extended one."""
_ESCAPED = frozenset("./*[]^$")
_OPTIONS = {"-i": "-i", "-e": "-e", "-r": "-E", "-E": "-E", "--in-place": "-i", "--expression": "-e",
            "--regexp-extended": "-E", "-ie": "?", "-ri": "-E -i", "-Ei": "-E -i"}  # fmt: skip


def read_sed(command: Command, paths: Sequence[str]) -> tuple[PlacedStep, ...]:
    """``paths``: of the words that are no options, made absolute. Raises :class:`Beyond`."""
    scripts, files, extended, edits = [], [], False, False
    words = [word.text for word in command.words[1:]]
    if command.output is not None or not all(word.is_plain for word in command.words):
        raise Beyond(Text("{command}", command="sed"))
    absolute = dict(zip(words, paths, strict=True))
    while words:
        word = words.pop(0)
        known = _OPTIONS.get(word, "" if not word.startswith("-") or word == "-" else "?")
        if "?" in known or (known == "-e" and not words):
            raise Beyond(Text("the option {option} of {command}", option=word, command="sed"))
        extended, edits = extended or "-E" in known, edits or "-i" in known
        if known == "-e":
            scripts.append(words.pop(0))
        elif not known:
            files.append(word)
    if not scripts and files:
        scripts.append(files.pop(0))
    if not edits or not files:
        raise Beyond(Text("{command} without a path", command="sed -i"))
    made = tuple(edit for script in scripts for edit in _Script(script, extended).edits())
    return tuple(EditFile(absolute[file], made) for file in files)


class _Script:
    def __init__(self, text: str, extended: bool) -> None:  # noqa: FBT001 - as sed was called
        self._text = text.strip()
        self._extended = extended
        self._at = 0

    def edits(self) -> list[Edit]:
        found = []
        while self._at < len(self._text):
            found.append(self._edit())
            while self._text[self._at : self._at + 1] in (";", " "):
                self._at += 1
        return found

    def _edit(self) -> Edit:
        where = None
        if self._text.startswith("/", self._at):
            where = self._expression(self._until("/"), "/")
        if self._text[self._at : self._at + 1] != "s" or self._at + 1 >= len(self._text):
            raise self._beyond()
        self._at += 1
        sign = self._text[self._at]
        if sign in "\\\n" or sign.isalnum():
            raise self._beyond()
        pattern = self._expression(self._until(sign), sign)
        self._at -= 1
        new = self._replacement(self._until(sign), sign)
        every = self._text.startswith("g", self._at)
        self._at += every
        if self._text[self._at : self._at + 1] not in ("", ";", " "):
            raise self._beyond()
        return Edit(pattern, new, every, where)

    def _until(self, sign: str) -> str:
        """What stands between here and the next ``sign``; goes on after that."""
        start = self._at = self._at + 1
        while self._at < len(self._text) and self._text[self._at] != sign:
            self._at += 2 if self._text[self._at] == "\\" else 1
        if self._at >= len(self._text):
            raise self._beyond()
        self._at += 1
        return self._text[start : self._at - 1]

    def _expression(self, text: str, sign: str) -> str:
        """As Python writes it."""
        found, stars, at = "", 0, 0
        while at < len(text):
            one = text[at]
            if one == "\\" and at + 1 < len(text) and (text[at + 1] in _ESCAPED or text[at + 1] == sign == "/"):
                at += 1
                found += re.escape(text[at])
            elif one == "^" and at == 0:
                found += "^"
            elif one == "$" and at == len(text) - 1:
                found += "$"
            elif one == ".":
                found += "."
            elif one == "*" and found not in ("", "^") and not stars:
                found, stars = found + "*", 1
            elif _PLAIN.fullmatch(one) or (one in _ONLY_IN_BASIC and not self._extended):
                found += re.escape(one)
            else:
                raise self._beyond()
            at += 1
        if not found or (re.search(found, "") and not found.startswith("^") and found != "$"):
            raise self._beyond()  # an empty one is the last that was used; programs differ in where nothing fits
        return found

    def _replacement(self, text: str, sign: str) -> str:
        found, at = "", 0
        while at < len(text):
            one = text[at]
            if one == "\\":
                at += 1
                one = text[at : at + 1]
                if one not in ("/", ".", "&") and one != sign:
                    raise self._beyond()
            elif one in ("&", "\n"):
                raise self._beyond()
            found += one
            at += 1
        return found

    def _beyond(self) -> Beyond:
        return Beyond(Text("the script {text} of sed", text=self._text))

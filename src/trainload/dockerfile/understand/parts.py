"""What a line of a shell consists of, once it is read."""

from __future__ import annotations

from trainload.errors import Text
from trainload.values import dataclass


class Beyond(Exception):
    """Something that is not taken apart; ``reason`` says what, as a part of a sentence."""

    def __init__(self, reason: Text) -> None:
        super().__init__(str(reason))
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Word:
    """A word as the command gets it."""

    text: str
    is_pattern: bool = False
    """It has ``*``, ``?`` or ``[`` outside of quotes: files that fit stand in its place, if there are any."""
    finder: str = ""
    """``text`` is a program whose path stands here: ``which`` or ``command -v`` tells it."""

    @property
    def is_plain(self) -> bool:
        """It is the text, whatever lies below."""
        return not self.is_pattern and not self.finder


@dataclass(frozen=True, slots=True)
class Output:
    """Where the standard output goes."""

    path: str
    append: bool


@dataclass(frozen=True, slots=True)
class Command:
    """A simple command."""

    words: tuple[Word, ...]
    assignments: tuple[tuple[str, str], ...] = ()
    """Variables that hold for this command."""
    output: Output | None = None
    """None: to the log, or nowhere."""
    is_guarded: bool = True
    """It runs only when the command before it succeeded."""
    source: Command | None = None
    """Whose output it reads: a pipe."""
    is_excused: bool = False
    """The line goes on when it fails: ``|| true``."""

    @property
    def name(self) -> str:
        return self.words[0].text if self.words and self.words[0].is_plain else ""

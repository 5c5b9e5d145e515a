"""The catalogue: English templates to Chinese sentences, for our own texts and for click's.

Everything translatable is an English template in the source; ``locale/zh_CN/LC_MESSAGES/trainload.po`` holds the
translations and the ``.mo`` beside it is what runs (``./dev texts`` brings both up to date).
"""

from __future__ import annotations

import gettext
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from trainload.errors import Text, printable
from trainload.values import dataclass, field

DOMAIN = "trainload"
FOLDER = Path(__file__).parents[1] / "locale"
LANGUAGES = {"en": "en", "zh": "zh_CN"}
"""What ``--lang`` takes, and the catalogue's name for it."""

_VARIABLES = ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")  # in gettext's own order


def choose(environ: Mapping[str, str], argv: Sequence[str] = ()) -> str:
    """``en`` or ``zh``: ``--lang`` anywhere before ``--``, else the first locale variable that is set."""
    for index, word in enumerate(argv):
        if word == "--":
            break
        if word.startswith("--lang="):
            return _known(word.removeprefix("--lang="))
        if word == "--lang" and index + 1 < len(argv):
            return _known(argv[index + 1])
    return _known(next((environ[name] for name in _VARIABLES if environ.get(name)), ""))


def _known(name: str) -> str:
    return "zh" if name.lower().startswith("zh") else "en"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Turns templates into sentences of one language."""

    language: str = "en"
    _translations: gettext.NullTranslations = field(default_factory=gettext.NullTranslations, repr=False)

    @classmethod
    def load(cls, language: str) -> Catalogue:
        """The catalogue of ``language``; English needs none."""
        if language == "en":
            return cls()
        return cls(language, gettext.translation(DOMAIN, FOLDER, [LANGUAGES[language]], fallback=True))

    def template(self, template: str) -> str:
        """The translation of a template whose places stay as they are; the template itself when there is none."""
        return self._translations.gettext(template) if template else ""

    def text(self, text: Text | str) -> str:
        """A whole text: translated, then its places filled with values that cannot move a cursor (THREATS W05)."""
        if isinstance(text, str):
            return self.template(text)
        values = {
            key: self.text(value) if isinstance(value, Text) else printable(value)
            for key, value in text.values.items()
        }
        return self.template(text.template).format(**values)


@contextmanager
def speaking(language: str) -> Iterator[Catalogue]:
    """Makes ``language`` the process's: click asks gettext, and gettext asks the environment."""
    gettext.bindtextdomain(DOMAIN, FOLDER)
    gettext.textdomain(DOMAIN)
    before = os.environ.get("LANGUAGE")
    os.environ["LANGUAGE"] = LANGUAGES[language]
    try:
        yield Catalogue.load(language)
    finally:
        if before is None:
            del os.environ["LANGUAGE"]
        else:
            os.environ["LANGUAGE"] = before

"""Variables of a Dockerfile: which there are at a line, and words in which they are expanded, as BuildKit does it.

ENV wins over ARG. An ARG has the value of the command line, else its default, else what an ARG before the first
FROM says. Some ARGs need not be declared: those of proxies, which only RUN sees. Those that tell the platform are
there for whoever declares them.
"""

from __future__ import annotations

from collections.abc import Mapping

from trainload.errors import ConfigError, Place, Text
from trainload.platform import Platform
from trainload.values import dataclass, field

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
PROXIES = frozenset(name for word in _PROXIES for name in (word, word.lower()))
"""BuildKit: the arguments that need no ARG (docs: Predefined ARGs)."""


def platform_arguments(target: Platform, host: Platform, stage: str) -> dict[str, str]:
    """docs.docker.com/reference/dockerfile § Automatic platform ARGs in the global scope."""

    def described(word: str, platform: Platform) -> dict[str, str]:
        names = ("PLATFORM", "OS", "ARCH", "VARIANT")
        values = (str(platform), platform.os, platform.architecture, "")
        return {word + name: value for name, value in zip(names, values, strict=True)}

    return {**described("TARGET", target), **described("BUILD", host), "TARGETSTAGE": stage or "default"}


@dataclass(frozen=True, slots=True)
class Scope:
    """What variables mean at one place of the file."""

    escape: str
    given: Mapping[str, str]
    """``--build-arg``."""
    outer: Mapping[str, str] = field(default_factory=dict)
    """Of ARGs before the first FROM, and the platform's: values for an ARG without a default."""
    args: Mapping[str, str] = field(default_factory=dict)
    """ARGs so far that have a value."""
    env: Mapping[str, str] = field(default_factory=dict)
    """The image's variables so far."""

    @property
    def variables(self) -> dict[str, str]:
        return {**self.args, **self.env}

    def word(self, text: str, place: Place) -> str:
        """``text`` with variables expanded and quotes removed. Raises :class:`ConfigError`."""
        from e2b_dockerfile_utils import ShellLex

        try:
            return str(ShellLex(self.escape, env=self.variables, skip_unset_env=False).process_word(text))
        except ValueError as error:
            raise _refuse(error, place) from error

    def words(self, text: str, place: Place) -> tuple[str, ...]:
        """As :meth:`word`; what a variable holds may be several words."""
        from e2b_dockerfile_utils import ShellLex

        try:
            return tuple(ShellLex(self.escape, env=self.variables, skip_unset_env=False).process_words(text))
        except ValueError as error:
            raise _refuse(error, place) from error

    def body(self, text: str, place: Place) -> str:
        """The lines of a heredoc: quotes in them are just characters."""
        from e2b_dockerfile_utils import ShellLex

        lex = ShellLex(
            self.escape, raw_quotes=True, raw_escapes=True, skip_process_quotes=True, env=self.variables,
            skip_unset_env=False,
        )  # fmt: skip
        try:
            return str(lex.process_word(text))
        except ValueError as error:
            raise _refuse(error, place) from error

    def argument(self, name: str, default: str | None) -> str | None:
        """The value of ``ARG name[=default]``, the default already expanded; None: it has none."""
        if name in self.given:
            return self.given[name]
        return default if default is not None else self.outer.get(name)


def _refuse(error: ValueError, place: Place) -> ConfigError:
    return ConfigError(Text("a variable cannot be expanded: {reason}", reason=error), place=place)

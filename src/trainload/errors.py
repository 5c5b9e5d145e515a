"""Errors as data: what failed, where, got and want, and what to do next.

A :class:`TrainloadError` is an error of the user's world (a file, a network, a machine), never of ours:
the terminal sees it in ``cli/render.py`` only, translated there. A text is an English template with
``{name}`` places and no full stop; the template is the key of the catalogue (``locale/``), the values
fill it after translation. Anything else that reaches the top is a bug and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trainload.values import dataclass, field


class Text:
    """A translatable text: an English template and the values of its places."""

    __slots__ = ("template", "values")

    def __init__(self, template: str, /, **values: object) -> None:
        self.template = template
        self.values = values

    def __str__(self) -> str:
        return self.template.format(**{key: printable(value) for key, value in self.values.items()})

    def __repr__(self) -> str:
        return f"Text({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Text) and (self.template, self.values) == (other.template, other.values)

    def __hash__(self) -> int:
        return hash((self.template, tuple(sorted((k, str(v)) for k, v in self.values.items()))))


def printable(value: object) -> str:
    """``value`` as text that cannot move a cursor or forge a line (THREATS W05): control characters escaped."""
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    return "".join(c if c.isprintable() or c == " " else c.encode("unicode_escape").decode() for c in text)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a thing is wrong: a file, and inside it a key path (``tool.trainload.user``), a member or a line."""

    file: str
    inside: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        text = printable(self.file)
        if self.line is not None:
            text += f":{self.line}"
        return f"{text}: {printable(self.inside)}" if self.inside else text


class TrainloadError(Exception):
    """A failure with everything the user needs to mend it.

    ``place``: where. ``got``/``want``: what was found and what should be there. ``hints``: what to do,
    the best first. ``retryable``: doing the same again can succeed. ``said``: the last lines of another program.
    """

    exit_code = 1
    said: tuple[str, ...] = ()

    def __init__(
        self,
        text: Text | str,
        *,
        place: Place | None = None,
        got: object = None,
        want: object = None,
        hints: Sequence[Text | str] = (),
        retryable: bool = False,
    ) -> None:
        super().__init__(text)
        self.text = text if isinstance(text, Text) else Text(text)
        self.place = place
        self.got = got
        self.want = want
        self.hints = tuple(hint if isinstance(hint, Text) else Text(hint) for hint in hints)
        self.retryable = retryable

    def __str__(self) -> str:
        parts = [f"{self.place}: " if self.place else "", str(self.text)]
        if self.got is not None:
            parts.append(f"; got {printable(self.got)}")
        if self.want is not None:
            parts.append(f"; want {printable(self.want)}")
        parts.extend(f"\n{printable(line)}" for line in self.said)
        parts.extend(f"\nhint: {hint}" for hint in self.hints)
        return "".join(parts)


class UsageError(TrainloadError):
    """A command line that asks for something impossible."""

    exit_code = 2


class ConfigError(TrainloadError):
    """The project's files or configuration say something we cannot follow."""


class LockError(TrainloadError):
    """The exact bytes that go in cannot be determined, or the lock does not hold."""


class SignatureError(LockError):
    """A signed index is not signed by a key we pin, or its hashes do not hold."""


class PlanError(TrainloadError):
    """The lock cannot become an image for this target."""


class LayerError(TrainloadError):
    """An archive that goes into a layer is broken or hostile; it is refused (THREATS W, D, C)."""


class ImageError(TrainloadError):
    """An image's manifest, config or reference is broken."""


class StoreError(TrainloadError):
    """The store cannot be read or written."""


class FetchError(TrainloadError):
    """A file could not be fetched, or is not the file that was locked."""


class RegistryError(TrainloadError):
    """A registry cannot be reached, refuses, or answers what the distribution specification does not allow."""


class HostError(TrainloadError):
    """A host cannot be reached over ssh, is not the one it was, or cannot take what is sent."""


class RunError(TrainloadError):
    """A container could not be started."""


class BackendError(RunError):
    """The build backend of a package failed, or took too long; ``said`` has its last words."""


@dataclass(slots=True)
class Problems:
    """Collects errors, so that all of them are told at once.

    ``Problems().check()`` does nothing; with one error it raises that one, with several a :class:`ManyErrors`.
    """

    found: list[TrainloadError] = field(default_factory=list)

    def add(self, error: TrainloadError) -> None:
        self.found.append(error)

    def check(self) -> None:
        if len(self.found) == 1:
            raise self.found[0]
        if self.found:
            raise ManyErrors(self.found)


class ManyErrors(TrainloadError):
    """Several independent errors, each told in full."""

    def __init__(self, errors: Sequence[TrainloadError]) -> None:
        super().__init__(Text("{count} problems found", count=len(errors)))
        self.errors = tuple(errors)
        self.exit_code = max(error.exit_code for error in errors)

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)

    def __iter__(self) -> Iterator[TrainloadError]:
        return iter(self.errors)

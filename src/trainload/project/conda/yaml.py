"""YAML documents as plain values, strictly: what two readers could understand differently is refused (THREATS F06).

Scalars stay text as they stand, so that ``python: 3.10`` is not the number 3.1. No aliases, no tags, no key twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainload.errors import ConfigError, Place, Text
from trainload.limits import DEFAULT, Limits

if TYPE_CHECKING:
    from yaml import Event, ScalarEvent

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_MOST = 2_000_000
"""Values of a document: the largest locks of conda environments have some 100,000."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """A text of the document, and where it stands."""

    text: str
    line: int
    plain: bool
    """Written without quotes."""

    @property
    def is_null(self) -> bool:
        return self.plain and self.text in _NULLS


@dataclass(frozen=True, slots=True)
class Sequence:
    items: tuple[Node, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Mapping:
    pairs: dict[str, Node]
    line: int
    lines: dict[str, int]
    """Key → the line it stands on."""


Node = Scalar | Sequence | Mapping


def parse(text: str, file: str, limits: Limits = DEFAULT) -> Node:
    """The one document of ``text``. Raises :class:`ConfigError` with file and line."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    reader = _Reader(file, limits.nesting)
    try:
        return reader.document(yaml.parse(text, Loader=loader))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else None
        raise ConfigError(
            Text("the file is not valid YAML: {reason}", reason=error.problem), place=Place(file, line=line)
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError(Text("the file is not valid YAML: {reason}", reason=error), place=Place(file)) from error


@dataclass(slots=True)
class _Reader:
    file: str
    nesting: int
    count: int = 0

    def document(self, events: Iterator[Event]) -> Node:
        from yaml import DocumentEndEvent, DocumentStartEvent, StreamEndEvent, StreamStartEvent

        found: list[Node] = []
        for event in events:
            if isinstance(event, StreamStartEvent | StreamEndEvent | DocumentStartEvent | DocumentEndEvent):
                continue
            if found:
                raise self._refuse("the file holds more than one document", event)
            found.append(self.node(event, events, 1))
        return found[0] if found else Scalar("", 1, plain=True)

    def node(self, event: Event, events: Iterator[Event], depth: int) -> Node:
        from yaml import AliasEvent, MappingStartEvent, ScalarEvent, SequenceStartEvent

        self.count += 1
        if self.count > _MOST:
            raise self._refuse("the file has too many values", event)
        if depth > self.nesting:
            raise self._refuse("the file is nested too deeply", event)
        if isinstance(event, AliasEvent) or getattr(event, "anchor", None) is not None:
            raise self._refuse("aliases are not accepted: write the value out", event)
        if getattr(event, "tag", None) is not None:
            raise self._refuse("tags are not accepted", event)
        if isinstance(event, ScalarEvent):
            return self._scalar(event)
        if isinstance(event, SequenceStartEvent):
            return self._sequence(event, events, depth)
        assert isinstance(event, MappingStartEvent)
        return self._mapping(event, events, depth)

    def _scalar(self, event: ScalarEvent) -> Scalar:
        return Scalar(event.value, event.start_mark.line + 1, plain=event.style is None or event.style == "")

    def _sequence(self, start: Event, events: Iterator[Event], depth: int) -> Sequence:
        from yaml import SequenceEndEvent

        items = []
        for event in events:
            if isinstance(event, SequenceEndEvent):
                break
            items.append(self.node(event, events, depth + 1))
        return Sequence(tuple(items), start.start_mark.line + 1)

    def _mapping(self, start: Event, events: Iterator[Event], depth: int) -> Mapping:
        from yaml import MappingEndEvent, ScalarEvent

        pairs: dict[str, Node] = {}
        lines: dict[str, int] = {}
        for event in events:
            if isinstance(event, MappingEndEvent):
                break
            if not isinstance(event, ScalarEvent) or event.anchor is not None or event.tag is not None:
                raise self._refuse("a key is not a plain text", event)
            if event.value in pairs:
                raise self._refuse("a key stands here twice", event, got=event.value[:80])
            lines[event.value] = event.start_mark.line + 1
            pairs[event.value] = self.node(next(events), events, depth + 1)
        return Mapping(pairs, start.start_mark.line + 1, lines)

    def _refuse(self, text: str, event: Event, got: object = None) -> ConfigError:
        return ConfigError(text, place=Place(self.file, line=event.start_mark.line + 1), got=got)


def plain(node: Node) -> object:
    """``node`` as lists, dictionaries, texts and None."""
    if isinstance(node, Scalar):
        return None if node.is_null else node.text
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return {key: plain(value) for key, value in node.pairs.items()}

"""YAML as a tree that knows its lines: what rules read, and where an edit must go.

PyYAML composes the tree and builds no objects. An alias is the node it names (a bomb of aliases stays small, and
no rule walks a whole tree); merge keys are followed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainload.errors import ConfigError, Place, Text
from trainload.limits import DEFAULT
from trainload.lint.source import Source

if TYPE_CHECKING:
    from yaml import Event

LIMIT = 1 << 20
"""Bytes of a file; PyYAML reads about 1 MB in 10 s, hand-written files have a few kB."""
_TRUTH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_NUMBER = re.compile(r"[-+]?[0-9]{1,18}")


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A scalar, a list or a mapping."""

    line: int
    """From 1."""
    column: int
    """From 0."""
    last: int
    end_column: int
    text: str | None = None
    """A scalar's value; None: a list or a mapping."""
    plain: bool = False
    """Not quoted, no block: what YAML reads numbers and truth from."""
    items: tuple[Node, ...] | None = None
    pairs: tuple[tuple[Node, Node], ...] | None = None
    flow: bool = False
    """Written in brackets or braces: there is no line of its own to edit."""

    @property
    def value(self) -> object:
        """A scalar as YAML means it: None, a truth, a number or a text; None for a list and a mapping."""
        if self.text is None or (self.plain and self.text in _NULLS):
            return None
        if self.plain and self.text.lower() in _TRUTH:
            return _TRUTH[self.text.lower()]
        return int(self.text) if self.plain and _NUMBER.fullmatch(self.text) else self.text

    def pair(self, name: str) -> tuple[Node, Node] | None:
        """The key and the value called ``name``, also from a merged mapping."""
        for one in self._merged():
            for key, value in one.pairs or ():
                if key.text == name:
                    return key, value
        return None

    def _merged(self) -> Iterator[Node]:
        """This mapping and those it merges, the strongest first, each once (a bomb of merges stays small)."""
        seen: set[int] = set()
        todo = [self]
        while todo:
            one = todo.pop(0)
            if id(one) in seen:
                continue
            seen.add(id(one))
            yield one
            merges = [value for key, value in one.pairs or () if key.text == "<<" and key.plain]
            todo[:0] = [inner for value in merges for inner in (value.items or (value,))]

    def get(self, *path: str) -> Node | None:
        """The value at a path of keys."""
        here: Node | None = self
        for name in path:
            found = here.pair(name) if here is not None else None
            here = found[1] if found else None
        return here

    def own(self, name: str) -> bool:
        """Whether the key stands in this mapping itself, and not in one that it merges."""
        return any(key.text == name for key, _ in self.pairs or ())

    def children(self) -> Iterator[tuple[str, Node, Node]]:
        """Names, keys and values of a mapping, merged ones last."""
        seen: set[str] = set()
        for one in self._merged():
            for key, value in one.pairs or ():
                if key.text is not None and key.text not in seen and not (key.text == "<<" and key.plain):
                    seen.add(key.text)
                    yield key.text, key, value

    def strings(self) -> tuple[str, ...]:
        """The scalars of a list, or the scalar itself."""
        if self.text is not None:
            return (self.text,)
        return tuple(item.text for item in self.items or () if item.text is not None)


def read(text: str, name: str) -> tuple[Node, ...]:
    """The documents of a file, empty ones left out. Raises :class:`ConfigError` when it is not YAML."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        if line := _too_deep(yaml.parse(text, Loader=loader)):
            raise ConfigError(
                Text("this is not YAML: {reason}", reason="nested too deep"), place=Place(name, line=line)
            )
        composed = list(yaml.compose_all(text, Loader=loader))
        if any(isinstance(one, yaml.ScalarNode) and one.value == "" for one in composed):
            composed = [one for one in composed if not (isinstance(one, yaml.ScalarNode) and one.value == "")]
        return tuple(_Converter(name, Source.of(text).lines).node(one, 0) for one in composed if one is not None)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or str(error)
        raise ConfigError(
            Text("this is not YAML: {reason}", reason=reason),
            place=Place(name, line=mark.line + 1 if mark else None),
            hints=[Text("this is a template: check what it becomes, such as the output of helm template")]
            if "{{" in text
            else [],
        ) from error


def _too_deep(events: Iterator[Event]) -> int | None:
    """The line of the first node that lies too deep: composing recurses, reading events does not."""
    from yaml import CollectionEndEvent, CollectionStartEvent

    depth = 0
    for event in events:
        if isinstance(event, CollectionStartEvent):
            depth += 1
            if depth > DEFAULT.nesting:
                return int(event.start_mark.line) + 1
        elif isinstance(event, CollectionEndEvent):
            depth -= 1
    return None


class _Converter:
    """PyYAML's nodes to ours, each once."""

    def __init__(self, name: str, lines: Sequence[str]) -> None:
        self._name = name
        self._lines = lines
        self._made: dict[int, Node | None] = {}

    def node(self, node: Any, depth: int) -> Node:  # noqa: ANN401 - yaml has no types
        if id(node) in self._made:
            made = self._made[id(node)]
            if made is None:
                raise self._refused(node, "a node that holds itself")
            return made
        if depth > DEFAULT.nesting:
            raise self._refused(node, "nested too deep")
        self._made[id(node)] = None
        made = self._new(node, depth + 1)
        self._made[id(node)] = made
        return made

    def _new(self, node: Any, depth: int) -> Node:  # noqa: ANN401 - as above
        start, end = node.start_mark, node.end_mark
        first, last, column = start.line + 1, end.line + 1, end.column
        if node.id == "scalar":
            if node.style in ("|", ">") and end.column == 0:
                last, column = last - 1, 0
                while last > first and not self._lines[last - 1].strip():
                    last -= 1  # empty lines behind it
            return Node(first, start.column, last, column, text=node.value, plain=not node.style)
        flow = bool(node.flow_style)
        if node.id == "sequence":
            items = tuple(self.node(one, depth) for one in node.value)
            last = last if flow else _last(first, items)
            return Node(first, start.column, last, column, items=items, flow=flow)
        pairs = tuple((self.node(key, depth), self.node(value, depth)) for key, value in node.value)
        last = last if flow else _last(first, [one for pair in pairs for one in pair])
        return Node(first, start.column, last, column, pairs=pairs, flow=flow)

    def _refused(self, node: Any, reason: str) -> ConfigError:  # noqa: ANN401 - as above
        return ConfigError(
            Text("this is not YAML: {reason}", reason=reason),
            place=Place(self._name, line=node.start_mark.line + 1),
        )


def _last(first: int, nodes: Sequence[Node]) -> int:
    """A block ends where its last part does, not where the next one begins.

    An aliased part ends elsewhere: the key before it, or the item's dash, is on the block's last line then.
    """
    last = first
    for node in nodes:
        if node.line >= last:
            last = max(last, node.last)
    return last

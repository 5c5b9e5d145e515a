"""Edits of YAML by whole lines: comments, order, quotes and the rest of the file stay as they are.

None where the lines are shared with something else (``{a: 1, b: 2}``): then nothing is edited by itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from trainload.lint.model import Edit
from trainload.lint.nodes import Node
from trainload.lint.source import Source


def without(source: Source, key: Node, value: Node) -> Edit | None:
    """``key: value`` is taken out."""
    if not _alone(source, key, value):
        return None
    return Edit(key.line, max(value.last, key.line), ())


def replaced(source: Source, key: Node, value: Node, lines: Sequence[str]) -> Edit | None:
    """``lines`` (indented from zero) instead of ``key: value``."""
    if not _alone(source, key, value):
        return None
    return Edit(key.line, max(value.last, key.line), _indented(lines, key.column))


def added(mapping: Node, lines: Sequence[str]) -> Edit | None:
    """``lines`` (indented from zero) as further keys at the end of a block mapping."""
    if mapping.flow or not mapping.pairs:
        return None
    return Edit(mapping.last + 1, mapping.last, _indented(lines, mapping.pairs[0][0].column))


def item_added(sequence: Node, lines: Sequence[str]) -> Edit | None:
    """``lines``, beginning with ``- ``, as one more item of a block list."""
    if sequence.flow or not sequence.items:
        return None
    return Edit(sequence.last + 1, sequence.last, _indented(lines, sequence.column))


def scalar(source: Source, value: Node, text: str) -> Edit | None:
    """Another text for a scalar on one line; its quotes go, so ``text`` brings its own where it needs them."""
    line = source.line(value.line)
    if value.text is None or value.last != value.line or value.end_column < value.column:
        return None
    if line[: value.column].endswith(":"):
        text = f" {text}"  # there was none
    return Edit(value.line, value.line, (line[: value.column] + text + line[value.end_column :],))


def scalar_like(source: Source, value: Node, text: str) -> Edit | None:
    """``text``, on one line, for a list: one in brackets where it stands, a block behind its key."""
    if value.flow and value.line == value.last:
        line = source.line(value.line)
        return Edit(value.line, value.line, (line[: value.column] + text + line[value.end_column :],))
    above = source.line(value.line - 1).rstrip()
    if value.flow or not above.endswith(":"):
        return None
    return Edit(value.line - 1, value.last, (f"{above} {text}",))


def _alone(source: Source, key: Node, value: Node) -> bool:
    """Whether the pair has its lines for itself."""
    if source.line(key.line)[: key.column].strip():
        return False  # the first key of a list's item, or inside braces
    if value.line < key.line:
        return source.line(key.line).rstrip().rpartition(" ")[2].startswith("*")  # an alias
    rest = source.line(value.last)
    return (
        not value.flow or not rest[value.end_column :].strip() or rest[value.end_column :].strip().startswith("#")
    )


def _indented(lines: Sequence[str], column: int) -> tuple[str, ...]:
    return tuple(" " * column + line if line else line for line in lines)

"""Errors and tables as text: the only place where a terminal sees them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TextIO

from trainload.cli.texts import Catalogue
from trainload.cli.units import cells, pad
from trainload.errors import ManyErrors, Text, TrainloadError, printable

_TINTS = {"error": "\x1b[1;31m", "warning": "\x1b[1;33m", "hint": "\x1b[1;36m"}
_OFF = "\x1b[0m"


def colours(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether ``stream`` shows colours: a terminal, and neither NO_COLOR nor TERM=dumb asks for none."""
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def label(word: str, catalogue: Catalogue, *, colour: bool) -> str:
    """``error: ``, ``warning: `` or ``hint: `` in the reader's language, in its colour where there are colours."""
    text, colon = catalogue.template(word), "：" if catalogue.language == "zh" else ": "
    return f"{_TINTS[word]}{text}{_OFF}{colon}" if colour else text + colon


def error_lines(error: TrainloadError, catalogue: Catalogue, *, colour: bool = False) -> list[str]:
    """The whole message: what failed and where, got and want, another program's words, hints after a blank."""
    if isinstance(error, ManyErrors):
        lines: list[str] = []
        for one in error:
            lines += [*error_lines(one, catalogue, colour=colour), ""]
        return [*lines, catalogue.text(error.text)]
    where = f"{error.place}: " if error.place else ""
    lines = [label("error", catalogue, colour=colour) + where + catalogue.text(error.text)]
    facts = [(catalogue.template("got"), error.got), (catalogue.template("want"), error.want)]
    colon = "：" if catalogue.language == "zh" else ": "
    lines += [f"  {name}{colon}{_value(value, catalogue)}" for name, value in facts if value is not None]
    lines += [f"  | {printable(line.expandtabs())}" for line in error.said]
    if error.hints:
        lines.append("")
        lines += [label("hint", catalogue, colour=colour) + catalogue.text(hint) for hint in error.hints]
    return lines


def _value(value: object, catalogue: Catalogue) -> str:
    """What was got or wanted; prose such as ``a file name`` has a translation, a value has none."""
    if isinstance(value, Text):
        return catalogue.text(value)
    return printable(catalogue.template(value) if isinstance(value, str) else value)


def error_document(error: TrainloadError, catalogue: Catalogue) -> dict[str, object]:
    """The error for ``--json``: the same facts under fixed names."""
    if isinstance(error, ManyErrors):
        return {
            "kind": type(error).__name__,
            "text": catalogue.text(error.text),
            "errors": [error_document(one, catalogue) for one in error],
        }
    return {
        "kind": type(error).__name__,
        "text": catalogue.text(error.text),
        "place": str(error.place) if error.place else None,
        "got": None if error.got is None else _value(error.got, catalogue),
        "want": None if error.want is None else _value(error.want, catalogue),
        **({"said": [printable(line) for line in error.said]} if error.said else {}),
        "hints": [catalogue.text(hint) for hint in error.hints],
        "retryable": error.retryable,
    }


def table(
    heads: Sequence[Text | str],
    rows: Iterable[Sequence[object]],
    catalogue: Catalogue,
    *,
    right: Sequence[int] = (),
) -> list[str]:
    """Columns two spaces apart, wide characters counted as two; columns whose index is in ``right`` end flush."""
    cooked = [[catalogue.text(head) for head in heads]]
    cooked += [
        [catalogue.text(cell) if isinstance(cell, Text) else printable(cell) for cell in row] for row in rows
    ]
    widths = [max(cells(row[column]) for row in cooked) for column in range(len(heads))]
    return [
        "  ".join(pad(cell, widths[i], right=i in right) for i, cell in enumerate(row)).rstrip() for row in cooked
    ]

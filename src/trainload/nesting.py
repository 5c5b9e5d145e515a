"""How deep a JSON text nests, found before a parser that recurses meets it (THREATS F06, R05).

A parser that runs into the interpreter's recursion limit raises RecursionError, and so does whatever else has to
run at that moment: a finalizer that the garbage collector calls there fails, and what it should close stays open.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NoReturn

from trainload.limits import DEFAULT

_STRING_OR_BRACKET = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[{\]}]', re.DOTALL)


def too_deep(text: str, levels: int = DEFAULT.nesting) -> bool:
    """Whether the arrays and objects of ``text`` nest deeper than ``levels``; brackets in strings do not count.

    For a text that is not JSON the answer is of no use, but never a RecursionError.
    """
    if text.count("[") + text.count("{") <= levels:
        return False
    depth = 0
    for found in _STRING_OR_BRACKET.finditer(text):
        first = text[found.start()]
        if first in "[{":
            depth += 1
            if depth > levels:
                return True
        elif first != '"':
            depth -= 1
    return False


def loads(data: bytes | str, *, pairs: Callable[[list[tuple[str, Any]]], object] | None = None) -> object:
    """The value of JSON of other people's making (RFC 8259); ``pairs`` makes an object of its pairs.

    Raises ValueError (:class:`UnicodeDecodeError`, :class:`json.JSONDecodeError` are such) for what is not JSON in
    UTF-8, for NaN and infinities, and for a text that nests deeper than ``DEFAULT.nesting``.
    """
    text = data if isinstance(data, str) else data.decode()
    if too_deep(text):
        raise ValueError("nested too deeply")
    value: object = json.loads(text, object_pairs_hook=pairs, parse_constant=_no_number)
    return value


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")

"""How deep a text nests (JSON, TOML, markers), found before a parser that recurses meets it (THREATS F06, R05).

A parser that runs into the interpreter's recursion limit raises RecursionError, and so does whatever else has to
run at that moment: a finalizer that the garbage collector calls there fails, and what it should close stays open.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from trainload.limits import DEFAULT

if TYPE_CHECKING:
    from packaging.markers import Marker
    from packaging.requirements import Requirement

_STRING_OR_BRACKET = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[{\]}]', re.DOTALL)
_OF_TOML = re.compile(
    r"""
      "{3} (?: [^"\\]++ | \\. | "(?!"") )*+ "{0,5}   # up to two quotes may stand before the three that end it
    | '{3} (?: [^']++ | '(?!'') )*+ '{0,5}
    | " (?: [^"\\\n]++ | \\. )*+ "? | ' [^'\n]*+ '?
    | \#[^\n]*+
    | [\[{\]}]
    """,
    re.DOTALL | re.VERBOSE,
)
_OF_MARKER = re.compile(r""""[^"]*"?|'[^']*'?|[()]""")


def too_deep(text: str, levels: int = DEFAULT.nesting) -> bool:
    """Whether the arrays and objects of ``text`` nest deeper than ``levels``; brackets in strings do not count.

    For a text that is not JSON the answer is of no use, but never a RecursionError.
    """
    return _deeper(_STRING_OR_BRACKET, text, "[{", levels)


def too_deep_toml(text: str, levels: int = DEFAULT.nesting) -> bool:
    """As :func:`too_deep`, of TOML 1.0's arrays and inline tables; dotted keys are not counted."""
    return _deeper(_OF_TOML, text, "[{", levels)


def requirement(text: str) -> Requirement:
    """The requirement (PEP 508). Raises packaging's ``InvalidRequirement``, also for endless brackets."""
    from packaging.requirements import InvalidRequirement, Requirement

    if _deeper(_OF_MARKER, text, "(", DEFAULT.nesting):
        raise InvalidRequirement("nested too deeply")
    return Requirement(text)


def marker(text: str) -> Marker:
    """The environment marker. Raises packaging's ``InvalidMarker``, also for endless brackets."""
    from packaging.markers import InvalidMarker, Marker

    if _deeper(_OF_MARKER, text, "(", DEFAULT.nesting):
        raise InvalidMarker("nested too deeply")
    return Marker(text)


def _deeper(tokens: re.Pattern[str], text: str, opening: str, levels: int) -> bool:
    if sum(map(text.count, opening)) <= levels:
        return False
    depth = 0
    for found in tokens.finditer(text):
        first = text[found.start()]
        if first in opening:
            depth += 1
            if depth > levels:
                return True
        elif first in ")]}":
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

"""Variables that an instruction uses and that have no value where it stands: each becomes nothing, in silence.

BuildKit's check UndefinedVar, with the usual reason: an ARG holds from its line to the end of its stage only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from trainload.dockerfile.model import (
    Add,
    Arg,
    Copy,
    Dockerfile,
    Env,
    Expose,
    Label,
    StopSignal,
    User,
    Volume,
    What,
    Workdir,
)
from trainload.errors import Place, Text

_USED = re.compile(r"\\.|'[^']*'|\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))", re.ASCII)
"""A character taken literally, quoted text, or a variable without a word for the case that it is unset."""


def unset(what: What, variables: Mapping[str, str], file: Dockerfile, place: Place) -> Iterator[Text]:
    """``what`` with its words as they were written; ``variables``: those that have a value at ``place``."""
    told = set(variables)
    for word, own in _words(what):
        for name in (found[1] or found[2] for found in _USED.finditer(word)):
            if name and name not in told and name != own:
                told.add(name)
                yield _reason(name, variables, file, place)


def _reason(name: str, variables: Mapping[str, str], file: Dockerfile, place: Place) -> Text:
    lines = [item.line for item in file.instructions if isinstance(item.what, Arg)
             if any(name == one for one, _ in item.what.pairs)]  # fmt: skip
    stage = max((item.line for item in file.instructions if type(item.what).__name__ == "From"
                 and item.line < (place.line or 0)), default=0)  # fmt: skip
    if any(stage < line < (place.line or 0) for line in lines):
        return Text("{place}: ${name} is empty: it is not given, and its ARG has no default: --build-arg {name}=…",
                    place=place, name=name)  # fmt: skip
    if lines:
        return Text("{place}: ${name} is empty: the ARG of line {line} does not hold here; say ARG {name} in this "
                    "stage, above its use", place=place, name=name, line=lines[0])  # fmt: skip
    near = get_close_matches(name, variables, n=1)
    if near:
        return Text("{place}: ${name} is empty: no ARG or ENV has this name; did you mean ${near}?", place=place,
                    name=name, near=near[0])  # fmt: skip
    return Text("{place}: ${name} is empty: no ARG or ENV has this name", place=place, name=name)


def _words(what: What) -> Iterator[tuple[str, str | None]]:
    """Words that are expanded, and the variable that each is the value of: ``ENV P=/a:$P`` begins with nothing."""
    match what:
        case Env() | Label():
            yield from ((value, name) for name, value in what.pairs)
        case Arg():
            yield from ((value, name) for name, value in what.pairs if value is not None)
        case User():
            yield what.user, None
        case Workdir():
            yield what.path, None
        case StopSignal():
            yield what.signal, None
        case Volume():
            yield from ((path, None) for path in what.paths)
        case Expose():
            yield from ((port, None) for port in what.ports)
        case Add():
            yield from _words(what.copy)
        case Copy():
            words = (*what.sources, what.target, what.chown or "", what.chmod or "", *what.exclude)
            yield from ((word, None) for word in words)

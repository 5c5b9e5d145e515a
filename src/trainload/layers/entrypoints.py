"""Console and GUI scripts (the entry points specification), as files of the image's ``bin``.

The script is a fixed template with validated names in it (THREATS W23, W24): uv's, byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from trainload.errors import LayerError, Place, Text
from trainload.plan.model import VENV

SHEBANG = f"#!{VENV}/bin/python"
_SECTIONS = ("console_scripts", "gui_scripts")
_LONGEST = 1_000
"""Characters of a line that we take for an entry point."""
_VALUE = re.compile(r"(?P<module>[\w.]+)\s*:\s*(?P<attribute>[\w.]+)\s*(\[[^\[\]]*\])?\s*")
_BAD_IN_NAME = re.compile(r"[\s/\\:\x00-\x1f\x7f-\x9f]")
_VERSIONED_PIP = re.compile(r"pip3\.\d{1,3}")
_TEMPLATE = """\
{shebang}
# -*- coding: utf-8 -*-
import sys
from {module} import {imported}
if __name__ == "__main__":
    if sys.argv[0].endswith("-script.pyw"):
        sys.argv[0] = sys.argv[0][:-11]
    elif sys.argv[0].endswith(".exe"):
        sys.argv[0] = sys.argv[0][:-4]
    sys.exit({attribute}())
"""


@dataclass(frozen=True, slots=True)
class EntryPoint:
    """``name = module:attribute``."""

    name: str
    module: str
    attribute: str
    """Dotted."""

    def script(self, shebang: str = SHEBANG) -> bytes:
        """The file that calls it."""
        imported = self.attribute.partition(".")[0]
        return _TEMPLATE.format(
            shebang=shebang, module=self.module, imported=imported, attribute=self.attribute
        ).encode()


def read_entry_points(data: bytes, python: str, place: Place) -> tuple[EntryPoint, ...]:
    """The scripts that ``entry_points.txt`` asks for, sorted by name; ``python`` is the minor version.

    Raises :class:`LayerError` for a name that is no plain file name and for a value that is no object reference.
    """
    found: dict[str, EntryPoint] = {}
    for name, value, line in _lines(data, place):
        point = _entry_point(name, value, Place(place.file, place.inside, line))
        if found.setdefault(name, point) != point:
            raise LayerError(
                Text("the wheel is refused: it has two scripts called {name}", name=name),
                place=Place(place.file, place.inside, line),
                hints=_HINTS,
            )
    return tuple(found[name] for name in sorted(_with_this_pip(found, python)))


_HINTS = (Text("use another release of the package, and tell its publisher"),)


def _with_this_pip(found: dict[str, EntryPoint], python: str) -> Mapping[str, EntryPoint]:
    """pip's wheel serves every Python 3: its ``pip3`` is there as ``pip3.X`` for this one, as all installers do."""
    for name in [name for name in found if _VERSIONED_PIP.fullmatch(name)]:
        del found[name]
    if "pip3" in found:
        versioned = f"pip{python}"
        found[versioned] = EntryPoint(versioned, found["pip3"].module, found["pip3"].attribute)
    return found


def _lines(data: bytes, place: Place) -> list[tuple[str, str, int]]:
    """(name, value, line) of the script sections of the INI file."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise LayerError(Text("the wheel is refused: the file is not UTF-8"), place=place, hints=_HINTS) from None
    section = ""
    lines: list[tuple[str, str, int]] = []
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1].strip()
        elif section in _SECTIONS:
            name, _, value = line.partition("=")
            lines.append((name.strip(), value.strip(), number))
        elif not section:
            raise LayerError(
                Text("the wheel is refused: the file begins with no section"),
                place=Place(place.file, place.inside, number),
                got=line[:80],
                want="[console_scripts]",
                hints=_HINTS,
            )
    return lines


def _entry_point(name: str, value: str, place: Place) -> EntryPoint:
    if not name or name in (".", "..") or _BAD_IN_NAME.search(name) or len(name.encode()) > 255:
        raise LayerError(
            Text("the wheel is refused: {name} cannot be the name of a script", name=name[:_LONGEST]),
            place=place,
            want="a plain file name",
            hints=_HINTS,
        )
    match = _VALUE.fullmatch(value) if len(value) <= _LONGEST else None
    if match is None or not all(
        part.isidentifier() for key in ("module", "attribute") for part in match[key].split(".")
    ):
        raise LayerError(
            Text("the wheel is refused: the script {name} names no Python object", name=name),
            place=place,
            got=value[:200],
            want="package.module:function",
            hints=_HINTS,
        )
    return EntryPoint(name, match["module"], match["attribute"])

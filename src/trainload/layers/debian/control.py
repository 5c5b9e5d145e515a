"""The control file of a Debian package (deb-control(5)): one stanza, strictly read (THREATS D09)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from trainload.errors import LayerError, Place, Text

_FIELD = re.compile(r"([!-,.-9;-~][!-9;-~]*):[ \t]*(.*)")
_GRAMMAR = {
    "Package": re.compile(r"[a-z0-9][a-z0-9+.-]+"),
    "Version": re.compile(r"(?:[0-9]+:)?[0-9][A-Za-z0-9.+~-]*"),
    "Architecture": re.compile(r"[a-z0-9-]+"),
}


@dataclass(frozen=True, slots=True)
class Control:
    """One stanza: fields in their order, names as they are spelled, lines kept; blanks end only the whole value."""

    fields: Mapping[str, str]

    def get(self, name: str, default: str = "") -> str:
        """A field's value; names are compared without case."""
        for field, value in self.fields.items():
            if field.lower() == name.lower():
                return value
        return default

    @property
    def package(self) -> str:
        return self.get("Package")

    @property
    def version(self) -> str:
        return self.get("Version")

    @property
    def architecture(self) -> str:
        return self.get("Architecture")


def parse_control(data: bytes, archive: str) -> Control:
    """Raises :class:`LayerError` for everything that two parsers could read differently."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _refuse(archive, "the control file is not UTF-8", None) from error
    if bad := re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text):
        raise _refuse(archive, "the control file holds control characters", text.count("\n", 0, bad.start()) + 1)
    fields: dict[str, str] = {}
    last = ""
    for number, line in enumerate(text.rstrip("\n").split("\n"), 1):
        if line[:1] in (" ", "\t"):
            if not last or not line.strip():
                raise _refuse(archive, "a continuation line continues nothing", number)
            fields[last] += "\n" + line
            continue
        match = _FIELD.fullmatch(line)
        if match is None:
            raise _refuse(archive, "a line is no field", number)
        last = match[1]
        if last.lower() in map(str.lower, fields):
            raise _refuse(archive, "a field comes twice", number)
        fields[last] = match[2]
    control = Control({name: value.rstrip(" \t\n") for name, value in fields.items()})
    for name, grammar in _GRAMMAR.items():
        if not grammar.fullmatch(control.get(name)):
            raise LayerError(
                Text("the field {field} is missing or malformed", field=name),
                place=Place(archive, "control"),
                got=control.get(name)[:200] or None,
            )
    return control


def _refuse(archive: str, reason: str, line: int | None) -> LayerError:
    return LayerError(reason, place=Place(archive, "control" if line is None else f"control, line {line}"))

"""Kinds of configuration values: what each wants, its JSON Schema, and how it is read.

The same kind reads a value from TOML, from a flag, and (through ``split``) from an environment variable, so
the three can never disagree.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Generic, TypeVar

from trainload.errors import printable
from trainload.values import dataclass

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)
Schema = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong inside a value; ``inside`` is what follows the key, e.g. ``[2]`` or ``.X``."""

    inside: str
    got: str
    want: str


class Wrong(Exception):
    """A value is not of its kind; all faults at once. Caught where the key's place is known."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__(faults)
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """``read`` raises :class:`Wrong`; ``split`` turns an environment variable's text into what ``read`` takes."""

    want: str
    schema: Schema
    read: Callable[[object], T]
    split: Callable[[str], object] | None = None


def shown(value: object) -> str:
    """``value`` as TOML would write it, cut to one short printable line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        cut = value if len(value) <= 60 else value[:57] + "…"
        return f'"{printable(cut)}"'
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list | tuple):
        return "an array"
    return printable(value)[:60]


def wrong(value: object, want: str, inside: str = "") -> Wrong:
    return Wrong(Fault(inside, shown(value), want))


def text(want: str = "a string", pattern: str | None = None) -> Kind[str]:
    """A string; ``pattern`` is matched against the whole of it and told to editors (ECMA 262 subset)."""

    def read(value: object) -> str:
        # compiled when first asked: most keys of the table are not set
        if not isinstance(value, str) or "\0" in value or (pattern and not re.fullmatch(pattern, value, re.ASCII)):
            raise wrong(value, want)
        return value

    schema: dict[str, object] = {"type": "string"}
    if pattern:
        schema["pattern"] = f"^(?:{pattern})$"
    return Kind(want, schema, read, str)


def checked(check: Callable[[str], str | None], want: str) -> Kind[str]:
    """A string that ``check`` maps to its canonical form, or None when it is wrong."""

    def read(value: object) -> str:
        good = check(value) if isinstance(value, str) and "\0" not in value else None
        if good is None:
            raise wrong(value, want)
        return good

    return Kind(want, {"type": "string", "minLength": 1}, read, str)


def choice(kind: type[E]) -> Kind[E]:
    want = ", ".join(kind)

    def read(value: object) -> E:
        if isinstance(value, str) and value in list(kind):
            return kind(value)
        raise wrong(value, want)

    return Kind(want, {"enum": [str(member) for member in kind]}, read, str)


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise wrong(value, "true or false")


def _boolean_text(value: str) -> object:
    return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}.get(value.lower(), value)


BOOLEAN: Kind[bool] = Kind("true or false", {"type": "boolean"}, _boolean, _boolean_text)


def integer(low: int, high: int) -> Kind[int]:
    want = f"a whole number from {low} to {high}"

    def read(value: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        raise wrong(value, want)

    return Kind(want, {"type": "integer", "minimum": low, "maximum": high}, read, _number_text)


def _number(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1_000_000:
        return value
    raise wrong(value, "a number greater than 0")


def _number_text(value: str) -> object:
    for number in (int, float):
        try:
            return number(value)
        except ValueError:
            continue
    return value


NUMBER: Kind[float] = Kind(
    "a number greater than 0", {"type": "number", "exclusiveMinimum": 0}, _number, _number_text
)

_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?) ?([kmgt]?)(?:i?b)?", re.ASCII | re.IGNORECASE)
_SIZE_WANT = "a size such as 8g or 512m (binary units), or a number of bytes"
_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def _size(value: object) -> int:
    """Bytes. Units are binary, as ``docker run --memory`` reads them: ``1g`` is 2**30."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**63:
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    size = int(float(match[1]) * 1024 ** _UNITS[match[2].lower()]) if match else 0
    if not 0 < size < 2**63:
        raise wrong(value, _SIZE_WANT)
    return size


SIZE: Kind[int] = Kind(
    _SIZE_WANT,
    {"anyOf": [{"type": "integer", "minimum": 1},
               {"type": "string", "pattern": r"^\d+(\.\d+)? ?[kKmMgGtT]?([iI]?[bB])?$"}]},
    _size,
    str,
)  # fmt: skip


def _words(value: str) -> object:
    return value.replace(",", " ").split()


def _paths(value: str) -> object:
    return [path for path in value.split(os.pathsep) if path]


def _shell(value: str) -> object:
    try:
        return shlex.split(value)
    except ValueError:
        return value


def many(item: Kind[str], want: str, split: Callable[[str], object] = _words) -> Kind[tuple[str, ...]]:
    """An array of ``item``; every wrong element is told."""

    def read(value: object) -> tuple[str, ...]:
        if not isinstance(value, list | tuple):
            raise wrong(value, want)
        good: list[str] = []
        faults: list[Fault] = []
        for index, element in enumerate(value):
            try:
                good.append(item.read(element))
            except Wrong as error:
                faults.extend(Fault(f"[{index}]{f.inside}", f.got, f.want) for f in error.faults)
        if faults:
            raise Wrong(*faults)
        return tuple(good)

    return Kind(want, {"type": "array", "items": item.schema}, read, split)


PATHS = _paths
SHELL = _shell


def table(item: Kind[T], want: str, key: str, *, hide: bool = False) -> Kind[Mapping[str, T]]:
    """A table with keys matching ``key``. ``hide``: values are never told, they may be secrets (THREATS F12)."""

    def read(value: object) -> Mapping[str, T]:
        if not isinstance(value, Mapping):
            raise wrong(value, want)
        good: dict[str, T] = {}
        faults: list[Fault] = []
        for name, element in value.items():
            at = f".{printable(name)}"
            if not re.fullmatch(key, name, re.ASCII):
                faults.append(Fault(at, f"the key {shown(name)}", want))
                continue
            try:
                good[name] = item.read(element)
            except Wrong as error:
                faults.extend(
                    Fault(at + f.inside, type(element).__name__ if hide else f.got, f.want) for f in error.faults
                )
        if faults:
            raise Wrong(*faults)
        return good

    schema = {"type": "object", "propertyNames": {"pattern": f"^(?:{key})$"}, "additionalProperties": item.schema}
    return Kind(want, schema, read)


def record(fields: Mapping[str, Kind[str]], required: str, want: str) -> Kind[Mapping[str, str]]:
    """A table with these keys only; ``required`` must be there."""

    def read(value: object) -> Mapping[str, str]:
        if not isinstance(value, Mapping):
            raise wrong(value, want)
        good: dict[str, str] = {}
        faults = [] if required in value else [Fault(f".{required}", "nothing", fields[required].want)]
        for name, element in value.items():
            if name not in fields:
                faults.append(Fault(f".{printable(name)}", f"the key {shown(name)}", ", ".join(fields)))
                continue
            try:
                good[name] = fields[name].read(element)
            except Wrong as error:
                faults.extend(Fault(f".{name}{f.inside}", f.got, f.want) for f in error.faults)
        if faults:
            raise Wrong(*faults)
        return good

    properties = {name: kind.schema for name, kind in fields.items()}
    schema = {"type": "object", "properties": properties, "required": [required], "additionalProperties": False}
    return Kind(want, schema, read)

"""JSON and YAML of a machine's own configuration, as plain values; nothing of YAML that JSON cannot say.

No anchors, aliases, tags, merge keys or second documents: a bomb of aliases and an object of Python have no way in
(THREATS F06). Plain scalars mean what YAML 1.1 makes of them for JSON's kinds; everything else is text.
"""

from __future__ import annotations

import re

from trainload.errors import ConfigError, ImageError, Place, Text
from trainload.image.strict_json import parse_value
from trainload.limits import DEFAULT

_LARGEST = 4 << 20
"""Bytes; a specification of eight GPUs with all their parts has some 100 kB."""
_WORDS = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_TRUTH = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_DECIMAL = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,15})")
_OCTAL = re.compile(r"0o?[0-7]{1,15}")


def parse(data: bytes, name: str) -> object:
    """The value of the document ``name``, by its ending. Raises :class:`ConfigError`."""
    if len(data) > _LARGEST:
        raise _refused(name, f"more than {_LARGEST} bytes")
    if not name.endswith(".json"):
        return _yaml(data, name)
    try:
        return parse_value(data, name)
    except ImageError as error:
        raise _refused(name, str(error.got)) from error


def _refused(name: str, got: str, line: int | None = None) -> ConfigError:
    return ConfigError(Text("this document cannot be read"), place=Place(name, line=line), got=got)


def _yaml(data: bytes, name: str) -> object:
    import yaml

    try:
        events = iter(yaml.parse(data.decode("utf-8"), Loader=yaml.SafeLoader))
        builder = _Builder(name)
        value: object = None
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                value = builder.value(next(events), events, 0)
        if documents != 1:
            raise _refused(name, f"{documents} documents")
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or type(error).__name__
        raise _refused(name, str(reason), mark.line + 1 if mark else None) from error
    return value


class _Builder:
    """Events to values."""

    def __init__(self, name: str) -> None:
        self._name = name

    def value(self, event, events, depth: int) -> object:  # type: ignore[no-untyped-def]  # noqa: ANN001 - yaml has no types
        import yaml

        if depth > DEFAULT.nesting:
            raise self._refuse(event, "nesting too deep")
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise self._refuse(event, "an anchor or alias")
        if event.tag is not None:
            raise self._refuse(event, f"the tag {event.tag}")
        if isinstance(event, yaml.ScalarEvent):
            return _plain(event.value) if event.implicit[0] else event.value
        if isinstance(event, yaml.SequenceStartEvent):
            items = []
            while not isinstance(inner := next(events), yaml.SequenceEndEvent):
                items.append(self.value(inner, events, depth + 1))
            return items
        table: dict[str, object] = {}
        while not isinstance(inner := next(events), yaml.MappingEndEvent):
            if not isinstance(inner, yaml.ScalarEvent):
                raise self._refuse(inner, "a key that is no text")
            self.value(inner, events, depth + 1)  # a tag or an anchor on a key
            if inner.value in table or inner.value == "<<":
                raise self._refuse(
                    inner, f"the key {inner.value!r} twice" if inner.value in table else "a merge key"
                )
            table[inner.value] = self.value(next(events), events, depth + 1)
        return table

    def _refuse(self, event, got: str) -> ConfigError:  # type: ignore[no-untyped-def]  # noqa: ANN001 - as above
        return _refused(self._name, got, event.start_mark.line + 1)


def _plain(text: str) -> object:
    if text in _WORDS:
        return None
    if text in _TRUTH:
        return _TRUTH[text]
    if _DECIMAL.fullmatch(text):
        return int(text)
    return int(text.removeprefix("0").removeprefix("o") or "0", 8) if _OCTAL.fullmatch(text) else text

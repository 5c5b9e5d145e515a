"""``RUN --mount=…``: what is seen inside while one line runs, and does not stay."""

from __future__ import annotations

import re

from trainload.dockerfile.model import RunMount
from trainload.errors import ConfigError, Place, Text

_FLAGS = {"readonly": ("read_only", True), "ro": ("read_only", True), "readwrite": ("read_only", False),
          "rw": ("read_only", False), "required": ("required", True)}  # fmt: skip
_TEXTS = {"target": "target", "dst": "target", "destination": "target", "source": "source", "src": "source",
          "from": "from_", "id": "id", "env": "env", "sharing": "sharing"}  # fmt: skip
_NUMBERS = {"mode": 8, "uid": 10, "gid": 10}
_KEYS = {
    "bind": {"target", "source", "from_", "read_only"},
    "cache": {"target", "source", "from_", "read_only", "id", "sharing", "mode", "uid", "gid"},
    "tmpfs": {"target", "size"},
    "secret": {"target", "id", "env", "required", "mode", "uid", "gid"},
    "ssh": {"target", "id", "required", "mode", "uid", "gid"},
}
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}  # docker/go-units: RAMInBytes


def read_mount(text: str, place: Place) -> RunMount:
    """The mount that ``text`` describes. Raises :class:`ConfigError`."""
    fields: dict[str, object] = {}
    kind = "bind"
    for field in text.split(","):
        key, equals, value = field.partition("=")
        name = key.strip().lower()
        if name == "type":
            kind = value
        elif name in _FLAGS and (not equals or value.lower() in ("true", "1", "false", "0")):
            inner, meant = _FLAGS[name]
            fields[inner] = meant if value.lower() not in ("false", "0") else not meant
        elif name in _TEXTS and value:
            fields[_TEXTS[name]] = value
        elif name in _NUMBERS and re.fullmatch("[0-7]{1,6}" if name == "mode" else "[0-9]{1,9}", value):
            fields[name] = int(value, _NUMBERS[name])
        elif name == "size" and (found := re.fullmatch("([0-9]{1,15})([bkmgt]?)(?:i?b)?", value.lower())):
            fields["size"] = int(found[1]) * _UNITS[found[2]]
        else:
            raise _refuse(place, Text("RUN --mount has no {field}", field=field or text))
    if kind not in _KEYS:
        raise _refuse(place, Text("RUN --mount has no type {kind}", kind=kind), want=", ".join(_KEYS))
    odd = sorted(set(fields) - _KEYS[kind])
    if odd:
        raise _refuse(place, Text("a mount of type {kind} has no {field}", kind=kind, field=odd[0].strip("_")))
    return _checked(RunMount(kind, **fields), place)  # type: ignore[arg-type]


def _checked(mount: RunMount, place: Place) -> RunMount:
    if mount.kind in ("bind", "cache", "tmpfs") and not mount.target:
        raise _refuse(place, Text("a mount of type {kind} needs a target", kind=mount.kind))
    if mount.sharing not in ("shared", "private", "locked"):
        raise _refuse(place, Text("a cache is shared, private or locked"), got=mount.sharing)
    return mount


def _refuse(place: Place, text: Text, got: str | None = None, want: str | None = None) -> ConfigError:
    return ConfigError(text, place=place, got=got, want=want)

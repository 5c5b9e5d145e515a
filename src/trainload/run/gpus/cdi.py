"""Specifications of the Container Device Interface, read strictly (CDI 0.3.0 to 1.1.0, SPEC.md).

A specification is configuration of the machine, written by ``nvidia-ctk cdi generate`` and owned by root. Fields we
do not know are refused: what they ask for would be missing, and nobody would know why.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NoReturn, TypeVar

from trainload.errors import ConfigError, Place, Text
from trainload.run.gpus.documents import parse
from trainload.values import dataclass, field

T = TypeVar("T")

VERSIONS = frozenset({"0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "0.8.1", "1.0.0", "1.1.0"})
_KIND = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*/[A-Za-z][A-Za-z0-9_-]*")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]*")
_NOT_OVER = ("/proc", "/sys")
"""Made fresh in every container: nothing is mounted over or below them."""
_OPTIONS = frozenset(
    {"ro", "rw", "bind", "rbind", "nosuid", "nodev", "private", "rprivate", "slave", "rslave", "exec", "noexec"}
)


@dataclass(frozen=True, slots=True)
class DeviceNode:
    """A node of the host that appears as ``path``; where ``major`` is given it must be that device."""

    path: str
    host_path: str
    major: int | None = None
    minor: int | None = None
    permissions: str = "rwm"


@dataclass(frozen=True, slots=True)
class SpecMount:
    """A file or folder of the host."""

    host_path: str
    container_path: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hook:
    """A program of the host that an OCI runtime would call; we never do."""

    name: str
    path: str
    args: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Edits:
    """What a device asks for (``containerEdits``)."""

    env: tuple[str, ...] = ()
    nodes: tuple[DeviceNode, ...] = ()
    mounts: tuple[SpecMount, ...] = ()
    hooks: tuple[Hook, ...] = ()
    groups: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Spec:
    """One file."""

    file: str
    kind: str
    """``nvidia.com/gpu``."""
    devices: Mapping[str, Edits] = field(default_factory=dict)
    edits: Edits = Edits()
    """Of every device."""


def read(data: bytes, file: str) -> Spec:
    """The specification in the file ``file``. Raises :class:`ConfigError` with the key that is wrong."""
    top = _At(file, "", parse(data, file))
    table = top.table("cdiVersion", "kind", "annotations", "devices", "containerEdits")
    version = table["cdiVersion"].text()
    if version not in VERSIONS:
        table["cdiVersion"].refuse(", ".join(sorted(VERSIONS)))
    kind = table["kind"].matching(_KIND, "vendor.com/class")
    devices: dict[str, Edits] = {}
    for at in table["devices"].items():
        device = at.table("name", "annotations", "containerEdits")
        name = device["name"].matching(_NAME, "a device's name")
        if name in devices:
            device["name"].refuse("every name once")
        devices[name] = _edits(device["containerEdits"])
    if not devices:
        table["devices"].refuse("at least one device")
    return Spec(file, kind, devices, _edits(table["containerEdits"]))


def _edits(at: _At) -> Edits:
    if at.value is None:
        return Edits()
    # netDevices and intelRdt are no business of GPUs; a specification that has them is told, not misread
    table = at.table("env", "deviceNodes", "mounts", "hooks", "additionalGids")
    return Edits(
        env=tuple(_variable(item) for item in table["env"].items()),
        nodes=tuple(_node(item) for item in table["deviceNodes"].items()),
        mounts=tuple(_mount(item) for item in table["mounts"].items()),
        hooks=tuple(_hook(item) for item in table["hooks"].items()),
        groups=tuple(item.number() for item in table["additionalGids"].items()),
    )


def _variable(at: _At) -> str:
    return at.matching(re.compile(r"[^=\0]+=[^\0]*", re.DOTALL), "NAME=VALUE")


def _node(at: _At) -> DeviceNode:
    table = at.table("path", "hostPath", "type", "major", "minor", "fileMode", "permissions", "uid", "gid")
    path = table["path"].path()
    if not path.startswith("/dev/"):
        table["path"].refuse("a path below /dev")
    if table["type"].value not in (None, "", "b", "c", "u"):
        table["type"].refuse("b, c or u")
    return DeviceNode(
        path=path,
        host_path=table["hostPath"].path() if table["hostPath"].value else path,
        major=table["major"].optional(_At.number),
        minor=table["minor"].optional(_At.number),
        permissions=table["permissions"].optional(lambda at: at.matching(re.compile("[rwm]*"), "r, w and m"))
        or "rwm",
    )


def _mount(at: _At) -> SpecMount:
    table = at.table("hostPath", "containerPath", "options", "type")
    target = table["containerPath"].path()
    if target in ("/", "/dev") or any(target == place or target.startswith(f"{place}/") for place in _NOT_OVER):
        table["containerPath"].refuse("a path of the image")
    if table["type"].value not in (None, "", "bind", "none"):
        table["type"].refuse("bind")
    options = tuple(item.text() for item in table["options"].items())
    if not set(options) <= _OPTIONS:
        table["options"].refuse(", ".join(sorted(_OPTIONS)))
    return SpecMount(table["hostPath"].path(), target, options)


def _hook(at: _At) -> Hook:
    table = at.table("hookName", "path", "args", "env", "timeout")
    return Hook(
        table["hookName"].text(), table["path"].path(), tuple(item.text() for item in table["args"].items())
    )


@dataclass(frozen=True, slots=True)
class _At:
    """A value and where it stands."""

    file: str
    key: str
    value: object

    def table(self, *names: str) -> Mapping[str, _At]:
        if not isinstance(self.value, dict):
            self.refuse("a table")
        unknown = sorted(set(self.value) - set(names))
        if unknown:
            self._below(unknown[0], None).refuse(", ".join(names))
        return {name: self._below(name, self.value.get(name)) for name in names}

    def items(self) -> Iterator[_At]:
        if self.value is None:
            return
        if not isinstance(self.value, list):
            self.refuse("a list")
        for number, item in enumerate(self.value):
            yield _At(self.file, f"{self.key}[{number}]", item)

    def text(self) -> str:
        if not isinstance(self.value, str) or "\0" in self.value:
            self.refuse("text")
        return self.value

    def matching(self, pattern: re.Pattern[str], want: str) -> str:
        text = self.text()
        if not pattern.fullmatch(text):
            self.refuse(want)
        return text

    def path(self) -> str:
        """Absolute, in its one spelling: nothing leads out of anywhere (THREATS L12)."""
        text = self.text()
        parts = text.split("/")
        if not text.startswith("/") or ".." in parts or "\n" in text:
            self.refuse("an absolute path without ..")
        return "/" + "/".join(part for part in parts if part not in ("", "."))

    def number(self) -> int:
        if not isinstance(self.value, int) or isinstance(self.value, bool) or not 0 <= self.value < 2**32:
            self.refuse("a number")
        return self.value

    def optional(self, read: Callable[[_At], T]) -> T | None:
        return None if self.value is None else read(self)

    def refuse(self, want: str) -> NoReturn:
        raise ConfigError(
            Text("this CDI specification cannot be used"), place=Place(self.file, self.key or None),
            got=str(self.value)[:200], want=want,
        )  # fmt: skip

    def _below(self, name: str, value: object) -> _At:
        return _At(self.file, f"{self.key}.{name}" if self.key else name, value)

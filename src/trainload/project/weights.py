"""``weights``: model files that go into the image, as the user writes them.

``hf://org/model@revision`` is a repository of a hub, ``https://…/file.pt#sha256=…`` one file, anything else a file
or folder of the project. A table says more: which files of it, where they go, and whether the image has them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from urllib.parse import unquote, urlsplit

from trainload.errors import printable
from trainload.project.kinds import BOOLEAN, Fault, Kind, Wrong, checked, shown, wrong
from trainload.project.places import image_folder, inside
from trainload.values import dataclass, replace

DEFAULT_REVISION = "main"
COMMIT = re.compile("[0-9a-f]{40}")
_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?"
_REPOSITORY = re.compile(rf"(?:(models|datasets)/)?({_PART}(?:/{_PART})?)", re.ASCII)
_REVISION = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._/+-]{0,198}[A-Za-z0-9_+-])?", re.ASCII)
_URL = re.compile(r"(https?://[^\s/?#@]+/[^\s#]*)#sha256=([0-9a-f]{64})")
_SECRET = re.compile(r"[?&][^=&]*(?:token|sig|key|secret|password|credential|expires)[^=&]*=", re.IGNORECASE)
_FILE_NAME = re.compile(r"(?!\.{1,2}$)[^/\\\x00-\x1f\x7f]{1,255}")
_WANT = "hf://org/model@revision, https://…/file#sha256=…, or a path inside the project"
_TARGET_WANT = "a folder of the image such as /models/bert, or one below the project's such as models/bert"


class Pickles(StrEnum):
    """What becomes of weights that are pickles, which run code when they are loaded."""

    WARN = "warn"
    """They go in, and what they import is told."""
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class HubSource:
    """A repository of a hub."""

    kind: str
    """``models`` or ``datasets``."""
    repository: str
    """``org/name``, or ``name`` alone for the oldest ones."""
    revision: str = DEFAULT_REVISION
    """A branch, a tag or a commit."""

    def __str__(self) -> str:
        prefix = "datasets/" if self.kind == "datasets" else ""
        return f"hf://{prefix}{self.repository}@{self.revision}"


@dataclass(frozen=True, slots=True)
class UrlSource:
    """One file by its address."""

    url: str
    sha256: str
    """Empty in a lock, whose file has it."""

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        return unquote(urlsplit(self.url).path).rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class LocalSource:
    """A file or folder of the project."""

    path: str

    def __str__(self) -> str:
        return self.path


Source = HubSource | UrlSource | LocalSource


@dataclass(frozen=True, slots=True)
class Wanted:
    """One entry of ``weights``."""

    source: Source
    include: tuple[str, ...] = ()
    """Patterns of files, as hubs have them: ``*`` matches slashes too. Empty: all."""
    exclude: tuple[str, ...] = ()
    target: str | None = None
    """The folder of the image they go into, absolute or below the workdir; None: where its libraries look."""
    mount: bool = False
    """An artifact of its own, which is mounted when the image runs."""

    def __str__(self) -> str:
        return str(self.source)


def as_written(wanted: Wanted) -> object:
    """As TOML has it: a text, or a table where there is more to say."""
    source = wanted.source
    text = f"{source}#sha256={source.sha256}" if isinstance(source, UrlSource) else str(source)
    more = {
        "include": list(wanted.include), "exclude": list(wanted.exclude), "target": wanted.target,
        "mount": wanted.mount,
    }  # fmt: skip
    table = {key: value for key, value in more.items() if value}
    return {"source": text, **table} if table else text


def chosen(wanted: Wanted, path: str) -> bool:
    """Whether the file at ``path`` of an entry is asked for."""
    if wanted.include and not any(fnmatchcase(path, pattern) for pattern in wanted.include):
        return False
    return not any(fnmatchcase(path, pattern) for pattern in wanted.exclude)


def parse_source(text: str, *, locked: bool = False) -> Source | None:
    """What ``text`` names, or None. ``locked``: as a lock writes it, whose files have the hashes."""
    if text.startswith("hf://"):
        return _hub(text.removeprefix("hf://"))
    if "://" in text:
        match = _URL.fullmatch(text if not locked else f"{text}#sha256={'0' * 64}")
        source = UrlSource(match[1], "" if locked else match[2]) if match else None
        return source if source is not None and _FILE_NAME.fullmatch(source.name) else None
    path = inside(text)
    return LocalSource(path) if path not in (None, ".") and path is not None else None


def _hub(text: str) -> HubSource | None:
    name, at, revision = text.partition("@")
    match = _REPOSITORY.fullmatch(name)
    if match is None or (at and (not _REVISION.fullmatch(revision) or ".." in revision or "//" in revision)):
        return None
    if "--" in match[2] or ".." in match[2]:  # hubs refuse them, and their caches part names with --
        return None
    return HubSource(match[1] or "models", match[2], revision or DEFAULT_REVISION)


def _target(value: str) -> str | None:
    return image_folder(value) if value.startswith("/") else inside(value)


def _patterns(value: object, at: str) -> tuple[str, ...]:
    want = 'an array of patterns such as "*.safetensors"'
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) and one for one in value):
        raise wrong(value, want, at)
    return tuple(f"{one}*" if one.endswith("/") else one for one in value)


def _text(value: object) -> Wanted:
    source = parse_source(value) if isinstance(value, str) and "\0" not in value else None
    if source is None:
        raise wrong(value, _WANT)
    if isinstance(source, UrlSource) and _SECRET.search(source.url):
        raise wrong(
            source.url.partition("?")[0], "an address without token or signature, which would be in the lock"
        )
    return Wanted(source)


def _table(value: Mapping[object, object]) -> Wanted:
    if "source" not in value:
        raise Wrong(Fault(".source", "nothing", _WANT))
    try:
        found = _text(value["source"])
    except Wrong as error:
        raise Wrong(*(replace(fault, inside=".source") for fault in error.faults)) from None
    folder = checked(_target, _TARGET_WANT)
    for name, item in value.items():
        try:
            match name:
                case "source":
                    pass
                case "include":
                    found = replace(found, include=_patterns(item, ""))
                case "exclude":
                    found = replace(found, exclude=_patterns(item, ""))
                case "target":
                    found = replace(found, target=folder.read(item))
                case "mount":
                    found = replace(found, mount=BOOLEAN.read(item))
                case _:
                    raise wrong(name, "source, include, exclude, target or mount")
        except Wrong as error:
            raise Wrong(*(replace(fault, inside=f".{printable(name)}") for fault in error.faults)) from None
    return found


def _read(value: object) -> tuple[Wanted, ...]:
    if not isinstance(value, list | tuple):
        raise wrong(value, f"an array, each {_WANT}")
    good: list[Wanted] = []
    faults: list[Fault] = []
    for index, element in enumerate(value):
        try:
            good.append(_table(element) if isinstance(element, Mapping) else _text(element))
        except Wrong as error:
            faults.extend(Fault(f"[{index}]{fault.inside}", fault.got, fault.want) for fault in error.faults)
    for index, one in enumerate(good):
        if one in good[:index]:
            faults.append(Fault(f"[{index}]", shown(str(one)), "each entry once"))
    if faults:
        raise Wrong(*faults)
    return tuple(good)


_STRINGS = {"type": "array", "items": {"type": "string", "minLength": 1}}
_SCHEMA: Mapping[str, object] = {
    "type": "array",
    "items": {
        "anyOf": [
            {"type": "string", "minLength": 1},
            {
                "type": "object",
                "properties": {
                    "source": {"type": "string", "minLength": 1},
                    "include": _STRINGS,
                    "exclude": _STRINGS,
                    "target": {"type": "string", "minLength": 1},
                    "mount": {"type": "boolean"},
                },
                "required": ["source"],
                "additionalProperties": False,
            },
        ]
    },
}
KIND: Kind[tuple[Wanted, ...]] = Kind(f"an array, each {_WANT}", _SCHEMA, _read, str.split)

"""What a conda package says of itself in ``info/``: who it is, its paths, its entry points (THREATS C03–C05).

Paths: https://docs.conda.io/projects/conda-build/en/stable/resources/package-spec.html; packages from before 2017
have ``files``, ``has_prefix`` and ``no_link`` instead of ``paths.json``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from trainload.errors import LayerError, Place, Text
from trainload.layers.conda.documents import objects, parse, text
from trainload.plan.model import CondaFiles

FILES = frozenset({
    "info/index.json", "info/paths.json", "info/link.json", "info/files", "info/has_prefix", "info/no_link",
})  # fmt: skip
LARGEST = 64 << 20
"""Bytes of one of them; the largest list of paths has some ten megabytes."""
_HEX = re.compile("[0-9a-f]{64}")
_OLD_PLACEHOLDER = "/opt/anaconda1anaconda2anaconda3"
"""What a line of ``has_prefix`` without a placeholder means (conda)."""
_NAME = re.compile(r"[^\s/\\:\x00-\x1f\x7f-\x9f]{1,255}")
_VALUE = re.compile(r"(?P<module>[A-Za-z_][\w.]*)\s*:\s*(?P<attribute>[A-Za-z_][\w.]*)\s*(?:\[[^\[\]]*\])?")
_LONGEST = 1_000


class PathKind(StrEnum):
    FILE = "hardlink"
    LINK = "softlink"
    FOLDER = "directory"


@dataclass(frozen=True, slots=True)
class PathEntry:
    """One path of the package, as ``paths.json`` has it."""

    path: str
    kind: PathKind
    sha256: bytes | None = None
    """Of a link: of what it leads to. None in packages from before 2017."""
    size: int | None = None
    placeholder: str | None = None
    """The prefix it was built with, to be replaced."""
    binary: bool = False
    """It is replaced inside strings that keep their length."""


@dataclass(frozen=True, slots=True)
class EntryPoint:
    """A command of a ``noarch: python`` package."""

    name: str
    module: str
    attribute: str


@dataclass(frozen=True, slots=True)
class Info:
    """Everything of ``info/`` that decides what is placed."""

    index: Mapping[str, object]
    paths: Mapping[str, PathEntry]
    entry_points: tuple[EntryPoint, ...] = ()

    @property
    def noarch(self) -> str:
        """``python``, ``generic`` or empty."""
        value = self.index.get("noarch")
        return value if isinstance(value, str) else "generic" if value else ""


def read_info(files: Mapping[str, bytes], package: CondaFiles) -> Info:
    """``files``: the documents by their path. Raises :class:`LayerError` where they are not of ``package``."""
    name = package.archive.name
    index = parse(_needed(files, "info/index.json", name), Place(name, "info/index.json"))
    _check_identity(index, package)
    if "info/paths.json" in files:
        paths = _paths(files["info/paths.json"], Place(name, "info/paths.json"))
    else:
        paths = _old_paths(files, name)
    points = _entry_points(files.get("info/link.json"), Place(name, "info/link.json"))
    return Info(index, paths, points)


def _needed(files: Mapping[str, bytes], path: str, name: str) -> bytes:
    if path not in files:
        raise LayerError("the package lacks this file", place=Place(name, path))
    return files[path]


def _check_identity(index: Mapping[str, object], package: CondaFiles) -> None:
    """THREATS C05: what the archive is called decides nothing; what it says must be what was locked."""
    got = tuple(index.get(key) for key in ("name", "version", "build"))
    want = (package.name, package.release, package.build)
    if got != want:
        raise LayerError(
            "the package says it is another one", place=Place(package.archive.name, "info/index.json"),
            got=" ".join(map(str, got))[:200], want=" ".join(want),
        )  # fmt: skip


def _paths(data: bytes, place: Place) -> dict[str, PathEntry]:
    values = parse(data, place)
    if values.get("paths_version") != 1:
        raise LayerError(
            "the list of paths is of a version that is not known",
            place=place,
            got=values.get("paths_version"),
            want=1,
        )
    return _by_path((_entry(row, place) for row in objects(values, "paths", place)), place)


def _by_path(entries: Iterable[PathEntry], place: Place) -> dict[str, PathEntry]:
    found: dict[str, PathEntry] = {}
    for entry in entries:
        if found.setdefault(entry.path, entry) is not entry:
            raise LayerError(Text("{path} is listed twice", path=entry.path), place=place)
    return found


def _entry(row: dict[str, object], place: Place) -> PathEntry:
    path = text(row, "_path", place)
    kind, sha256, size = row.get("path_type"), row.get("sha256"), row.get("size_in_bytes")
    mode, placeholder = row.get("file_mode"), row.get("prefix_placeholder")
    good = (
        kind in list(PathKind)
        and (kind != PathKind.FILE or (isinstance(sha256, str) and _HEX.fullmatch(sha256)))
        and (size is None or (isinstance(size, int) and not isinstance(size, bool) and size >= 0))
        and mode in (None, "text", "binary")
        and (placeholder is None or (isinstance(placeholder, str) and placeholder.startswith("/")))
    )
    if not good:
        raise LayerError(Text("the entry of {path} is not as the format has it", path=path), place=place)
    digest = bytes.fromhex(sha256) if isinstance(sha256, str) and _HEX.fullmatch(sha256) else None
    return PathEntry(
        path,
        PathKind(str(kind)),
        digest,
        size if isinstance(size, int) else None,
        placeholder if isinstance(placeholder, str) else None,
        mode == "binary",
    )


def _old_paths(files: Mapping[str, bytes], name: str) -> dict[str, PathEntry]:
    listed = _lines(_needed(files, "info/files", name), Place(name, "info/files"))
    prefixes = dict(_has_prefix(line) for line in _lines(files.get("info/has_prefix", b""), Place(name)))
    entries = []
    for path in listed:
        placeholder, binary = prefixes.get(path, (None, False))
        entries.append(PathEntry(path, PathKind.FILE, placeholder=placeholder, binary=binary))
    return _by_path(entries, Place(name, "info/files"))


def _has_prefix(line: str) -> tuple[str, tuple[str, bool]]:
    """``PLACEHOLDER MODE PATH``, or only a path; a path with blanks is quoted."""
    parts = line.split(" ", 2)
    if len(parts) == 3 and parts[1] in ("text", "binary"):
        return parts[2].strip('"'), (parts[0].strip('"'), parts[1] == "binary")
    return line.strip('"'), (_OLD_PLACEHOLDER, False)


def _lines(data: bytes, place: Place) -> list[str]:
    try:
        return [line for line in data.decode().splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise LayerError("the file is not UTF-8", place=place) from error


def _entry_points(data: bytes | None, place: Place) -> tuple[EntryPoint, ...]:
    if data is None:
        return ()
    noarch = parse(data, place).get("noarch")
    lines = noarch.get("entry_points", []) if isinstance(noarch, dict) else []
    if not isinstance(lines, list):
        raise LayerError(Text("{key} is no list of objects", key="entry_points"), place=place)
    found: dict[str, EntryPoint] = {}
    for line in lines:
        point = _entry_point(line, place)
        if found.setdefault(point.name, point) != point:
            raise LayerError(Text("two entry points are called {name}", name=point.name), place=place)
    return tuple(found[name] for name in sorted(found))


def _entry_point(line: object, place: Place) -> EntryPoint:
    """THREATS C04 (CVE-2026-47425), W23, W24: a plain file name, and dotted names only."""
    name, _, value = line.partition("=") if isinstance(line, str) and len(line) <= _LONGEST else ("", "", "")
    name = name.strip()
    match = _VALUE.fullmatch(value.strip())
    dotted = match is not None and all(
        part.isidentifier() for key in ("module", "attribute") for part in match[key].split(".")
    )
    if match is None or not dotted or name in (".", "..") or not _NAME.fullmatch(name):
        raise LayerError(
            "this is no entry point", place=place, got=str(line)[:200], want="command = package.module:function"
        )
    return EntryPoint(name, match["module"], match["attribute"])

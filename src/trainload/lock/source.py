"""What an sdist says of itself without being run: what it requires, and what builds it (PEP 517, 518, 621, 643)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from trainload.errors import LockError, Place
from trainload.lock import document
from trainload.values import dataclass, field

LEGACY = "setuptools.build_meta:__legacy__"
"""PEP 517 § Source trees: what builds a project that names no backend."""
_DEFAULT = ("setuptools>=40.8.0",)  # PEP 517; setuptools asks for wheel itself where it still needs it
_ASK_FOR_NOTHING = frozenset({"flit_core.buildapi", "poetry.core.masonry.api"})
"""Backends whose ``get_requires_for_build_wheel`` is known to be empty."""
_DECIDING = frozenset({"requires-dist", "requires-python", "provides-extra"})
_BACKEND = re.compile(r"[A-Za-z_][\w.]*(?::[A-Za-z_][\w.]*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Statements:
    """The files of an sdist that speak for it; None: it has no such file."""

    file: str
    """The sdist's own name, for errors."""
    pkg_info: bytes | None
    pyproject: bytes | None
    has_setup: bool = False
    """It has a ``setup.py`` or ``setup.cfg``, which may ask for more (``setup_requires``)."""


@dataclass(frozen=True, slots=True)
class BuildSystem:
    """``[build-system]`` of its ``pyproject.toml``, or what stands for it."""

    requires: tuple[str, ...] = _DEFAULT
    backend: str = LEGACY
    path: tuple[str, ...] = ()
    """Folders of the sdist that the backend is imported from."""
    complete: bool = False
    """The backend asks for nothing else; otherwise it must be asked."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a version of a project requires (core metadata)."""

    requires: tuple[str, ...] = ()
    requires_python: str | None = None
    extras: tuple[str, ...] = ()
    name: str = field(default="", compare=False)
    """As it is written; empty where it is not said."""
    version: str = field(default="", compare=False)


def build_system(said: Statements) -> BuildSystem:
    """What builds the sdist. Raises :class:`LockError` for a ``pyproject.toml`` that cannot be understood."""
    place = Place(said.file, "pyproject.toml")
    if said.pyproject is None:
        return BuildSystem()
    values = document.parse(said.pyproject, f"{said.file}: pyproject.toml")
    table = values.get("build-system")
    if table is None:
        return BuildSystem()
    requires = _texts(table, "requires") if isinstance(table, dict) else None
    path = _texts(table, "backend-path") if isinstance(table, dict) else None
    backend = table.get("build-backend", LEGACY) if isinstance(table, dict) else None
    if requires is None or path is None or not (isinstance(backend, str) and _BACKEND.fullmatch(backend)):
        raise LockError("[build-system] is not as PEP 518 has it", place=place)
    if any(part.startswith("/") or ".." in part.split("/") for part in path):
        raise LockError("backend-path leads out of the source", place=place, got=", ".join(path))
    return BuildSystem(requires, backend, path, not path and _asks_for_nothing(backend, said, values))


def _asks_for_nothing(backend: str, said: Statements, pyproject: Mapping[str, object]) -> bool:
    if backend in _ASK_FOR_NOTHING:
        return True
    if backend == "hatchling.build":  # a build hook may bring requirements of its own
        return b"hooks" not in (said.pyproject or b"") and b"require-runtime" not in (said.pyproject or b"")
    return backend == "setuptools.build_meta" and not said.has_setup and "project" in pyproject


def _texts(table: Mapping[str, object], key: str) -> tuple[str, ...] | None:
    value = table.get(key, [])
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    return None


def static_metadata(said: Statements) -> Metadata | None:
    """What it requires, if that is said once for all builds; None: its backend must be asked."""
    return _of_pkg_info(said.pkg_info) or _of_project(said)


def _of_pkg_info(data: bytes | None) -> Metadata | None:
    """PEP 643: from version 2.2 on what is not named Dynamic is the same in every wheel."""
    if data is None:
        return None
    fields = headers(data)
    version = fields.get("metadata-version", ["0"])[0]
    numbers = version.split(".")
    if not all(part.isdecimal() for part in numbers) or tuple(map(int, numbers)) < (2, 2):
        return None
    if _DECIDING & {name.lower() for name in fields.get("dynamic", ())}:
        return None
    return of_headers(fields)


def metadata(data: bytes) -> Metadata:
    """A wheel's METADATA."""
    return of_headers(headers(data))


def of_headers(fields: Mapping[str, list[str]]) -> Metadata:
    return Metadata(
        tuple(fields.get("requires-dist", ())),
        next(iter(fields.get("requires-python", ())), None),
        tuple(fields.get("provides-extra", ())),
        next(iter(fields.get("name", ())), ""),
        next(iter(fields.get("version", ())), ""),
    )


def headers(data: bytes) -> dict[str, list[str]]:
    """All values of each field, by its lower-case name, of core metadata (an email header; folded lines joined)."""
    found: dict[str, list[str]] = {}
    last: list[str] | None = None
    for line in data.decode("utf-8", "replace").splitlines():
        if not line:
            break
        key, colon, value = line.partition(":")
        if line[:1].isspace():
            if last:
                last[-1] += " " + line.strip()
        elif colon:
            last = found.setdefault(key.strip().lower(), [])
            last.append(value.strip())
    return found


def _of_project(said: Statements) -> Metadata | None:
    """PEP 621: what ``[project]`` has and does not call dynamic is what the wheel will have."""
    if said.pyproject is None:
        return None
    project = document.parse(said.pyproject, f"{said.file}: pyproject.toml").get("project")
    if not isinstance(project, dict):
        return None
    dynamic = _texts(project, "dynamic")
    dependencies = _texts(project, "dependencies")
    python = project.get("requires-python")
    if dynamic is None or dependencies is None or not isinstance(python, str | None):
        return None
    if {"dependencies", "optional-dependencies", "requires-python"} & set(dynamic):
        return None
    optional = project.get("optional-dependencies", {})
    if not isinstance(optional, dict):
        return None
    requires = list(dependencies)
    for extra in sorted(optional):
        listed = _texts(optional, extra)
        if listed is None:
            return None
        requires.extend(_under(extra, requirement) for requirement in listed)
    name, version = (project.get(key) if key not in dynamic else "" for key in ("name", "version"))
    return Metadata(tuple(requires), python, tuple(sorted(optional)), str(name or ""), str(version or ""))


def _under(extra: str, requirement: str) -> str:
    """``requirement`` as core metadata writes it for an extra."""
    # PEP 508: after an address a blank must stand before the semicolon
    head, separator, marker = requirement.partition(" ;" if "@" in requirement else ";")
    condition = f"extra == '{extra}'"
    return f"{head} ; ({marker.strip()}) and {condition}" if separator else f"{requirement} ; {condition}"

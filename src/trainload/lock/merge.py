"""One list of packages out of one per platform: what all take alike stands without a marker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trainload.lock.model import File, PythonPackage
from trainload.lock.select import MACHINE_MARKERS
from trainload.platform import Platform
from trainload.values import replace


def merge(parts: Mapping[Platform, tuple[PythonPackage, ...]]) -> tuple[PythonPackage, ...]:
    """The packages of every platform, sorted by name and version; each part was made for its platform alone."""
    takers: dict[tuple[str, str], list[Platform]] = {}
    merged: dict[tuple[str, str], PythonPackage] = {}
    for platform, packages in sorted(parts.items()):
        for package in packages:
            key = package.name, package.version
            takers.setdefault(key, []).append(platform)
            merged[key] = _joined(merged[key], package) if key in merged else package
    return tuple(replace(merged[key], marker=_marker(takers[key], len(parts))) for key in sorted(merged))


def _joined(one: PythonPackage, other: PythonPackage) -> PythonPackage:
    files: dict[str, File] = {file.name: file for file in (*other.wheels, *one.wheels)}
    return replace(one, wheels=tuple(sorted(files.values())), sdist=one.sdist or other.sdist)


def _marker(platforms: list[Platform], of: int) -> str | None:
    return None if len(platforms) == of else marker_of(platforms)


def marker_of(platforms: Sequence[Platform]) -> str:
    """A marker that holds on ``platforms`` only."""
    return " or ".join(MACHINE_MARKERS[platform.machine] for platform in platforms)

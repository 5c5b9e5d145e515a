"""Which wheels a target takes, and which it likes best (PEP 425, PEP 600, platform compatibility tags).

Equal to ``packaging.tags`` for CPython on glibc, which the tests hold; written out because importing that costs
more than reading a lock, and because nothing here may ask the machine we run on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

_LEGACY = {(2, 17): "manylinux2014", (2, 12): "manylinux2010", (2, 5): "manylinux1"}
_OLDEST = {"x86_64": 5, "aarch64": 17}  # glibc 2.x: PEP 513 for x86_64, manylinux2014 for the others
_WHEEL = re.compile(
    r"(?P<name>[A-Za-z0-9._]+)-(?P<version>[A-Za-z0-9._+!]+)(?:-(?P<build>[0-9][A-Za-z0-9._]*))?"
    r"-(?P<python>[A-Za-z0-9._]+)-(?P<abi>[A-Za-z0-9._]+)-(?P<platform>[A-Za-z0-9._]+)\.whl"
)


def platforms(machine: str, glibc: tuple[int, int]) -> list[str]:
    """Platform tags a base with that glibc runs, the newest first."""
    found = []
    for minor in range(glibc[1], _OLDEST[machine] - 1, -1):
        found.append(f"manylinux_2_{minor}_{machine}")
        if (2, minor) in _LEGACY:
            found.append(f"{_LEGACY[2, minor]}_{machine}")
    return [*found, f"linux_{machine}"]


@lru_cache(maxsize=8)
def ranks(python: str, machine: str, glibc: tuple[int, int]) -> dict[str, int]:
    """Every tag the target takes → its rank; 0 is liked best. ``python`` is a minor version, ``3.11``."""
    found: dict[str, int] = {}
    for tag in _tags(int(python.split(".")[1]), platforms(machine, glibc)):
        found.setdefault(tag, len(found))
    return found


def _tags(minor: int, places: list[str]) -> Iterator[str]:
    cp = f"cp3{minor}"
    for abi in (cp, "abi3", "none"):
        yield from (f"{cp}-{abi}-{place}" for place in places)
    for older in range(minor - 1, 1, -1):
        yield from (f"cp3{older}-abi3-{place}" for place in places)
    generic = [f"py3{minor}", "py3", *(f"py3{older}" for older in range(minor - 1, -1, -1))]
    for python in generic:
        yield from (f"{python}-none-{place}" for place in places)
    yield f"{cp}-none-any"
    yield from (f"{python}-none-any" for python in generic)


def wheel_rank(file_name: str, known: dict[str, int]) -> tuple[int, int, str] | None:
    """Sort key of a wheel among those that fit, the best first; None when no tag of it fits.

    A higher build number wins among equals (wheel specification, file name convention).
    """
    match = _WHEEL.fullmatch(file_name)
    if match is None:
        return None
    found = [
        known[tag]
        for python in match["python"].lower().split(".")
        for abi in match["abi"].lower().split(".")
        for place in match["platform"].lower().split(".")
        if (tag := f"{python}-{abi}-{place}") in known
    ]
    if not found:
        return None
    build = re.match("[0-9]+", match["build"] or "0")
    assert build is not None
    return min(found), -int(build[0]), file_name


def is_wheel_name(file_name: str) -> bool:
    return _WHEEL.fullmatch(file_name) is not None


def tags_of(file_name: str) -> str:
    """The tag part of a wheel's name, as people know it: ``cp311-cp311-manylinux_2_28_x86_64``."""
    match = _WHEEL.fullmatch(file_name)
    return f"{match['python']}-{match['abi']}-{match['platform']}" if match else file_name

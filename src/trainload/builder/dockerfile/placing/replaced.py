"""What an installer finds in its folders: files of a version that makes room, and folders that keep their looks."""

from __future__ import annotations

import csv
import io
import posixpath
import re
from collections.abc import Iterable, Sequence
from typing import Protocol

from trainload.builder.dockerfile.ground import Ground
from trainload.dockerfile.understand.parts import Beyond
from trainload.errors import Text
from trainload.layers.debian.root import normalise
from trainload.layers.tarread import MemberKind
from trainload.plan.placed import Below, InstallScheme

_DEEP = 3
"""Folders below a Python's prefix whose looks are told: ``share/man/man1``."""


class Distribution(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...


def removed_by(replaced: Sequence[Distribution], scheme: InstallScheme, ground: Ground) -> tuple[str, ...]:
    """Files of ``replaced``, as their RECORDs list them, and folders that nothing else is in; sorted.

    What lies in other folders than the installer's stays and is hidden (pip does not uninstall it either). Raises
    :class:`Beyond` for one without a RECORD.
    """
    files: set[str] = set()
    for each in replaced:
        info = _info(each, scheme, ground)
        if info is None:
            continue
        record = ground.read(f"{scheme.site}/{info}/RECORD")
        if record is None:
            raise Beyond(Text("{name} {version} of the image, which cannot be uninstalled", name=each.name,
                              version=each.version))  # fmt: skip
        files |= set(_recorded(record, scheme.site, ground))
        files |= {f"{scheme.site}/{info}/{name}" for name in ground.folder(f"{scheme.site}/{info}")}
    return tuple(sorted({*files, *_emptied(files, scheme.site, ground)}))


def below_of(scheme: InstallScheme, ground: Ground, owner: tuple[int, int] = (0, 0)) -> tuple[Below, ...]:
    """Links to folders that wheels may reach, and folders that do not look like ours (``owner``), by path."""
    found: dict[str, Below] = {}
    for root in (scheme.site, scheme.scripts, scheme.headers, scheme.data):
        path = root
        while path:
            _note(path, ground, owner, found)
            path = path.rpartition("/")[0]
    start = f"{scheme.data}/"
    for path in _near(start, ground):
        _note(path, ground, owner, found)
    return tuple(found[path] for path in sorted(found))


def _near(start: str, ground: Ground) -> Iterable[str]:
    depth = start.count("/") + _DEEP
    return [path for path in ground.nodes if path.startswith(start) and path.count("/") < depth]


def _note(path: str, ground: Ground, owner: tuple[int, int], found: dict[str, Below]) -> None:
    seen = ground.at(path)
    if seen is None:
        return
    if seen.kind is MemberKind.SYMLINK:
        real = ground.real(path)
        led = ground.at(real)
        if led is not None and led.kind is MemberKind.DIRECTORY:
            found[path] = Below(path, target=real)
    elif seen.kind is MemberKind.DIRECTORY and (seen.mode, seen.owner.uid, seen.owner.gid) != (0o755, *owner):
        found[path] = Below(path, seen.mode, seen.owner.uid, seen.owner.gid)


def _info(each: Distribution, scheme: InstallScheme, ground: Ground) -> str | None:
    """Its ``.dist-info`` in the installer's folder."""
    wanted = re.sub(r"[-_.]+", "-", each.name).lower()
    for name in ground.folder(scheme.site):
        match = re.fullmatch(r"(.+)-([^-]+)\.(dist-info|egg-info)", name)
        if match is not None and re.sub(r"[-_.]+", "-", match[1]).lower() == wanted:
            if match[3] == "egg-info":
                raise Beyond(Text("{name} {version} of the image, which cannot be uninstalled", name=each.name,
                                  version=each.version))  # fmt: skip
            return name
    return None


def _recorded(record: bytes, site: str, ground: Ground) -> list[str]:
    rows = csv.reader(io.StringIO(record.decode("utf-8", "replace")))
    found = []
    for row in rows:
        path = normalise(site, row[0]) if row else None
        if path and ground.at(path) is not None and posixpath.dirname(path):
            found.append(path)
    return found


def _emptied(files: set[str], site: str, ground: Ground) -> set[str]:
    """Folders of which everything goes: pip removes them too."""
    gone: set[str] = set()
    candidates = {path.rpartition("/")[0] for path in files if path.startswith(f"{site}/")}
    for folder in sorted(candidates, key=lambda path: -path.count("/")):
        path = folder
        while path.startswith(f"{site}/"):
            if not all(f"{path}/{name}" in files or f"{path}/{name}" in gone for name in ground.folder(path)):
                break
            gone.add(path)
            path = path.rpartition("/")[0]
    return gone

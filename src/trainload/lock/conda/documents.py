"""``conda-lock.yml`` and ``pixi.lock``, strictly: what is not understood exactly is refused (THREATS F05, F06)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from trainload.errors import LockError, Place, Problems, Text
from trainload.lock.conda.entries import SUBDIRS, CondaEntry, Entries, WheelEntry, located
from trainload.lock.grammar import HEX, VERSION
from trainload.project.conda import yaml

_PIXI = ("4", "5", "6")
_MD5 = re.compile("[0-9a-f]{32}")


def conda_lock(text: str, file: str) -> Mapping[str, Entries]:
    """Subdir → what a ``conda-lock.yml`` has for it. Raises :class:`LockError`, or several with their lines."""
    top = _top(text, file, "version", ("1",))
    found: dict[str, list[CondaEntry | WheelEntry]] = {}
    problems = Problems()
    for row in _rows(top, "package", file):
        subdir = _text(row, "platform")
        if _text(row, "category") not in ("", "main") or subdir not in SUBDIRS:
            continue
        try:
            found.setdefault(subdir, []).append(_of_conda_lock(row, Place(file, line=row.line)))
        except LockError as error:
            problems.add(error)
    problems.check()
    return {subdir: _sorted(entries) for subdir, entries in found.items()}


def _of_conda_lock(row: yaml.Mapping, place: Place) -> CondaEntry | WheelEntry:
    hashes = row.pairs.get("hash")
    table = hashes if isinstance(hashes, yaml.Mapping) else yaml.Mapping({}, row.line, {})
    manager, url = _text(row, "manager"), _text(row, "url")
    sha256, md5 = _hash(table, "sha256", place), _hash(table, "md5", place)
    if manager == "pip":
        return _wheel(_text(row, "name"), _text(row, "version"), url, sha256, place)
    if manager != "conda":
        raise LockError("a package of another manager", place=place, got=manager[:40], want="conda, pip")
    depends = row.pairs.get("dependencies")
    lines = (
        tuple(f"{name} {_plain(value)}".strip() for name, value in depends.pairs.items())
        if isinstance(depends, yaml.Mapping)
        else ()
    )
    return CondaEntry(located(url, place), sha256, md5, depends=lines)


def pixi_lock(text: str, file: str, environment: str) -> Mapping[str, Entries]:
    """Subdir → what a ``pixi.lock`` has for it in one of its environments. Raises as :func:`conda_lock`."""
    top = _top(text, file, "version", _PIXI)
    environments = top.pairs.get("environments")
    names = environments.pairs if isinstance(environments, yaml.Mapping) else {}
    chosen = names.get(environment)
    packages = chosen.pairs.get("packages") if isinstance(chosen, yaml.Mapping) else None
    if not isinstance(packages, yaml.Mapping):
        raise LockError(
            Text("the lock has no environment {name}", name=environment), place=Place(file),
            got=", ".join(names)[:200] or "none",
        )  # fmt: skip
    described = {_address(row): row for row in _rows(top, "packages", file)}
    problems = Problems()
    found: dict[str, Entries] = {}
    for subdir, listed in packages.pairs.items():
        entries = []
        for row in listed.items if subdir in SUBDIRS and isinstance(listed, yaml.Sequence) else ():
            place = Place(file, line=row.line)
            try:
                entries.append(_of_pixi(described.get(_address(row)), place))
            except LockError as error:
                problems.add(error)
        if entries:
            found[subdir] = _sorted(entries)
    problems.check()
    return found


def _address(row: yaml.Node) -> tuple[str, str]:
    """(kind, address) of a package: written ``conda: URL`` in all versions where it is listed, and by version 6."""
    if not isinstance(row, yaml.Mapping):
        return "", ""
    for kind in ("conda", "pypi"):
        if kind in row.pairs:
            return kind, _text(row, kind)
    return _text(row, "kind"), _text(row, "url")


def _of_pixi(row: yaml.Mapping | None, place: Place) -> CondaEntry | WheelEntry:
    if row is None:
        raise LockError("the package is listed and not described", place=place)
    kind, url = _address(row)
    place = Place(place.file, line=row.line)
    sha256 = _hash(row, "sha256", place)
    if kind == "pypi":
        return _wheel(_text(row, "name"), _text(row, "version"), url, sha256, place)
    size = _text(row, "size")
    location = located(url, place)
    return CondaEntry(
        location,
        sha256,
        _hash(row, "md5", place),
        int(size) if size.isdecimal() and len(size) < 16 else None,
        tuple(_lines(row, "depends")),
        tuple(_lines(row, "constrains")),
        None if location.path.startswith("noarch/") and "noarch" not in row.pairs else _text(row, "noarch"),
    )


def _wheel(name: str, version: str, url: str, sha256: str, place: Place) -> WheelEntry:
    from packaging.utils import canonicalize_name

    if not url.partition("#")[0].endswith(".whl"):
        raise LockError(
            Text("{name} is no wheel", name=name or "it"), place=place, got=url[:200].rpartition("@")[2],
            hints=[Text("build a wheel of it and name it in a requirements file beside environment.yml")],
        )  # fmt: skip
    if not VERSION.fullmatch(version) or not name:
        raise LockError("the package has no version", place=place, got=f"{name} {version}"[:100])
    return WheelEntry(str(canonicalize_name(name)), version, url.partition("#")[0], sha256)


def _top(text: str, file: str, key: str, known: tuple[str, ...]) -> yaml.Mapping:
    top = yaml.parse(text, file)
    if not isinstance(top, yaml.Mapping):
        raise LockError("the file is no lock", place=Place(file))
    version = _text(top, key)
    if version not in known:
        raise LockError(
            "the lock has a format this version of Trainload does not know", place=Place(file, key),
            got=version[:40] or "none", want=", ".join(known),
        )  # fmt: skip
    return top


def _rows(top: yaml.Mapping, key: str, file: str) -> Iterator[yaml.Mapping]:
    rows = top.pairs.get(key)
    for row in rows.items if isinstance(rows, yaml.Sequence) else ():
        if not isinstance(row, yaml.Mapping):
            raise LockError("a package is no table", place=Place(file, line=row.line))
        yield row


def _sorted(entries: list[CondaEntry | WheelEntry]) -> Entries:
    return Entries(
        tuple(entry for entry in entries if isinstance(entry, CondaEntry)),
        tuple(entry for entry in entries if isinstance(entry, WheelEntry)),
    )


def _text(row: yaml.Mapping, key: str) -> str:
    return _plain(row.pairs.get(key))


def _plain(node: yaml.Node | None) -> str:
    return node.text if isinstance(node, yaml.Scalar) and not node.is_null else ""


def _lines(row: yaml.Mapping, key: str) -> Iterator[str]:
    node = row.pairs.get(key)
    for item in node.items if isinstance(node, yaml.Sequence) else ():
        yield _plain(item)


def _hash(row: yaml.Mapping, key: str, place: Place) -> str:
    value = _text(row, key).lower()
    pattern = HEX if key == "sha256" else _MD5
    if value and not pattern.fullmatch(value):
        raise LockError("this is no hash", place=place, got=value[:80], want=key)
    return value

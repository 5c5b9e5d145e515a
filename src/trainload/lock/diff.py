"""What changed between two locks, as data and as sentences: pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from trainload.errors import Text
from trainload.lock.model import ImageBase, Lock, packages_of

_MANY = 12  # lines of one kind that are told one by one; more become a number


class Part(StrEnum):
    """Where a package belongs."""

    PYTHON = "python"
    CONDA = "conda"
    BASE = "base"
    INTERPRETER = "interpreter"
    INSTALLED = "installed"
    """Python packages that the base image has, which are not placed."""
    WEIGHTS = "weights"


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """One package of a lock; ``size`` is what the largest target downloads, in bytes, None when unknown."""

    part: Part
    name: str
    version: str
    size: int | None
    hashes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """``old`` None: new; ``new`` None: gone."""

    old: Package | None
    new: Package | None

    @property
    def package(self) -> Package:
        package = self.new or self.old
        assert package is not None
        return package

    @property
    def growth(self) -> int | None:
        """How many bytes more (or less) there are; None when a size is not known."""
        before = self.old.size if self.old is not None else 0
        after = self.new.size if self.new is not None else 0
        return None if before is None or after is None else after - before


@dataclass(frozen=True, slots=True)
class Changes:
    """All changes, sorted by part and name."""

    changes: tuple[Change, ...]
    settings: tuple[tuple[str, str, str], ...] = ()
    """(what, before, after) of the lock itself: Python, base, platforms, accelerator."""

    @property
    def added(self) -> tuple[Package, ...]:
        return tuple(change.new for change in self.changes if change.old is None and change.new is not None)

    @property
    def removed(self) -> tuple[Package, ...]:
        return tuple(change.old for change in self.changes if change.new is None and change.old is not None)

    @property
    def changed(self) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.old is not None and change.new is not None)

    def __bool__(self) -> bool:
        return bool(self.changes or self.settings)


def diff(old: Lock | None, new: Lock) -> Changes:
    """What is new, gone or of other bytes in ``new``; all of it when there is no ``old``."""
    before, after = (packages(old) if old is not None else {}), packages(new)
    changes = [
        Change(before.get(key), after.get(key))
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    ]
    settings = []
    if old is not None:
        told, now = dict(_settings(old)), dict(_settings(new))
        settings = [(key, told[key], now[key]) for key in now if told[key] != now[key]]
    return Changes(tuple(changes), tuple(settings))


def packages(lock: Lock) -> Mapping[tuple[Part, str], Package]:
    """The lock's packages by part and name."""
    found: dict[tuple[Part, str], Package] = {}
    groups: dict[str, list[Package]] = {}
    for package in lock.packages:
        files = package.wheels or ((package.sdist,) if package.sdist is not None else ())
        sizes = [file.size for file in files]
        size = None if None in sizes else max((size for size in sizes if size is not None), default=0)
        hashes = tuple(file.sha256 for file in files)
        groups.setdefault(package.name, []).append(
            Package(Part.PYTHON, package.name, package.version, size, hashes)
        )
    for _, items in sorted(packages_of(lock.base).items()):
        for item in items:
            package_ = Package(Part.BASE, item.name, item.version, item.file.size, (item.file.sha256,))
            groups.setdefault(f"{Part.BASE}:{item.name}", []).append(package_)
    for _, environment in sorted(lock.conda.packages.items()) if lock.conda is not None else ():
        for each in environment:
            conda = Package(
                Part.CONDA, each.name, f"{each.version} {each.build}", each.file.size, (each.file.sha256,)
            )
            groups.setdefault(f"{Part.CONDA}:{each.name}", []).append(conda)
    for name, version in _installed(lock):
        groups.setdefault(f"{Part.INSTALLED}:{name}", []).append(Package(Part.INSTALLED, name, version, 0))
    if lock.interpreter is not None:
        files = tuple(lock.interpreter.archives.values())
        hashes = tuple(sorted(file.sha256 for file in files))
        found[Part.INTERPRETER, "cpython"] = Package(
            Part.INTERPRETER, "cpython", lock.interpreter.version, files[0].size if files else None, hashes
        )
    for weights in lock.weights:
        files = tuple(one.file for one in weights.files)
        whole = sum(file.size or 0 for file in files)
        version = weights.commit[:12] or f"{len(files)} files"
        told = Package(Part.WEIGHTS, weights.source, version, whole, tuple(file.sha256 for file in files))
        found[Part.WEIGHTS, weights.source] = told
    for group in groups.values():
        merged = _merged(group)
        found[merged.part, merged.name] = merged
    return found


def _installed(lock: Lock) -> Iterator[tuple[str, str]]:
    if isinstance(lock.base, ImageBase):
        for _, image in sorted(lock.base.images.items()):
            yield from image.python.installed if image.python is not None else ()


def _merged(group: Sequence[Package]) -> Package:
    """One package out of its variants per architecture."""
    sizes = [package.size for package in group]
    return Package(
        part=group[0].part,
        name=group[0].name,
        version=", ".join(sorted({package.version for package in group})),
        size=None if None in sizes else max(size for size in sizes if size is not None),
        hashes=tuple(sorted({sha256 for package in group for sha256 in package.hashes})),
    )


def _settings(lock: Lock) -> Iterator[tuple[str, str]]:
    yield "python", lock.python
    base = lock.base
    if isinstance(base, ImageBase):
        at = f"@{base.digest[:19]}"  # enough to be told apart: sha256: and twelve digits
        yield "base", base.reference if "@" in base.reference else base.reference + at
    else:
        yield "base", f"{base.suite} ({base.profile})"
    yield "platforms", ", ".join(str(platform) for platform in lock.platforms)
    yield "accelerator", lock.accelerator


def sentences(changes: Changes) -> tuple[Text, ...]:
    """The changes as lines: "torch 2.12 → 2.13, +41 MB"; many of one kind become a number."""
    lines = [Text("{what}: {old} → {new}", what=what, old=old, new=new) for what, old, new in changes.settings]
    rebuilt = [change for change in changes.changed if change.old and change.old.version == change.package.version]
    told = [change for change in changes.changed if change not in rebuilt]
    inside = [change for change in told if change.package.part is Part.INSTALLED]
    if len(inside) > _MANY:
        told = [change for change in told if change not in inside]
        names = ", ".join([change.package.name for change in inside[:_MANY]] + ["…"])
        lines.append(Text("{count} Python packages of the base changed: {names}", count=len(inside), names=names))
    lines.extend(map(_changed, told))
    if rebuilt:
        names = ", ".join([change.package.name for change in rebuilt[:_MANY]] + ["…"] * (len(rebuilt) > _MANY))
        lines.append(
            Text("{count} packages of the same version have other files: {names}", count=len(rebuilt), names=names)
        )
    lines.extend(_listed(changes.added, _NEW))
    lines.extend(_listed(changes.removed, _GONE))
    return tuple(lines) or (Text("nothing changed"),)


def _changed(change: Change) -> Text:
    assert change.old is not None and change.new is not None
    values = {"name": change.new.name, "old": change.old.version, "new": change.new.version}
    size = change.growth
    if change.new.part is Part.INSTALLED:
        return Text("{name} of the base {old} → {new}", **values)
    if size is None:
        return Text("{name} {old} → {new}", **values)
    return Text("{name} {old} → {new}, {size}", **values, size=signed(size))


_NEW = {
    Part.PYTHON: "{count} Python packages new: {names}, {size}",
    Part.BASE: "{count} base packages new: {names}, {size}",
    Part.INTERPRETER: "{count} interpreter new: {names}, {size}",
    Part.INSTALLED: "the base has {count} Python packages: {names}",
    Part.WEIGHTS: "{count} weights new: {names}, {size}",
}
_GONE = {
    Part.PYTHON: "{count} Python packages gone: {names}, {size}",
    Part.BASE: "{count} base packages gone: {names}, {size}",
    Part.INTERPRETER: "{count} interpreter gone: {names}, {size}",
    Part.INSTALLED: "the base has {count} Python packages no more: {names}",
    Part.WEIGHTS: "{count} weights gone: {names}, {size}",
}


def _listed(packages: Sequence[Package], templates: Mapping[Part, str]) -> Iterator[Text]:
    for part, template in templates.items():
        group = [package for package in packages if package.part is part]
        if not group:
            continue
        names = [f"{package.name} {package.version}" for package in group[:_MANY]] + ["…"] * (len(group) > _MANY)
        known = [package.size for package in group if package.size is not None]
        size = human(sum(known)) if len(known) == len(group) else f"≥ {human(sum(known))}" if any(known) else "?"
        yield Text(template, count=len(group), names=", ".join(names), size=size)


def signed(size: int) -> str:
    """``+41 MB``, ``−3 kB``, ``±0 B``."""
    sign = "+" if size > 0 else "−" if size < 0 else "±"
    return sign + human(abs(size))


def human(size: int) -> str:
    """Bytes in SI units, as package indexes and disks count: ``41 MB``, ``1.2 GB``."""
    value, unit = float(size), 0
    while value >= 999.5 and unit < 3:
        value, unit = value / 1000, unit + 1
    return f"{value:.{1 if unit and value < 9.95 else 0}f} {('B', 'kB', 'MB', 'GB')[unit]}"

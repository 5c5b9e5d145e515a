"""A lock of a conda environment that the user keeps becomes ours: nothing is solved, nothing is another version."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from trainload.errors import LockError, Place, Problems, Text
from trainload.limits import DEFAULT
from trainload.lock.conda.documents import conda_lock, pixi_lock
from trainload.lock.conda.entries import CondaEntry, Entries, WheelEntry
from trainload.lock.conda.explicit import explicit
from trainload.lock.merge import merge
from trainload.lock.model import CondaEnvironment, CondaPackage, File, PythonPackage, Url
from trainload.lock.read import refusal
from trainload.platform import Platform
from trainload.project.document import decode
from trainload.project.model import CondaLockFile, CondaLockKind
from trainload.resolve.conda.lock import SUBDIRS, minor, site_packages
from trainload.resolve.unhashed import Trust, on_trust

_GLIBC = re.compile(r"__glibc\s*>=\s*(\d+)\.(\d+)(?![\d.]*\.)")


@dataclass(frozen=True, slots=True)
class About:
    """What a package says of itself (``info/index.json``)."""

    depends: tuple[str, ...] = ()
    constrains: tuple[str, ...] = ()
    noarch: str = ""
    site_packages: str = ""
    size: int | None = None
    """Bytes of the archive: it decides which packages have a layer of their own."""


@dataclass(frozen=True, slots=True)
class Taking:
    """What it takes to take a lock over."""

    about: Callable[[Sequence[File]], Mapping[str, About]]
    """Asks packages, which are fetched for it: by their sha256."""
    glibc: Mapping[Platform, tuple[int, int]]
    """Target → the C library of its base."""
    trust: Trust | None = None
    """Where bytes come from that have no sha256; None: they are refused (THREATS F01)."""


@dataclass(frozen=True, slots=True)
class Taken:
    environment: CondaEnvironment
    wheels: tuple[PythonPackage, ...]
    unhashed: tuple[str, ...]
    """File names that were taken on trust."""


def take(root: Path, value: CondaLockFile, taking: Taking) -> Taken:
    """The lock for every platform of ``taking.glibc``. Raises :class:`LockError`, :class:`FetchError`."""
    parts = _read(root, value)
    lacking = [platform for platform in taking.glibc if SUBDIRS[platform.architecture] not in parts]
    if lacking:
        raise LockError(
            Text("the lock is not for {platform}", platform=lacking[0]), place=Place(value.path),
            got=", ".join(sorted(parts)) or "no platform of Linux", want=SUBDIRS[lacking[0].architecture],
            hints=[
                Text("set platforms in [tool.trainload] to what it is for"), Text("or make it for this platform"),
            ],
        )  # fmt: skip
    entries = {platform: parts[SUBDIRS[platform.architecture]] for platform in taking.glibc}
    names = _channel_names(entries)
    packages, unhashed = _packages(value, entries, names, taking)
    for platform, found in packages.items():
        _check_glibc(value, platform, found, taking.glibc[platform])
    pip = {platform: tuple(_wheel(each, value.path) for each in part.wheels) for platform, part in entries.items()}
    wheels = merge(pip)
    python, site_packages = _python(value, packages, taking)
    environment = CondaEnvironment(
        requested=(),
        channels=tuple((name, address) for address, name in names.items()),
        packages={platform.architecture: found for platform, found in packages.items()},
        python=python,
        site_packages=site_packages,
    )
    return Taken(environment, wheels, unhashed)


def _read(root: Path, value: CondaLockFile) -> Mapping[str, Entries]:
    try:
        with (root / value.path).open("rb") as file:
            data = file.read(4 * DEFAULT.document + 1)
    except OSError as error:
        raise LockError("the lock cannot be read", place=Place(value.path), got=error.strerror) from error
    if len(data) > 4 * DEFAULT.document:
        raise LockError(
            "the file is too large", place=Place(value.path), want=f"at most {4 * DEFAULT.document} bytes"
        )
    text = decode(data, value.path)
    match value.kind:
        case CondaLockKind.EXPLICIT:
            return explicit(text, value.path)
        case CondaLockKind.CONDA_LOCK:
            return conda_lock(text, value.path)
        case CondaLockKind.PIXI:
            return pixi_lock(text, value.path, value.environment)


def _channel_names(entries: Mapping[Platform, Entries]) -> dict[str, str]:
    """Address → name; of two channels with one name the second goes by its address."""
    found: dict[str, str] = {}
    for part in entries.values():
        for entry in part.conda:
            name, address = entry.location.channel, entry.location.address
            if address not in found:
                found[address] = name if name not in found.values() else address
    return found


def _packages(
    value: CondaLockFile, entries: Mapping[Platform, Entries], names: Mapping[str, str], taking: Taking
) -> tuple[dict[Platform, tuple[CondaPackage, ...]], tuple[str, ...]]:
    files = {entry: _file(entry, names) for part in entries.values() for entry in part.conda}
    unhashed = {entry: file for entry, file in files.items() if not file.sha256}
    if unhashed and taking.trust is None:
        raise _no_hashes(value, list(unhashed.values()))
    if taking.trust is not None and unhashed:
        given = {file: {"md5": entry.md5} if entry.md5 else {} for entry, file in unhashed.items()}
        read = on_trust(given, taking.trust)
        files |= {entry: read[file] for entry, file in unhashed.items()}
    asked = [file for entry, file in files.items() if None in (entry.depends, entry.noarch, file.size)]
    about = taking.about(asked)
    packages: dict[Platform, tuple[CondaPackage, ...]] = {}
    problems = Problems()
    for platform, part in entries.items():
        found: dict[str, CondaPackage] = {}
        for entry in part.conda:
            package = _package(entry, files[entry], about.get(files[entry].sha256))
            if found.setdefault(package.name, package) != package:
                problems.add(
                    LockError(Text("{name} stands here twice", name=package.name), place=Place(value.path))
                )
        packages[platform] = tuple(found[name] for name in sorted(found))
    problems.check()
    return packages, tuple(sorted(file.name for file in unhashed.values()))


def _file(entry: CondaEntry, names: Mapping[str, str]) -> File:
    location = replace(entry.location, channel=names[entry.location.address])
    return File(location.path.rpartition("/")[2], entry.sha256, entry.size, location)


def _package(entry: CondaEntry, file: File, about: About | None) -> CondaPackage:
    name, version, build = entry.identity
    said = about or About()
    file = file if file.size is not None else replace(file, size=said.size)
    return CondaPackage(
        name, version, build, file,
        noarch=said.noarch if entry.noarch is None else entry.noarch,
        depends=said.depends if entry.depends is None else entry.depends,
        constrains=said.constrains if entry.depends is None else entry.constrains,
    )  # fmt: skip


def _no_hashes(value: CondaLockFile, files: Sequence[File]) -> LockError:
    names = ", ".join(file.name for file in files[:5]) + (" …" if len(files) > 5 else "")
    hint = Text("make it with: conda list --explicit --sha256")
    return LockError(
        Text("{count} packages have no sha256, so their bytes are not known", count=len(files)),
        place=Place(value.path), got=names, want="sha256",
        hints=[
            *([hint] if value.kind is CondaLockKind.EXPLICIT else []),
            Text("or take what comes now on trust: --allow-unhashed"),
        ],
    )  # fmt: skip


def _wheel(entry: WheelEntry, path: str) -> PythonPackage:
    reason = refusal(entry.url)
    if reason is not None or not entry.sha256:
        raise LockError(
            reason or Text("{name} has no sha256, so its bytes are not known", name=entry.name),
            place=Place(path), got=entry.name,
        )  # fmt: skip
    name = entry.url.rpartition("/")[2]
    return PythonPackage(entry.name, entry.version, (File(name, entry.sha256, None, Url(entry.url)),))


def _python(
    value: CondaLockFile, packages: Mapping[Platform, Sequence[CondaPackage]], taking: Taking
) -> tuple[str, str]:
    found = {platform: next((p for p in part if p.name == "python"), None) for platform, part in packages.items()}
    pythons = [python for python in found.values() if python is not None]
    told = ", ".join(f"{platform}: {python.version if python else 'none'}" for platform, python in found.items())
    if not pythons and not any(package.noarch == "python" for part in packages.values() for package in part):
        return "", ""
    if len(pythons) != len(found) or len({minor(python.version) for python in pythons}) != 1:
        raise LockError(
            "the conda environment has not the same Python on all platforms", place=Place(value.path),
            got=told,
        )  # fmt: skip
    version = pythons[0].version
    about = taking.about([pythons[0].file])[pythons[0].file.sha256]
    return version, about.site_packages or site_packages(version)


def _check_glibc(
    value: CondaLockFile, platform: Platform, packages: Sequence[CondaPackage], have: tuple[int, int]
) -> None:
    """A solver would not have chosen what the base's C library is too old for."""
    for package in packages:
        for depend in package.depends:
            match = _GLIBC.match(depend)
            if match is not None and (int(match[1]), int(match[2])) > have:
                raise LockError(
                    Text("{name} needs a later C library than the base has", name=package.name),
                    place=Place(value.path), got=f"glibc {have[0]}.{have[1]}", want=depend,
                    hints=[Text('take a later base for {platform}: base = "apt:trixie"', platform=platform)],
                )  # fmt: skip

"""Reads ``[tool.trainload.base]`` of a lock: distribution packages, or an image and what it was found to have."""

from __future__ import annotations

import re
from collections.abc import Iterator

from trainload.errors import Text
from trainload.lock.document import Table
from trainload.lock.grammar import (
    DATE,
    DEBIAN_NAME,
    DEBIAN_VERSION,
    DIGEST,
    FILE_NAME,
    FULL_PYTHON,
    GLIBC,
    HEX,
    LINE,
    PATH,
    PROJECT,
    PYTHON,
    VERSION,
    WORD,
)
from trainload.lock.model import (
    ArchivePath,
    Base,
    BaseImage,
    BasePython,
    Blob,
    DistributionBase,
    DistributionPackage,
    File,
    ImageBase,
    ReleaseFile,
)

_ARCHITECTURES = ("amd64", "arm64")
_KEYS = (
    "kind", "distribution", "suite", "profile", "requested", "system", "essential", "python", "glibc",
    "releases", "packages",
)  # fmt: skip
_IMAGE_KEYS = (
    "manifest", "config", "distribution", "suite", "init", "glibc", "python", "folders", "installed", "passwd",
    "group", "packages",
)  # fmt: skip
_EITHER_PYTHON = re.compile(f"{FULL_PYTHON.pattern}|{PYTHON.pattern}")


def read_base(table: Table) -> Base:
    """The base; what is wrong goes into the table's problems."""
    kind = table.text("kind", re.compile("distribution|image"), want="distribution or image")
    return _image_base(table) if kind == "image" else _distribution_base(table)


def _distribution_base(table: Table) -> DistributionBase:
    table.only(_KEYS)
    packages = table.table("packages")
    packages.only(_ARCHITECTURES)
    return DistributionBase(
        distribution=table.text("distribution", WORD),
        suite=table.text("suite", WORD),
        profile=table.text("profile", WORD),
        requested=table.texts("requested"),
        releases=tuple(_release(release) for release in table.tables("releases")),
        packages={name: _packages(packages, name) for name in sorted(packages.values)},
        python=table.optional_text("python", PYTHON, want="a minor version such as 3.11") or "",
        glibc=_glibc(table),
        system=table.texts("system"),
        essential=table.flag("essential"),
    )


def _image_base(table: Table) -> ImageBase:
    table.only(("kind", "reference", "digest", "requested", "profile", "releases", "images"))
    images = table.table("images")
    images.only(_ARCHITECTURES)
    return ImageBase(
        reference=table.text("reference", LINE, want="the name of an image"),
        digest=table.text("digest", DIGEST, want="sha256: and 64 hexadecimal digits"),
        images={name: _base_image(images.table(name)) for name in sorted(images.values)},
        requested=table.texts("requested"),
        profile=table.optional_text("profile", WORD) or "",
        releases=tuple(_release(release) for release in table.tables("releases")),
    )


def _base_image(table: Table) -> BaseImage:
    table.only(_IMAGE_KEYS)
    return BaseImage(
        manifest=_blob(table.table("manifest")),
        config=_blob(table.table("config")),
        distribution=table.optional_text("distribution", WORD) or "",
        suite=table.optional_text("suite", WORD) or "",
        glibc=_glibc(table),
        python=_python(table) if "python" in table.values else None,
        init=table.optional_text("init", PATH, want="an absolute path") or "",
        accounts=(_lines(table, "passwd"), _lines(table, "group")),
        packages=_packages(table, "packages"),
    )


def _blob(table: Table) -> Blob:
    table.only(("digest", "size"))
    return Blob(table.text("digest", DIGEST, want="sha256: and 64 hexadecimal digits"), table.number("size"))


def _python(table: Table) -> BasePython:
    python = table.table("python")
    python.only(("path", "version", "venv"))
    return BasePython(
        path=python.text("path", PATH, want="an absolute path"),
        version=python.text("version", _EITHER_PYTHON, want="a version such as 3.12.8"),
        installed=tuple(sorted(_installed(table))),
        folders=tuple(folder for folder in table.texts("folders") if _fits(table, "folders", folder, PATH)),
        is_ours=python.flag("venv"),
    )


def _installed(table: Table) -> Iterator[tuple[str, str]]:
    for text in table.texts("installed"):
        name, _, version = text.partition("==")
        if PROJECT.fullmatch(name) and VERSION.fullmatch(version):
            yield name, version
        else:
            table.wrong("installed", "has a wrong value", got=repr(text)[:200], want="name==version")


def _lines(table: Table, name: str) -> tuple[str, ...]:
    return tuple(line for line in table.texts(name) if _fits(table, name, line, LINE))


def _fits(table: Table, name: str, text: str, pattern: re.Pattern[str]) -> bool:
    if pattern.fullmatch(text):
        return True
    table.wrong(name, "has a wrong value", got=repr(text)[:200])
    return False


def _glibc(table: Table) -> tuple[int, int]:
    major, _, minor = (table.text("glibc", GLIBC, want="a version such as 2.36") or "2.0").partition(".")
    return int(major), int(minor)


def _release(table: Table) -> ReleaseFile:
    table.only(("archive", "suite", "date", "sha256"))
    return ReleaseFile(
        table.text("archive", WORD),
        table.text("suite", WORD),
        table.text("date", DATE, want="a time such as 2026-01-31T00:00:00Z"),
        table.text("sha256", HEX, want="64 hexadecimal digits"),
    )


def _packages(table: Table, name: str) -> tuple[DistributionPackage, ...]:
    found: dict[str, DistributionPackage] = {}
    for index, item in enumerate(table.tables(name)):
        package = _distribution_package(item)
        if found.setdefault(package.name, package) is not package:  # which one goes in would be a guess (F02)
            table.wrong(f"{name}[{index}]", Text("{name} stands here twice", name=package.name))
    return tuple(sorted(found.values()))


def _distribution_package(table: Table) -> DistributionPackage:
    table.only(("name", "version", "architecture", "archive", "path", "size", "sha256", "installed-size"))
    path = table.text("path")
    parts = path.split("/")
    if path and not all(FILE_NAME.fullmatch(part) for part in parts):
        table.wrong("path", "has a wrong value", got=repr(path)[:200], want="a path inside the archive")
    sha256 = table.text("sha256", HEX, want="64 hexadecimal digits")
    location = ArchivePath(table.text("archive", WORD), path)
    return DistributionPackage(
        name=table.text("name", DEBIAN_NAME, want="a package name"),
        version=table.text("version", DEBIAN_VERSION, want="a package version"),
        architecture=table.text("architecture", re.compile("amd64|arm64|all"), want="amd64, arm64 or all"),
        file=File(parts[-1], sha256, table.number("size"), location),
        installed_size=table.number("installed-size"),
    )

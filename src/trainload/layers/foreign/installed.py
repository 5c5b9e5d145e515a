"""Which packages a layer brings, and which of its files are theirs: what package managers wrote down.

Python's distributions (PyPA "Recording installed projects"), dpkg's database, apk's and conda's. Anyone may have
written them, and they serve reports only: what cannot be read tells nothing, and nothing is believed but names.
"""

from __future__ import annotations

import csv
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from trainload.limits import MiB
from trainload.nesting import loads

TEXT_LIMIT = 16 * MiB
"""Of one of these files; dpkg's status of a large image has 2 MB, torch's RECORD 1.4."""
_WANTED = re.compile(
    r"""(?:.*/)?[^/]+\.dist-info/(?:METADATA|RECORD) | (?:.*/)?[^/]+\.egg-info(?:/PKG-INFO)?
    | var/lib/dpkg/status(?:\.d/[^/]+)? | var/lib/dpkg/info/[^/]+\.list
    | lib/apk/db/installed | (?:.*/)?conda-meta/[^/]+\.json""",
    re.VERBOSE,
)
_FIELD = re.compile(r"^(Package|Version|Status|Name):[ \t]*(.*)$", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+:-]{0,127}")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~:!-]{0,127}")


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """Something a package manager installed."""

    manager: str
    """``python``, ``dpkg``, ``apk`` or ``conda``."""
    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Installed:
    """A package, and what says so."""

    package: Package
    evidence: str
    """The file that says it is installed: where it is gone, so is the package."""
    files: tuple[str, ...] = ()
    """Paths without a first slash, as the package manager spells them."""


def is_wanted(path: str) -> bool:
    """Whether the file at ``path`` (without a first slash) tells of packages."""
    return _WANTED.fullmatch(path) is not None


def installed(texts: Mapping[str, bytes]) -> tuple[Installed, ...]:
    """What ``texts`` (path → content) of one layer say."""
    found = [*_without_vendored(list(_python(texts))), *_conda(texts), *_dpkg(texts), *_apk(texts)]
    return tuple(
        one for one in found if _NAME.fullmatch(one.package.name) and _VERSION.fullmatch(one.package.version)
    )


def _python(texts: Mapping[str, bytes]) -> Iterator[Installed]:
    for path, data in texts.items():
        folder, _, name = path.rpartition("/")
        if name not in ("METADATA", "PKG-INFO") and not path.endswith(".egg-info"):
            continue
        fields = _fields(data.replace(b"\r\n", b"\n").partition(b"\n\n")[0])
        record = texts.get(f"{folder}/RECORD", b"") if name == "METADATA" else b""
        files = tuple(_recorded(record, posixpath.dirname(folder)))
        package = Package("python", _normal(fields.get("Name", "")), fields.get("Version", ""))
        yield Installed(package, path, files)


def _without_vendored(found: list[Installed]) -> list[Installed]:
    """A distribution that another one carries inside (``setuptools/_vendor``) is part of that one."""
    evidence = {one.evidence for one in found}
    claims = Counter(path for one in found for path in set(one.files) & evidence)
    return [one for one in found if claims[one.evidence] <= (one.evidence in one.files)]


def _normal(name: str) -> str:
    """A distribution's name as it is compared (PyPA "Names and normalization")."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _recorded(data: bytes, base: str) -> Iterator[str]:
    try:
        rows = csv.reader(data.decode("utf-8").splitlines())
        for row in rows:
            if row and not row[0].startswith("/"):
                yield posixpath.normpath(posixpath.join(base, row[0]))
    except (UnicodeDecodeError, csv.Error):
        return


def _dpkg(texts: Mapping[str, bytes]) -> Iterator[Installed]:
    """``status``, or one file for each package as distroless images have it."""
    lists = {_listed_package(path): data for path, data in texts.items() if path.endswith(".list")}
    for path, data in texts.items():
        if not path.startswith("var/lib/dpkg/status"):
            continue
        for stanza in data.split(b"\n\n"):
            fields = _fields(stanza)
            if "Package" in fields and fields.get("Status", "installed").endswith("installed"):
                name = fields["Package"]
                listed = lists.get(name, b"")
                yield Installed(Package("dpkg", name, fields.get("Version", "")), path, tuple(_lines(listed)))


def _listed_package(path: str) -> str:
    """``libc6`` of ``var/lib/dpkg/info/libc6:amd64.list``."""
    return posixpath.basename(path).removesuffix(".list").partition(":")[0]


def _lines(data: bytes) -> Iterator[str]:
    for line in data.decode("utf-8", "surrogateescape").split("\n"):
        path = line.lstrip("/")
        if path and path != ".":
            yield path


def _apk(texts: Mapping[str, bytes]) -> Iterator[Installed]:
    path = "lib/apk/db/installed"
    for stanza in texts.get(path, b"").decode("utf-8", "replace").split("\n\n"):
        name = version = folder = ""
        files = []
        for line in stanza.split("\n"):
            key, _, value = line.partition(":")
            match key:
                case "P":
                    name = value
                case "V":
                    version = value
                case "F":
                    folder = value
                case "R":
                    files.append(f"{folder}/{value}" if folder else value)
        if name:
            yield Installed(Package("apk", name, version), path, tuple(files))


def _conda(texts: Mapping[str, bytes]) -> Iterator[Installed]:
    for path, data in texts.items():
        folder, _, last = path.rpartition("/")
        if posixpath.basename(folder) != "conda-meta" or not last.endswith(".json"):
            continue
        with suppress(ValueError):
            match loads(data):
                case {"name": str(name), "version": str(version), "files": list(files)}:
                    prefix = posixpath.dirname(folder)
                    listed = tuple(posixpath.join(prefix, file) for file in files if isinstance(file, str))
                    yield Installed(Package("conda", name, version), path, listed)


def _fields(stanza: bytes) -> dict[str, str]:
    """The first of each field we know."""
    found: dict[str, str] = {}
    for name, value in _FIELD.findall(stanza.decode("utf-8", "replace")):
        found.setdefault(name, value.strip())
    return found


def owners(packages: Iterable[Installed]) -> dict[str, int]:
    """Path → which of ``packages`` says it is its own; what a merged ``/usr`` moved is found where it is now."""
    found: dict[str, int] = {}
    for number, one in enumerate(packages):
        for path in one.files:
            found.setdefault(path, number)
            if path.startswith(("bin/", "sbin/", "lib")):
                found.setdefault(f"usr/{path}", number)
    return found

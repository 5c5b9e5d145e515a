"""Reads ``pylock.trainload.toml`` strictly: what is not understood exactly is refused (THREATS F01-F07)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

from trainload.errors import LockError, Place, Problems, Text
from trainload.lock import document
from trainload.lock.document import Table
from trainload.lock.grammar import FILE_NAME, FULL_PYTHON, HEX, PROJECT, PYTHON, WORD
from trainload.lock.grammar import VERSION as PACKAGE_VERSION
from trainload.lock.model import (
    Build,
    CondaEnvironment,
    DistributionBase,
    File,
    Found,
    Location,
    Lock,
    PythonPackage,
    StandalonePython,
    Url,
)
from trainload.lock.readbase import read_base
from trainload.lock.readweights import read_weights
from trainload.platform import Platform

VERSION = 1
"""Of ``[tool.trainload]``; a lock with a higher one is refused (THREATS F05)."""

_MARKER = re.compile("[\x20-\x7e]{1,4096}")
_PACKAGE_KEYS = (
    "name", "version", "marker", "requires-python", "dependencies", "index", "wheels", "sdist", "vcs",
    "attestation-identities", "tool",
)  # fmt: skip
_OWN_KEYS = (
    "version", "inputs", "python", "accelerator", "platforms", "unhashed", "base", "interpreter", "builds",
    "build-base", "weights", "conda",
)  # fmt: skip
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def loads(data: bytes, file: str) -> Lock:
    """The lock in ``data``; ``file`` is its name in errors.

    Raises :class:`LockError`, or :class:`ManyErrors` with every problem and its key path.
    """
    top = Table(document.parse(data, file), file, Problems())
    _check_versions(top)
    own = top.table("tool").table("trainload")
    packages = tuple(_package(table) for table in top.tables("packages"))
    _check_unique(packages, top)
    own.only(_OWN_KEYS)
    lock = Lock(
        inputs=own.text("inputs", HEX, want="64 hexadecimal digits"),
        python=_python(own),
        packages=tuple(sorted(packages, key=lambda package: (package.name, package.version))),
        base=read_base(own.table("base")),
        platforms=_platforms(own),
        interpreter=_interpreter(own.table("interpreter")) if "interpreter" in own.values else None,
        accelerator=own.text("accelerator", WORD),
        unhashed=tuple(sorted(own.texts("unhashed"))),
        builds=_builds(own),
        build_base=_build_base(own),
        weights=read_weights(own),
        conda=_conda(own),
    )
    top.problems.check()
    return lock


def _python(own: Table) -> str:
    """Nothing where a conda environment has none."""
    if "python" not in own.values and "conda" in own.values:
        return ""
    return own.text("python", PYTHON, want="a minor version such as 3.11")


def _check_versions(top: Table) -> None:
    """Refuse a lock of another format at once: nothing else in it can be judged (THREATS F05)."""
    standard = top.values.get("lock-version")
    if standard != "1.0":
        raise LockError(
            "the lock has a format this version of Trainload does not know",
            place=Place(top.file, "lock-version"),
            got=repr(standard)[:80],
            want="1.0 (PEP 751)",
            hints=[Text("make it anew with: trainload lock")],
        )
    tool = top.values.get("tool")
    own = tool.get("trainload") if isinstance(tool, dict) else None
    version = own.get("version") if isinstance(own, dict) else None
    if version != VERSION or isinstance(version, bool):
        raise LockError(
            "the lock has a format this version of Trainload does not know",
            place=Place(top.file, "tool.trainload.version"),
            got=repr(version)[:80],
            want=VERSION,
            hints=[Text("upgrade Trainload, or make the lock anew with: trainload lock")],
        )


def _package(table: Table) -> PythonPackage:
    table.only(_PACKAGE_KEYS)
    wheels = tuple(sorted(_file(wheel) for wheel in table.tables("wheels")))
    sdist = _file(table.table("sdist")) if "sdist" in table.values else None
    if "vcs" in table.values:
        from trainload.lock.readvcs import read_repository

        sdist = read_repository(table, refusal)
    if not wheels and sdist is None:
        table.wrong("wheels", "names no file", want="wheels or an sdist")
    names = [wheel.name for wheel in wheels]
    for name in sorted({name for name in names if names.count(name) > 1}):
        table.wrong("wheels", Text("names {file} twice", file=name))
    return PythonPackage(
        name=table.text("name", PROJECT, want="a normalised project name (PEP 503)"),
        version=table.text("version", PACKAGE_VERSION, want="a version"),
        wheels=wheels,
        sdist=sdist,
        marker=table.optional_text("marker", _MARKER, want="an environment marker (PEP 508)"),
    )


def _builds(own: Table) -> tuple[Build, ...]:
    """What the sdists are built with, each once."""
    found: dict[tuple[str, str], Build] = {}
    for table in own.tables("builds"):
        table.only(("name", "version", "packages"))
        needed = tuple(_package(item) for item in table.tables("packages"))
        _check_unique(needed, table)
        if any(package.sdist is not None for package in needed):
            table.wrong("packages", "names a source", want="wheels only")
        name, version = table.text("name", PROJECT), table.text("version", PACKAGE_VERSION)
        if (name, version) in found:
            table.wrong("", Text("{name} {version} stands here twice", name=name, version=version))
        ordered = tuple(sorted(needed, key=lambda package: (package.name, package.version)))
        found[name, version] = Build(name, version, ordered)
    return tuple(found[key] for key in sorted(found))


def _conda(own: Table) -> CondaEnvironment | None:
    if "conda" not in own.values:
        return None
    from trainload.lock.readconda import read_conda

    return read_conda(own.table("conda"))


def _build_base(own: Table) -> DistributionBase | None:
    if "build-base" not in own.values:
        return None
    base = read_base(own.table("build-base"))
    if isinstance(base, DistributionBase):
        return base
    own.wrong("build-base", "has a wrong value", want="a base of distribution packages")
    return None


def _check_unique(packages: Iterable[PythonPackage], top: Table) -> None:
    """No package and no file twice: which one goes in would be a guess (THREATS F02)."""
    versions: dict[str, dict[str, str | None]] = {}
    hashes: dict[str, str] = {}
    for index, package in enumerate(packages):
        others = versions.setdefault(package.name, {})
        if package.name and package.version in others:
            text = Text("{name} {version} stands here twice", name=package.name, version=package.version)
            top.wrong(f"packages[{index}]", text)
        elif others and None in (package.marker, *others.values()):
            text = Text("{name} stands here in two versions for one target", name=package.name)
            top.wrong(f"packages[{index}]", text, got=", ".join([*others, package.version]))
        others[package.version] = package.marker
        for file in package.wheels:
            if hashes.setdefault(file.name, file.sha256) != file.sha256:
                top.wrong(f"packages[{index}].wheels", Text("{file} has two different hashes", file=file.name))


def _file(table: Table) -> File:
    """A wheel, an sdist or an archive (PEP 751 § packages.wheels)."""
    location = _location(table)
    name = table.optional_text("name", FILE_NAME, want="a file name")
    if name is None:
        name = location.name if isinstance(location, Found) else _url_name(location)
    if not FILE_NAME.fullmatch(name):
        table.wrong("name", "has a wrong value", got=repr(name)[:200], want="a file name")
    hashes = table.table("hashes", required=False)
    if "sha256" not in hashes.values:
        got = ", ".join(hashes.values) or "no hash"
        table.wrong("hashes", "has no sha256, so its bytes are not known", got=got, want="sha256")
        sha256 = ""
    else:
        sha256 = hashes.text("sha256", HEX, want="64 hexadecimal digits")
    return File(name, sha256, table.optional_number("size"), location)


def _location(table: Table) -> Location:
    path = table.values.get("path")
    if path is not None:
        return Found(table.text("path", FILE_NAME, want="a bare file name, looked up in the find-links folders"))
    url = table.text("url", want="an https address")
    reason = refusal(url) if "url" in table.values else None
    if reason is not None:
        table.wrong("url", reason, got=_without_secret(url))
        return Url("")
    return Url(url)


def refusal(url: str) -> Text | None:
    """Why ``url`` may not stand in a lock, or None (THREATS F03)."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return Text("is not an address")
    if "@" in parts.netloc:
        return Text("carries a user or password, which may not be in a lock")
    if any(ord(character) <= 32 or ord(character) == 127 for character in url):
        return Text("is an address with forbidden characters")
    if parts.scheme != "https" and not (parts.scheme == "http" and host in _LOOPBACK):
        return Text("is not an https address")
    return None if host else Text("is not an address")


def _without_secret(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//…@", url)[:200]


def _url_name(location: Location) -> str:
    return unquote(urlsplit(location.url).path).rpartition("/")[2] if isinstance(location, Url) else ""


def _platforms(own: Table) -> tuple[Platform, ...]:
    found = []
    for text in own.texts("platforms"):
        if text not in ("linux/amd64", "linux/arm64"):
            own.wrong("platforms", "has a wrong value", got=text, want="linux/amd64 or linux/arm64")
        else:
            found.append(Platform.parse(text))
    if not found:
        own.wrong("platforms", "is missing", want="linux/amd64 or linux/arm64")
    return tuple(sorted(set(found)))


def _interpreter(table: Table) -> StandalonePython:
    table.only(("version", "archives"))
    archives = table.table("archives")
    archives.only(("amd64", "arm64"))
    return StandalonePython(
        version=table.text("version", FULL_PYTHON, want="a version such as 3.12.8"),
        archives={name: _file(archives.table(name)) for name in sorted(archives.values)},
    )

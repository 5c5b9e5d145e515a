"""A Python the base does not have: a python-build-standalone archive, locked by the hash its release states."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from trainload.errors import FetchError, LockError, Text
from trainload.limits import MiB
from trainload.lock.model import File, StandalonePython, Url
from trainload.platform import Platform
from trainload.project.keys import PYTHON_OF_SUITE
from trainload.resolve.uv import Uv
from trainload.system.http import Http
from trainload.values import dataclass

PATTERN = (
    "https://github.com/astral-sh/python-build-standalone/releases/download/"
    "{tag}/cpython-{version}%2B{tag}-{triple}-install_only_stripped.tar.gz"
)
"""The releases' own address; ``mirrors.python`` are of the same form. ``SHA256SUMS`` lies beside each archive."""

_SUMS_LIMIT = 4 * MiB  # a release's list has 150 KB
_NAME = re.compile(
    r"cpython-(?P<version>3\.[0-9]+\.[0-9]+[a-z0-9]*)\+(?P<tag>[0-9]{8})-(?P<triple>[a-z0-9_]+-unknown-linux-gnu)"
    r"-install_only(?:_stripped)?\.tar\.gz"
)


@dataclass(frozen=True, slots=True, order=True)
class Build:
    """One build of CPython: full version and the release's tag (a date)."""

    version: str
    tag: str


def triple(architecture: str) -> str:
    """The Rust-like triple the archives are named by."""
    return f"{Platform('linux', architecture).machine}-unknown-linux-gnu"


def fill(pattern: str, build: Build, architecture: str) -> str:
    """An archive's address. Raises :class:`LockError` for a pattern with unknown places."""
    try:
        return pattern.format(tag=build.tag, version=build.version, triple=triple(architecture))
    except (KeyError, IndexError, ValueError) as error:
        raise LockError(
            Text("{pattern} is not a pattern of Python archives", pattern=pattern),
            want="https://…/{tag}/cpython-{version}+{tag}-{triple}-install_only_stripped.tar.gz",
        ) from error


def mirrored(file_name: str, patterns: Sequence[str]) -> tuple[str, ...]:
    """Where mirrors have the archive of that name; nothing for a file that is none."""
    match = _NAME.fullmatch(file_name)
    if match is None:
        return ()
    machine = match["triple"].partition("-")[0]
    architecture = "arm64" if machine == "aarch64" else "amd64"
    return tuple(fill(pattern, Build(match["version"], match["tag"]), architecture) for pattern in patterns)


def known_builds(python: str, uv: Uv, cwd: Path) -> Mapping[str, Build]:
    """Architecture → the newest build of ``python`` (``3.12`` or ``3.12.8``) that uv knows; asks no network."""
    arguments = ["--all-platforms", "--all-arches", "--only-downloads", "--output-format=json", python]
    done = uv.run("python list", arguments, cwd)
    entries = json.loads(done.stdout) if done.exit_code == 0 else []
    found: dict[str, Build] = {}
    for entry in entries:
        name = unquote(urlsplit(entry.get("url") or "").path).rpartition("/")[2]
        match = _NAME.fullmatch(name)
        if match is not None and entry.get("variant", "default") == "default":
            architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(match["triple"].partition("-")[0])
            build = Build(match["version"], match["tag"])
            if architecture is not None and (architecture not in found or _later(build, found[architecture])):
                found[architecture] = build
    return found


def _later(one: Build, other: Build) -> bool:
    def key(build: Build) -> tuple[list[int], str]:
        return [int(part) for part in re.findall("[0-9]+", build.version)], build.tag

    return key(one) > key(other)


def resolve_interpreter(
    python: str, architectures: Sequence[str], builds: Mapping[str, Build], http: Http, mirrors: Sequence[str] = ()
) -> StandalonePython:
    """``python`` for every architecture, one version, by the hashes of its release.

    ``mirrors`` are patterns, asked when the releases' own address does not answer; the lock keeps the latter.
    Raises :class:`LockError` when there is no such Python, :class:`FetchError` when no address answers.
    """
    missing = [architecture for architecture in architectures if architecture not in builds]
    if missing:
        raise LockError(
            Text(
                "there is no standalone Python {python} for {platforms}",
                python=python,
                platforms=", ".join(missing),
            ),
            hints=[Text("ask for another version in python of [tool.trainload], or leave it to the base")],
        )
    versions = {builds[architecture].version for architecture in architectures}
    if len(versions) != 1:
        raise LockError(
            Text("the newest Python {python} is not the same everywhere", python=python),
            got=", ".join(sorted(versions)),
            hints=[Text("name a full version in python of [tool.trainload]")],
        )
    archives = {}
    for architecture in architectures:
        url = fill(PATTERN, builds[architecture], architecture)
        name = unquote(urlsplit(url).path).rpartition("/")[2]
        sums = _sums(builds[architecture], architecture, http, mirrors)
        if name not in sums:
            raise LockError(Text("the release states no hash of {file}", file=name), want="a line in SHA256SUMS")
        archives[architecture] = File(name, sums[name], None, Url(url))
    return StandalonePython(versions.pop(), archives)


def _bases_with(version: str) -> list[Text]:
    """A hint where some distribution has that Python itself."""
    minor = ".".join(version.split(".")[:2])
    suites = [suite for suite, python in PYTHON_OF_SUITE.items() if python == minor]
    return (
        [Text('or set base = "apt:{suite}", which has Python {minor}', suite=suites[0], minor=minor)]
        if suites
        else []
    )


def _sums(build: Build, architecture: str, http: Http, mirrors: Sequence[str]) -> dict[str, str]:
    """File name → sha256, as the release says."""
    failure: FetchError | None = None
    for pattern in (*mirrors, PATTERN):
        url = fill(pattern, build, architecture).rpartition("/")[0] + "/SHA256SUMS"
        try:
            text = http.get(url, limit=_SUMS_LIMIT).decode("utf-8", "replace")
        except FetchError as error:
            failure = error
            continue
        return {name: sha256 for sha256, name in re.findall(r"(?m)^([0-9a-f]{64}) [ *](\S+)$", text)}
    assert failure is not None
    raise FetchError(
        Text("the hashes of Python {version} could not be fetched", version=build.version),
        got=f"{failure.text}: {failure.got}",
        hints=[
            Text("name a mirror of python-build-standalone in mirrors.python of [tool.trainload]"),
            *_bases_with(build.version),
            Text("or leave python out: the base has its own"),
        ],
        retryable=failure.retryable,
    )

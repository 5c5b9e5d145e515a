"""Locks the conda part: the same question for every target platform, and exact bytes for each answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from trainload.errors import LockError, Place, Problems, Text
from trainload.lock.grammar import CONDA_BUILD, CONDA_NAME, CONDA_PATH, CONDA_VERSION, HEX
from trainload.lock.model import ChannelPath, CondaEnvironment, CondaPackage, File
from trainload.platform import Platform
from trainload.project.model import CondaFile, CondaSettings
from trainload.resolve.conda.channels import Channel, Channels, channels_of
from trainload.resolve.conda.rattler import Question, Record, UnreachableError, solve
from trainload.resolve.upgrade import Upgrade

SUBDIRS = {"amd64": "linux-64", "arm64": "linux-aarch64"}
_ARCHSPEC = {"amd64": "x86_64", "arm64": "aarch64"}
_KERNEL = "5.10"
"""What packages may expect of Linux: the oldest kernel that GPU servers run (Debian 11, Amazon Linux 2)."""
_CUDA = "13.0"
"""Of the driver, where no release is named: only packages for a later CUDA are left out."""


@dataclass(frozen=True, slots=True)
class CondaRequest:
    """What is to be locked, and where it may come from."""

    environment: CondaFile
    settings: CondaSettings
    glibc: Mapping[Platform, tuple[int, int]]
    """Target → the C library of its base."""
    accelerator: str
    channels: Channels
    cache: Path
    """A folder for channels' indexes."""
    python: str | None = None
    """A minor version the user set beside the environment."""
    offline: bool = False
    previous: CondaEnvironment | None = None
    upgrade: Upgrade = field(default_factory=Upgrade)
    installed: tuple[bytes, ...] = ()
    """As :class:`Question` has it."""
    pip_with_python: bool = False


def resolve_conda(request: CondaRequest) -> CondaEnvironment:
    """The environment for every platform. Raises :class:`LockError`, :class:`ConfigError`."""
    channels = _channels(request)
    specs = list(request.environment.specs)
    if request.python is not None:
        specs.append(f"python={request.python}")
    answers = {platform: _solved(request, channels, specs, platform) for platform in request.glibc}
    python = _python(answers)
    version = python.version if python is not None else ""
    folder = python.site_packages if python is not None else ""
    return CondaEnvironment(
        requested=tuple(specs),
        channels=tuple((channel.name, channel.address) for channel in channels),
        packages={
            platform.architecture: _packages(records, channels, request) for platform, records in answers.items()
        },
        python=version,
        site_packages=folder or site_packages(version),
    )


@dataclass(frozen=True, slots=True)
class Identity:
    """What a package in a prefix is."""

    name: str
    version: str
    build: str


@dataclass(frozen=True, slots=True)
class Added:
    """What comes into a prefix."""

    packages: tuple[CondaPackage, ...]
    """New ones, and other versions of what is there; sorted by name."""
    python: str
    """The version of the prefix's Python afterwards; empty: none."""
    site_packages: str


def resolve_added(request: CondaRequest, there: Sequence[Identity]) -> Added:
    """What ``request`` adds to a prefix that has ``there``. Raises as :func:`resolve_conda`."""
    channels = _channels(request)
    ((platform, _),) = request.glibc.items()
    records = _solved(request, channels, request.environment.specs, platform)
    known = set(there)
    new = [each for each in records if Identity(each.name, each.version, each.build) not in known]
    python = _python({platform: records})
    version = python.version if python is not None else ""
    folder = python.site_packages if python is not None else ""
    return Added(_packages(new, channels, request), version, folder or site_packages(version))


def _channels(request: CondaRequest) -> tuple[Channel, ...]:
    named = channels_of(request.environment.channels or request.settings.channels, request.settings)
    more = [_channel_of(spec) for spec in request.environment.specs]
    others = channels_of([name for name in more if name], request.settings)
    return tuple(dict.fromkeys((*named, *others)))


def site_packages(version: str) -> str:
    """Where the Python ``version`` of an environment has its packages; nothing where there is none."""
    return f"lib/python{minor(version)}/site-packages" if version else ""


def minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _solved(
    request: CondaRequest, channels: Sequence[Channel], specs: Sequence[str], platform: Platform
) -> tuple[Record, ...]:
    """The answer from the first addresses that can be read."""
    addresses = {channel: request.channels.addresses(channel.name, channel.address) for channel in channels}
    attempts = max(len(found) for found in addresses.values())
    failures: list[UnreachableError] = []
    for attempt in range(attempts):
        chosen = {channel: found[min(attempt, len(found) - 1)] for channel, found in addresses.items()}
        question = Question(
            channels=tuple(chosen.values()),
            specs=tuple(_addressed(spec, chosen, request.settings) for spec in specs),
            subdir=SUBDIRS[platform.architecture],
            virtual=_virtual(platform, request.glibc[platform], request.accelerator),
            priority=request.settings.channel_priority,
            cache=request.cache,
            offline=request.offline,
            installed=request.installed,
            pip_with_python=request.pip_with_python,
        )
        try:
            return solve(question, _preferred(request, platform))
        except UnreachableError as error:
            failures.append(error)
    failures[0].got = "; ".join(str(error.got) for error in failures)
    raise failures[0]


def _virtual(platform: Platform, glibc: tuple[int, int], accelerator: str) -> tuple[tuple[str, str, str], ...]:
    """What the target has, whatever machine this is (conda: virtual packages)."""
    found = [
        ("__unix", "0", "0"),
        ("__linux", _KERNEL, "0"),
        ("__glibc", f"{glibc[0]}.{glibc[1]}", "0"),
        ("__archspec", "1", _ARCHSPEC[platform.architecture]),
    ]
    named = re.fullmatch(r"cu(\d+)(\d)", accelerator)
    if named is not None:
        found.append(("__cuda", f"{named[1]}.{named[2]}", "0"))
    elif accelerator in ("cuda", "auto"):
        found.append(("__cuda", _CUDA, "0"))
    return tuple(found)


def _channel_of(spec: str) -> str:
    """The channel that a specification names, or nothing: ``conda-forge::numpy``."""
    channel, double, _ = spec.partition("::")
    return re.sub(r"/(noarch|linux-64|linux-aarch64)$", "", channel) if double else ""


def _addressed(spec: str, chosen: Mapping[Channel, str], settings: CondaSettings) -> str:
    """``spec`` with its channel as the address that is asked: only so the solver knows it for the same."""
    name = _channel_of(spec)
    if not name:
        return spec
    addresses = [chosen[channel] for channel in channels_of([name], settings)]
    subdir = spec.partition("::")[0][len(name) :]
    return f"{addresses[0]}{subdir}::{spec.partition('::')[2]}"


def _preferred(request: CondaRequest, platform: Platform) -> tuple[Record, ...]:
    """What the last lock has for the platform, but for what is to be upgraded."""
    if request.previous is None or request.upgrade.everything:
        return ()
    renewed = {re.split(r"[=<>!~ \[]", word, maxsplit=1)[0].lower() for word in request.upgrade.packages}
    return tuple(
        Record(each.name, each.version, each.build, "", each.subdir, None, "", each.noarch, (), ())
        for each in request.previous.packages.get(platform.architecture, ())
        if each.name not in renewed
    )


def _python(answers: Mapping[Platform, Sequence[Record]]) -> Record | None:
    """The environment's own, the same on all platforms; None: it has command-line tools only."""
    pythons = {
        platform: next((record for record in records if record.name == "python"), None)
        for platform, records in answers.items()
    }
    found = {platform: python for platform, python in pythons.items() if python is not None}
    if not found:
        return None
    if len(found) != len(pythons) or len({minor(python.version) for python in found.values()}) != 1:
        raise LockError(
            "the conda environment has not the same Python on all platforms",
            got=", ".join(f"{platform}: {python.version}" for platform, python in found.items()),
            hints=[Text("name one in the dependencies: python=3.12")],
        )
    return found[min(found)]


def _packages(
    records: Sequence[Record], channels: Sequence[Channel], request: CondaRequest
) -> tuple[CondaPackage, ...]:
    problems = Problems()
    found = []
    for record in records:
        try:
            found.append(package_of(record, _located(record.url, channels, request.channels)))
        except LockError as error:
            problems.add(error)
    problems.check()
    return tuple(sorted(found, key=lambda package: package.name))


def _located(url: str, channels: Sequence[Channel], places: Channels) -> ChannelPath:
    """The channel that ``url`` belongs to, and the path in it."""
    url = unquote(url)
    for channel in channels:
        for address in places.addresses(channel.name, channel.address):
            if url.startswith(f"{address}/"):
                return ChannelPath(channel.name, url[len(address) + 1 :], channel.address)
    raise LockError("a package lies in none of the channels", got=url.rpartition("@")[2][:200])


def package_of(record: Record, location: ChannelPath) -> CondaPackage:
    """The package as a lock has it. Raises :class:`LockError` for what an index may not say (THREATS C05, C08)."""
    place = Place(location.channel, location.path[:200])
    good = (
        (record.name, CONDA_NAME), (record.version, CONDA_VERSION), (record.build, CONDA_BUILD),
        (location.path, CONDA_PATH),
    )  # fmt: skip
    for value, pattern in good:
        if not pattern.fullmatch(value) or ".." in value:
            raise LockError("a package of the channel has a name that cannot be", place=place, got=value[:200])
    file = location.path.rpartition("/")[2]
    stem = re.sub(r"\.(conda|tar\.bz2)$", "", file)
    if stem != f"{record.name}-{record.version}-{record.build}" or not location.path.startswith(
        f"{record.subdir}/"
    ):
        raise LockError(
            "the channel's index names another file than the package's", place=place,
            got=f"{record.name} {record.version} {record.build} ({record.subdir})",
        )  # fmt: skip
    if not HEX.fullmatch(record.sha256):
        raise LockError(
            Text("{name} has no sha256 in its channel, so its bytes are not known", name=record.name), place=place,
            hints=[Text("take another version or channel")],
        )  # fmt: skip
    return CondaPackage(
        name=record.name,
        version=record.version,
        build=record.build,
        file=File(file, record.sha256, record.size, location),
        noarch=record.noarch,
        depends=record.depends,
        constrains=record.constrains,
    )

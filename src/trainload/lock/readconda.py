"""Reads ``[tool.trainload.conda]`` of a lock."""

from __future__ import annotations

import re
from collections.abc import Mapping

from trainload.errors import Text
from trainload.lock.document import Table
from trainload.lock.grammar import CONDA_BUILD, CONDA_NAME, CONDA_PATH, CONDA_VERSION, FULL_PYTHON, HEX, LINE
from trainload.lock.model import ChannelPath, CondaEnvironment, CondaPackage, File

_ARCHITECTURES = ("amd64", "arm64")
_SITE_PACKAGES = re.compile(r"lib/python3\.[0-9]{1,3}t?/site-packages")
_CHANNEL = re.compile(r"[^\s@\x00-\x1f\x7f]{1,500}")  # THREATS C09: no user, no password
_NOARCH = re.compile("python|generic")


def read_conda(table: Table) -> CondaEnvironment:
    """The conda environment; what is wrong goes into the table's problems."""
    table.only(("python", "site-packages", "requested", "channels", "installed", "packages"))
    channels = {}
    for row in table.tables("channels"):
        row.only(("name", "url"))
        channels[row.text("name", _CHANNEL)] = row.text("url", _CHANNEL, want="an address without credentials")
    packages = table.table("packages")
    packages.only(_ARCHITECTURES)
    return CondaEnvironment(
        requested=table.texts("requested"),
        channels=tuple(channels.items()),
        packages={name: _packages(packages, name, channels) for name in sorted(packages.values)},
        python=table.optional_text("python", FULL_PYTHON, want="a version such as 3.12.8") or "",
        site_packages=_site_packages(table),
        installed=tuple(_pairs(table)),
    )


def _site_packages(table: Table) -> str:
    """There is a folder where there is a Python."""
    if "python" not in table.values and "site-packages" not in table.values:
        return ""
    return table.text("site-packages", _SITE_PACKAGES, want="lib/python3.12/site-packages")


def _pairs(table: Table) -> list[tuple[str, str]]:
    found = []
    for line in table.texts("installed"):
        name, both, version = line.partition("==")
        if not both or not LINE.fullmatch(line):
            table.wrong("installed", "has a wrong value", got=line[:80], want="name==version")
        found.append((name, version))
    return found


def _packages(table: Table, architecture: str, channels: Mapping[str, str]) -> tuple[CondaPackage, ...]:
    found: dict[str, CondaPackage] = {}
    for row in table.tables(architecture):
        package = _package(row, channels)
        if package.name in found:
            row.wrong("name", Text("{name} stands here twice", name=package.name))
        found[package.name] = package
    return tuple(found[name] for name in sorted(found))


def _package(row: Table, channels: Mapping[str, str]) -> CondaPackage:
    row.only((
        "name", "version", "build", "channel", "path", "size", "sha256", "noarch", "depends", "constrains",
    ))  # fmt: skip
    channel = row.text("channel", _CHANNEL)
    path = row.text("path", CONDA_PATH, want="a path in a channel such as linux-64/zlib-1.3.1-hb9d3cd8_2.conda")
    if channel not in channels:
        row.wrong("channel", "is not among the channels", got=channel)
    if "sha256" not in row.values:
        row.wrong("sha256", "has no sha256, so its bytes are not known", want="sha256")
        sha256 = ""
    else:
        sha256 = row.text("sha256", HEX, want="64 hexadecimal digits")
    location = ChannelPath(channel, path, channels.get(channel, ""))
    package = CondaPackage(
        name=row.text("name", CONDA_NAME, want="the name of a conda package"),
        version=row.text("version", CONDA_VERSION, want="a version"),
        build=row.text("build", CONDA_BUILD, want="a build string"),
        file=File(path.rpartition("/")[2], sha256, row.optional_number("size"), location),
        noarch=row.optional_text("noarch", _NOARCH, want="python or generic") or "",
        depends=row.texts("depends"),
        constrains=row.texts("constrains"),
    )
    expected = f"{package.name}-{package.version}-{package.build}"
    if path and re.sub(r"\.(conda|tar\.bz2)$", "", package.file.name) != expected:
        row.wrong("path", "is of another package", got=path, want=expected)
    return package

"""Writes ``[tool.trainload.conda]``: one package per line."""

from __future__ import annotations

from collections.abc import Iterator

from trainload.lock.model import ChannelPath, CondaEnvironment, CondaPackage
from trainload.lock.words import inline, listed, text

_TABLE = "tool.trainload.conda"


def written(environment: CondaEnvironment) -> Iterator[str]:
    """The lines of the table."""
    yield from ("", f"[{_TABLE}]")
    if environment.python:
        yield from (f"python = {text(environment.python)}", f"site-packages = {text(environment.site_packages)}")
    if environment.requested:
        yield from listed("requested", map(text, environment.requested))
    rows = ({"name": name, "url": url} for name, url in environment.channels)
    yield from listed("channels", map(inline, rows))
    if environment.installed:
        yield from listed("installed", (text(f"{name}=={version}") for name, version in environment.installed))
    yield from ("", f"[{_TABLE}.packages]")
    for architecture, packages in sorted(environment.packages.items()):
        yield from listed(architecture, (_package(package) for package in sorted(packages)))


def _package(package: CondaPackage) -> str:
    location = package.file.location
    assert isinstance(location, ChannelPath)
    pairs: dict[str, object] = {
        "name": package.name,
        "version": package.version,
        "build": package.build,
        "channel": location.channel,
        "path": location.path,
    }
    if package.file.size is not None:
        pairs["size"] = package.file.size
    pairs["sha256"] = package.file.sha256
    if package.noarch:
        pairs["noarch"] = package.noarch
    pairs |= {key: list(value) for key, value in _relations(package) if value}
    return inline(pairs)


def _relations(package: CondaPackage) -> Iterator[tuple[str, tuple[str, ...]]]:
    yield "depends", package.depends
    yield "constrains", package.constrains

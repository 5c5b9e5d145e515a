"""Packages that come of repositories: which commit, what they are, and how uv hears of them.

uv would ask their build on this machine, so it never sees them: like what a base has, each stands before it as a
wheel of metadata, the only version there is; what is locked is the commit's archive and what builds it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trainload.errors import LockError, Text
from trainload.lock.adopt import Adopted
from trainload.lock.found import Installed
from trainload.lock.model import Commit, File, Lock, PythonPackage
from trainload.project.model import GitRequirement
from trainload.resolve.sources import Examiner
from trainload.resolve.upgrade import Upgrade
from trainload.values import replace

Fetch = Callable[[str, str, str, File | None], File]
"""(address, revision or commit, folder, what it was the last time) → the commit's archive."""


@dataclass(frozen=True, slots=True)
class Own:
    """One of them, found out."""

    installed: Installed
    """What it says of itself."""
    sdist: File
    line: str
    """The requirement that uv is told."""


def found_out(
    asked: Sequence[GitRequirement],
    fetch: Fetch,
    examiner: Examiner | None,
    previous: Lock | None,
    upgrade: Upgrade,
) -> tuple[Own, ...]:
    """Raises :class:`LockError`, :class:`FetchError`, :class:`BackendError`."""
    if asked and examiner is None:
        raise LockError(
            Text("{url} is a source, and nothing is built from source", url=asked[0].url),
            got='build.sources = "never", or a base image',
            hints=[Text("put a wheel of it into a find-links folder, and write name==version")],
        )
    return tuple(_one(each, fetch, examiner, previous, upgrade) for each in asked if examiner is not None)


def _one(asked: GitRequirement, fetch: Fetch, examiner: Examiner, previous: Lock | None, upgrade: Upgrade) -> Own:
    last = None if upgrade.everything else _last(asked, previous)
    if last is not None and last.name in upgrade.packages:
        last = None
    if last is not None:
        assert last.sdist is not None and isinstance(last.sdist.location, Commit)
        file = fetch(asked.url, last.sdist.location.commit, asked.subdirectory, last.sdist)
    else:
        file = fetch(asked.url, asked.revision, asked.subdirectory, None)
    assert isinstance(file.location, Commit)
    told = asked.revision if asked.revision != file.location.commit else ""
    file = replace(file, location=replace(file.location, revision=told))
    said = examiner.introduce(file, asked.name)
    if asked.name and said.name != asked.name:
        raise LockError(
            Text("the repository {url} holds another package", url=asked.url), got=said.name, want=asked.name
        )
    extras = f"[{','.join(asked.extras)}]" if asked.extras else ""
    marker = f" ; {asked.marker}" if asked.marker else ""
    return Own(said, file, f"{said.name}{extras}=={said.version}{marker}")


def _last(asked: GitRequirement, previous: Lock | None) -> PythonPackage | None:
    """What the last lock has for it: a branch stays where it was."""
    for package in previous.packages if previous is not None else ():
        at = package.sdist.location if package.sdist is not None else None
        if not isinstance(at, Commit):
            continue
        same = (at.url, at.subdirectory) == (asked.url, asked.subdirectory)
        if same and asked.revision in (at.revision or at.commit, at.commit):
            return package
        if same and not asked.revision and not at.revision:
            return package
    return None


def with_sources(adopted: Adopted, own: Sequence[Own]) -> Adopted:
    """What uv chose, with the archives in place of the wheels of metadata."""
    sources = {each.installed.name: each.sdist for each in own}
    packages = tuple(
        replace(package, wheels=(), sdist=sources[package.name]) if package.name in sources else package
        for package in adopted.packages
    )
    return replace(adopted, packages=packages)

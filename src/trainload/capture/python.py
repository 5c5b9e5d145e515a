"""Python distributions among the changes, by what installers write down (PyPA "Recording installed projects").

pip marks what it was asked for with ``REQUESTED``; uv marks everything. So the mark counts where pip made it, and
where it does not count, or there is none, what no other new distribution needs was asked for.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from trainload.capture.model import Distribution, Source
from trainload.nesting import loads
from trainload.run.changed import Changed, How

_INFO = re.compile(
    r"(?P<folder>(?P<site>(?:.*/)?(?:site|dist)-packages)/(?P<name>[^/]+?)-(?P<version>[^/-]+)"
    r"(?:-py[0-9.]+)?\.(?:dist-info|egg-info))(?:/(?P<file>.*))?"
)
_READ = ("METADATA", "INSTALLER", "REQUESTED", "direct_url.json", "RECORD")
_DEBIANS = "usr/lib/python3/dist-packages"
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_REQUIRES = re.compile(r"^Requires-Dist:[ \t]*([A-Za-z0-9][A-Za-z0-9._-]*)([^\n]*)$", re.MULTILINE)
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!]{0,127}")


def wanted(changes: Iterable[Changed]) -> Iterator[str]:
    """Paths that must be read."""
    for folder in _folders(changes, How.ADDED, How.CHANGED):
        yield from (f"{folder}/{name}" for name in _READ)


@dataclass(frozen=True, slots=True)
class _Installed:
    name: str
    version: str
    folder: str
    requires: frozenset[str]
    by_pip: bool
    requested: bool
    source: Source
    url: str


def distributions(changes: Iterable[Changed], texts: Mapping[str, bytes]) -> tuple[Distribution, ...]:
    """What was added, changed or removed, sorted; ``texts``: what :func:`wanted` asked for."""
    changes = tuple(changes)
    new = {one.name: one for folder in _folders(changes, How.ADDED, How.CHANGED) if (one := _read(folder, texts))}
    fresh = {_match(folder)["folder"] for folder in _folders(changes, How.ADDED)}
    gone = {normal(match["name"]): match["version"] for match in map(_match, _folders(changes, How.DELETED))}
    needed = frozenset(name for one in new.values() for name in one.requires - {one.name})
    found = [
        Distribution(one.name, one.version, gone.get(one.name), _asked(one, needed), one.source, one.url)
        for one in new.values()
        if gone.get(one.name) != one.version and (one.folder in fresh or one.name in gone)
    ]
    found += [Distribution(name, None, version) for name, version in gone.items() if name not in new]
    return tuple(sorted(found, key=lambda one: one.name))


def files(changes: Iterable[Changed], texts: Mapping[str, bytes]) -> frozenset[str]:
    """Paths that belong to what was added or changed: its metadata, and what its ``RECORD`` lists."""
    found: set[str] = set()
    for folder in _folders(changes, How.ADDED, How.CHANGED):
        base = posixpath.dirname(folder)
        for line in texts.get(f"{folder}/RECORD", b"").decode("utf-8", "replace").splitlines():
            name = line.rsplit(",", 2)[0].strip('"')
            found.add(posixpath.normpath(posixpath.join(base, name)).lstrip("/"))
    return frozenset(found)


def is_metadata(path: str) -> bool:
    """Whether ``path`` is a distribution's metadata, or in it."""
    return _INFO.fullmatch(path) is not None


def normal(name: str) -> str:
    """A distribution's name as it is compared (PyPA "Names and normalization")."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _match(path: str) -> re.Match[str]:
    match = _INFO.fullmatch(path)
    assert match is not None
    return match


def _folders(changes: Iterable[Changed], *how: How) -> list[str]:
    """Metadata folders whose METADATA was changed so, or that went as a whole."""
    found: dict[str, None] = {}
    for change in changes:
        match = _INFO.fullmatch(change.path)
        if match is None or change.how not in how or match["site"] == _DEBIANS:
            continue
        if match["file"] == "METADATA" or (match["file"] is None and change.how is How.DELETED):
            found[match["folder"]] = None
    return list(found)


def _read(folder: str, texts: Mapping[str, bytes]) -> _Installed | None:
    head = (
        texts.get(f"{folder}/METADATA", b"").decode("utf-8", "replace").replace("\r\n", "\n").partition("\n\n")[0]
    )
    fields = dict(re.findall(r"^(Name|Version):[ \t]*(\S+)", head, re.MULTILINE))
    name, version = fields.get("Name", ""), fields.get("Version", "")
    if not _NAME.fullmatch(name) or not _VERSION.fullmatch(version):
        return None
    source, url = _source(texts.get(f"{folder}/direct_url.json", b""))
    return _Installed(
        name=normal(name),
        version=version,
        folder=folder,
        # what only an extra brings is no dependency
        requires=frozenset(normal(need) for need, rest in _REQUIRES.findall(head) if "extra" not in rest),
        by_pip=texts.get(f"{folder}/INSTALLER", b"").strip() == b"pip",
        requested=f"{folder}/REQUESTED" in texts,
        source=source,
        url=url,
    )


def _source(data: bytes) -> tuple[Source, str]:
    with suppress(ValueError):
        match loads(data):
            case {"url": str(url), "dir_info": {"editable": True}}:
                return Source.EDITABLE, url
            case {"url": str(url), "dir_info": dict()}:
                return Source.FOLDER, url
            case {"url": str(url), "vcs_info": dict()}:
                return Source.VCS, url
            case {"url": str(url)}:
                return Source.URL, url
    return Source.INDEX, ""


def _asked(one: _Installed, needed: frozenset[str]) -> bool:
    return (one.by_pip and one.requested) or one.source is not Source.INDEX or one.name not in needed

"""Symbolic links of the project: kept when they stay inside it, refused otherwise (THREATS P01, P02)."""

from __future__ import annotations

import posixpath

from trainload.errors import ConfigError, Place, Text
from trainload.limits import DEFAULT
from trainload.project.model import CodeFile
from trainload.tree import Entry, EntryKind, Tree


def check_link(tree: Tree, entry: Entry) -> str:
    """The target as it stands. Raises :class:`ConfigError` unless it leads to something inside the project."""
    target = entry.target or ""
    if target.startswith("/"):
        raise _refused(entry, Text("the link points to an absolute path, which means nothing elsewhere"))
    path, hops = entry.path, 0
    waiting = target.split("/")
    at = path.split("/")[:-1]
    while waiting:
        name = waiting.pop(0)
        if name in ("", "."):
            continue
        if name == "..":
            if not at:
                raise _refused(entry, Text("the link leads out of the project"))
            at.pop()
            continue
        found = tree.find("/".join([*at, name]))
        if found is None:
            raise _refused(entry, Text("the link points to nothing"))
        if found.kind is EntryKind.LINK:
            hops += 1
            if hops > DEFAULT.symlink_hops:
                raise _refused(entry, Text("the links lead round in a circle"))
            if (found.target or "").startswith("/"):
                raise _refused(entry, Text("the link leads out of the project"))
            waiting = (found.target or "").split("/") + waiting
        else:
            at.append(name)
    return target


def pointed_at(link: CodeFile) -> str:
    """The path a link names, in one step; "" is the project itself."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(link.path), link.target or ""))
    return "" if path == "." else path


def _refused(entry: Entry, text: Text) -> ConfigError:
    return ConfigError(
        text,
        place=Place(entry.path),
        got=f"-> {entry.target}",
        hints=[
            Text('leave it out: exclude = ["{path}"]', path=entry.path),
            Text('and mount what it points at: run.volumes = ["SOURCE:/TARGET:ro"]'),
        ],
    )

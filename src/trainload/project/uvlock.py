"""Whether ``uv.lock`` was made for the dependencies ``pyproject.toml`` has now.

The lock is honoured as it stands, never resolved anew; but an edit of ``pyproject.toml`` that never reached it
would silently train with the old versions. uv writes what the project asked for into the project's own entry
(``package.metadata.requires-dist``), so this needs neither uv nor a network.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence

from trainload import nesting
from trainload.errors import Text
from trainload.limits import DEFAULT
from trainload.project.document import decode
from trainload.tree import Tree

_OWN = re.compile(r'^source = \{ (?:virtual|editable) = "\." \}$', re.MULTILINE)
_HEADER = "[[package]]\n"


def outdated(tree: Tree, file: str, dependencies: Sequence[str]) -> Text | None:
    """A warning when ``file`` was made for other ``dependencies``; None when not, or when it cannot be told."""
    recorded = _recorded(decode(tree.read(file, limit=DEFAULT.document), file))
    if recorded is None:
        return None
    asked = {_normal(line) for line in dependencies}
    known = {_normal(_line(entry)) for entry in recorded}
    # of an entry from a folder, a URL or git, uv does not record the version that was asked for
    elsewhere = {
        _name(_line(entry)) for entry in recorded if entry.keys() - {"name", "specifier", "extras", "marker"}
    }
    differing = sorted(line for line in asked ^ known if _name(line) not in elsewhere)
    if not differing:
        return None
    return Text(
        "{file} was made for other dependencies than pyproject.toml has now ({differing}), and its versions are "
        "used; bring it up to date with `uv lock`",
        file=file, differing=", ".join(dict.fromkeys(map(_name, differing))),
    )  # fmt: skip


def _recorded(text: str) -> list[Mapping[str, object]] | None:
    """``requires-dist`` of the project's own entry. Only that is parsed: a lock can be large."""
    match = _OWN.search(text)
    if match is None:
        return None
    begin, end = text.rfind(_HEADER, 0, match.start()), text.find(_HEADER, match.end())
    own = text[begin : end if end >= 0 else len(text)]
    if nesting.too_deep_toml(own):
        return None
    try:
        entry = tomllib.loads(own)["package"][0]
    except (ValueError, LookupError, TypeError):
        return None  # uv itself tells what is wrong with its lock
    metadata = entry.get("metadata")
    found = metadata.get("requires-dist", []) if isinstance(metadata, dict) else []
    return [item for item in found if isinstance(item, dict) and isinstance(item.get("name"), str)]


def _line(entry: Mapping[str, object]) -> str:
    marker = str(entry.get("marker", ""))
    return f"{entry['name']} {entry.get('specifier', '')}" + (f" ; {marker}" if marker else "")


def _normal(line: str) -> str:
    """Name and version as uv records them. Extras and markers are left out: uv rewrites both."""
    from packaging.requirements import InvalidRequirement
    from packaging.utils import canonicalize_name

    try:
        requirement = nesting.requirement(line)
    except InvalidRequirement:
        return line
    return f"{canonicalize_name(requirement.name)} {requirement.specifier}"


def _name(line: str) -> str:
    return line.partition(" ")[0]

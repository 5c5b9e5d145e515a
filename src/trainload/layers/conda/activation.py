"""What conda would do with a package beside placing it: variables it declares, scripts on activation and linking.

Declared are variables in ``etc/conda/env_vars.d/*.json`` (conda 4.8). Nothing of a package runs (THREATS C07).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from trainload.errors import LayerError, Place, Text
from trainload.layers.conda.archive import open_archive
from trainload.layers.conda.claims import read_documents
from trainload.layers.conda.documents import parse
from trainload.layers.conda.info import PathKind, read_info
from trainload.layers.conda.scripts import MOST, BeyondError, Prefix, exported
from trainload.layers.tarread import MemberKind
from trainload.limits import DEFAULT, Limits, MiB
from trainload.plan.model import CONDA, CondaFiles

_VARIABLES = re.compile(r"etc/conda/env_vars\.d/[^/]+\.json")
_SCRIPTS = re.compile(r"etc/conda/activate\.d/[^/]+\.sh")
_NOTHING = re.compile(
    r"set\s+[-+][\w\s-]+|true|:|exit(\s+0)?"
    r'|(echo|printf)\s[^>`$();&|]*(>>\s*"?\$\{?PREFIX\}?/\.messages\.txt"?)?'
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_OURS = frozenset({"PATH", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "CONDA_SHLVL", "LD_PRELOAD", "LD_LIBRARY_PATH"})
_KINDS = {PathKind.FILE: "file", PathKind.LINK: "link", PathKind.FOLDER: "folder"}


@dataclass(frozen=True, slots=True)
class Brought:
    """Of one package, for its activation."""

    package: str
    """The archive's name."""
    variables: Mapping[str, str]
    scripts: Mapping[str, str | None]
    """On activation: path below the prefix → the text; None: it is too large, or no text."""
    linking: Mapping[str, str | None]
    """Before and after it is placed, but for those that do nothing."""
    paths: Mapping[str, str]
    """All of its paths, with their kinds as :class:`Prefix` has them."""


@dataclass(frozen=True, slots=True)
class Untold:
    """A script of which nobody can tell what it sets without running it."""

    package: str
    path: str
    because: str
    """What of it is not understood."""


def brought(stream: BinaryIO, package: CondaFiles, limits: Limits = DEFAULT) -> Brought:
    """With the package's own prefix replaced. Raises :class:`LayerError` for what is no variable."""
    archive = open_archive(stream, package.archive.name, limits)
    info = read_info(read_documents(archive), package)
    links = {f"bin/.{package.name}-{word}-link.sh" for word in ("pre", "post")}
    shapes = (_VARIABLES, _SCRIPTS)
    wanted = {path for path in info.paths if path in links or any(shape.fullmatch(path) for shape in shapes)}
    variables: dict[str, str] = {}
    scripts: dict[str, str | None] = {}
    linking: dict[str, str | None] = {}
    if wanted:
        reader = archive.content()
        for member in reader:
            path = archive.path(member.name)
            if path not in wanted or member.kind is not MemberKind.FILE:
                continue
            placeholder = info.paths[path].placeholder
            if _SCRIPTS.fullmatch(path) or path in links:
                text = _script(reader.content(MOST), placeholder) if member.size <= MOST else None
                (linking if path in links else scripts)[path] = text
            else:
                variables |= _declared(reader.content(MiB), placeholder, Place(package.archive.name, path))
    paths = {path: _KINDS[entry.kind] for path, entry in info.paths.items()}
    busy = {path: text for path, text in linking.items() if text is None or first_line(text)}
    return Brought(package.archive.name, variables, scripts, busy, paths)


def first_line(script: str) -> str:
    """The first line that does something: not a comment, and more than a message (conda shows it)."""
    for line in map(str.strip, script.splitlines()):
        if line and not line.startswith("#") and not _NOTHING.fullmatch(line):
            return line
    return ""


def _script(data: bytes, placeholder: str | None) -> str | None:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return text.replace(placeholder, CONDA) if placeholder else text


def _declared(data: bytes, placeholder: str | None, place: Place) -> dict[str, str]:
    found = {}
    for name, value in parse(data, place).items():
        if not _NAME.fullmatch(name) or name in _OURS or not isinstance(value, str) or "\0" in value:
            raise LayerError(Text("{name} may not be set by a package", name=name[:80]), place=place)
        found[name] = value.replace(placeholder, CONDA) if placeholder else value
    return found


def activated(packages: Sequence[Brought]) -> tuple[dict[str, str], tuple[Untold, ...]]:
    """What activating them sets, as conda does it: declared variables first, then the scripts by their names.

    The second are scripts that say more than can be told; nothing of such a one counts.
    """
    kinds: dict[str, str] = {}
    variables: dict[str, str] = {"CONDA_PREFIX": CONDA}
    scripts: dict[str, tuple[str, str | None]] = {}
    for each in packages:
        variables |= each.variables
        scripts |= {path: (each.package, text) for path, text in each.scripts.items()}
        for path, kind in each.paths.items():
            kinds[path] = kind
            above = path.rpartition("/")[0]
            while above and above not in kinds:
                kinds[above] = "folder"
                above = above.rpartition("/")[0]
    untold: list[Untold] = []
    for path in sorted(scripts):
        package, text = scripts[path]
        try:
            if text is None or "\0" in text:
                raise BeyondError("…")
            after = exported(text, variables, Prefix(CONDA, kinds.get))
            changed = {name for name in _OURS if after.get(name) != variables.get(name)}
            if changed:
                raise BeyondError(f"export {min(changed)}")
            variables = after
        except BeyondError as error:
            untold.append(Untold(package, path, str(error)))
    return {name: value for name, value in variables.items() if name != "CONDA_PREFIX"}, tuple(untold)

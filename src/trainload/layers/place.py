"""Where a wheel's members go in the image: a pure policy (THREATS D4; the wheel specification § Installing).

The scheme is mostly a virtual environment's: ``site-packages`` for the wheel's root, ``purelib`` and ``platlib``;
``bin`` for scripts; ``include/site/pythonX.Y/NAME`` for headers; the environment itself for data. Lines of a
Dockerfile install into other Pythons, whose folders are called otherwise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import cache

from trainload.errors import Text
from trainload.plan.model import VENV
from trainload.plan.placed import InstallScheme

ROOT = VENV.removeprefix("/")
"""The environment as a path of the image without its first slash."""

_INTERPRETERS = re.compile(r"python(w|\d+(\.\d+)?)?")
_SHELLS = frozenset({"sh", "bash", "dash", "env"})
"""The environment's ``bin`` comes first on PATH: what is called so would stand in for the system's."""

_NOT_NAMES = frozenset({"", ".", ".."})


class Role(Enum):
    """What a member becomes."""

    PLAIN = "plain"
    SCRIPT = "script"
    """A file of ``.data/scripts``: executable, its ``#!python`` line rewritten."""
    STRUCTURE = "structure"
    """A directory of the archive's own structure (``NAME.data`` and its keys): it is nowhere in the image."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """What decides the places of one wheel's members."""

    python: str
    """Minor version, ``3.11``."""
    distribution: str
    """Normalised name (PEP 503)."""
    data: str
    """Its data folder in the archive, ``NAME-VERSION.data``."""
    root: str = ROOT
    """The environment it goes into, as a path of the image without its first slash."""
    folders: InstallScheme | None = None
    """None: those of that environment."""

    @property
    def site_packages(self) -> str:
        return self.install.site

    @property
    def install(self) -> InstallScheme:
        return self.folders if self.folders is not None else environment(self.python, self.root)


@dataclass(frozen=True, slots=True)
class Placed:
    """A member's path in the image, without the first slash."""

    path: str
    role: Role = Role.PLAIN


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a member may not be placed."""

    reason: Text


@cache
def environment(python: str, root: str = ROOT) -> InstallScheme:
    """The folders of the environment ``root``, for ``python`` (a minor version)."""
    return InstallScheme(
        site=f"{root}/lib/python{python}/site-packages",
        scripts=f"{root}/bin",
        headers=f"{root}/include/site/python{python}",
        data=root,
        interpreter=f"/{root}/bin/python",
        is_venv=True,
    )


def place(name: str, scheme: Scheme, *, is_directory: bool = False) -> Placed | Refused:
    """The place of the member ``name``, whose parts are neither empty nor dots (``zip.member_name``)."""
    parts = name.split("/")
    if not _NOT_NAMES.isdisjoint(parts) or "\\" in name or "\0" in name:
        return Refused(Text("its name leads out of the archive's own folder"))
    install = scheme.install
    if parts[0] != scheme.data and install.is_venv and not _is_special(parts[0], name):
        return Placed(f"{install.site}/{name}")  # nearly all: nothing of what is checked below can be said of it
    if parts[0] != scheme.data:
        return _checked(f"{install.site}/{name}", Role.PLAIN, scheme, is_directory=is_directory)
    if len(parts) == 1 and is_directory:
        return Placed("", Role.STRUCTURE)
    return _place_data(parts[1:], scheme, is_directory=is_directory)


def _is_special(top: str, name: str) -> bool:
    """Whether a name below ``site-packages`` is one that :func:`_checked` may refuse: metadata, or a deletion."""
    return top.lower().endswith(".dist-info") or ".wh." in name


def _place_data(parts: list[str], scheme: Scheme, *, is_directory: bool) -> Placed | Refused:
    key, rest = (parts[0], "/".join(parts[1:])) if parts else ("", "")
    install = scheme.install
    prefixes = {
        "purelib": install.site,
        "platlib": install.site,
        "headers": f"{install.headers}/{scheme.distribution}",
        "scripts": install.scripts,
        "data": install.data,
    }
    if key not in prefixes:
        return Refused(Text("{key} is no part of a wheel's data folder", key=key or "a file"))
    if not rest:
        if is_directory:
            return Placed("", Role.STRUCTURE)
        return Refused(Text("it is a file where a folder belongs"))
    if key == "scripts":
        if "/" in rest or is_directory:
            return Refused(Text("the scripts of a wheel lie in one folder, and this is a folder in it"))
        return _checked(f"{install.scripts}/{rest}", Role.SCRIPT, scheme)
    if install.is_venv and key == "data" and parts[1] == "lib64" and (is_directory or len(parts) > 2):
        rest = "/".join(["lib", *parts[2:]])  # a link to lib in every virtual environment
    return _checked(f"{prefixes[key]}/{rest}", Role.PLAIN, scheme, is_directory=is_directory)


def _checked(path: str, role: Role, scheme: Scheme, *, is_directory: bool = False) -> Placed | Refused:
    """THREATS W25: the environment's own files stay its own; W22: no other package is made up."""
    install = scheme.install
    own = (f"{install.data}/pyvenv.cfg", f"{install.data}/lib64", f"{install.scripts}/activate")
    if install.is_venv and path in own:
        return Refused(Text("it would replace a file of the virtual environment itself"))
    if not is_directory and (path == install.scripts or f"{scheme.site_packages}/".startswith(f"{path}/")):
        return Refused(Text("it is a file where a folder belongs"))
    if path.startswith(f"{scheme.site_packages}/"):
        top = path[len(scheme.site_packages) + 1 :].partition("/")[0]
        if top.lower().endswith(".dist-info") and top != f"{scheme.data.removesuffix('.data')}.dist-info":
            return Refused(Text("it would stand for another package, {name}", name=top))
    folder, _, name = path.rpartition("/")
    if folder == install.scripts and (_INTERPRETERS.fullmatch(name) or name in _SHELLS):
        return Refused(Text("a command called {name} would stand in for the interpreter or a shell", name=name))
    if "/.wh." in path:
        return Refused(Text("a name that begins with .wh. means a deletion in an image layer"))
    return Placed(path, role)


def relative(path: str, folder: str) -> str:
    """``path`` as seen from ``folder``, both plain and without the first slash: what RECORD says."""
    if path.startswith(f"{folder}/"):
        return path[len(folder) + 1 :]
    here, there = folder.split("/"), path.split("/")
    common = 0
    while common < min(len(here), len(there) - 1) and here[common] == there[common]:
        common += 1
    return "/".join([".."] * (len(here) - common) + there[common:])

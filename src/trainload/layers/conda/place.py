"""Where a conda package's files go in the image: a pure policy (THREATS D4, C01, C04)."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from trainload.errors import Text
from trainload.layers.debian.root import normalise
from trainload.layers.place import Refused

_NOT_NAMES = frozenset({"", ".", ".."})
_SCRIPTS, _SITE = "python-scripts", "site-packages"
"""Where ``noarch: python`` packages have what depends on the Python."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """What decides the places of one package's files."""

    prefix: str
    """The environment, as a path of the image without its first slash: ``opt/conda``."""
    site_packages: str = ""
    """Below the prefix, for ``noarch: python``; empty: the package names full paths."""

    @property
    def root(self) -> str:
        return self.prefix


def place(path: str, scheme: Scheme) -> str | Refused:
    """The image path of a package's ``path``, without the first slash."""
    parts = path.split("/")
    if not _NOT_NAMES.isdisjoint(parts) or "\0" in path:
        return Refused(Text("its name leads out of the package's own folder"))
    if any(part.startswith(".wh.") for part in parts):
        return Refused(Text("a name that begins with .wh. means a deletion in an image layer"))
    if parts[0] == "conda-meta":
        return Refused(Text("it would stand for what conda itself writes"))
    if scheme.site_packages and parts[0] == _SITE:
        return "/".join([scheme.prefix, scheme.site_packages, *parts[1:]])
    if scheme.site_packages and parts[0] == _SCRIPTS:
        return "/".join([scheme.prefix, "bin", *parts[1:]])
    return f"{scheme.prefix}/{path}"


def check_link(path: str, target: str, scheme: Scheme) -> Refused | None:
    """Whether a symbolic link at the image path ``path`` may lead to ``target``."""
    if not target or "\0" in target:
        return Refused(Text("the link leads nowhere"))
    if target.startswith("/"):
        return Refused(Text("the link leads to {target}, a path of the machine it was built on", target=target))
    led = normalise(posixpath.dirname(path), target)
    if led is None or not f"{led}/".startswith(f"{scheme.prefix}/"):
        return Refused(Text("the link leads out of the prefix, to {target}", target=target))
    return None

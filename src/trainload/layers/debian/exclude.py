"""What slim images leave out, in dpkg's words, so that dpkg in the image keeps to it (dpkg(1) --path-exclude)."""

from __future__ import annotations

import fnmatch
import re
from functools import cache

from trainload.layers.tarread import MemberKind

SLIM = (
    ("exclude", "/usr/share/doc/*"),
    ("include", "/usr/share/doc/*/copyright"),  # licences must stay
    ("exclude", "/usr/share/man/*"),
    ("exclude", "/usr/share/groff/*"),
    ("exclude", "/usr/share/info/*"),
    ("exclude", "/usr/share/lintian/*"),
    ("exclude", "/usr/share/linda/*"),
    ("exclude", "/usr/share/locale/*"),
    ("include", "/usr/share/locale/locale.alias"),
)
"""The last match wins. The same as in the slim images of the distributions."""

CONFIGURATION = "etc/dpkg/dpkg.cfg.d/trainload"

Rules = tuple[tuple[str, str], ...]


_OWN = "dpkg"
"""First word of a profile that is an image's own rules."""


def rules(profile: str) -> Rules:
    """What a profile leaves out: ``dev`` nothing."""
    first, *given = profile.split(" ")
    if first == _OWN:
        return tuple((verb, pattern) for verb, _, pattern in (one.partition("=") for one in given))
    return () if profile == "dev" else SLIM


def as_profile(given: Rules) -> str:
    """Rules of an image as a profile; patterns have no spaces (dpkg.cfg(5))."""
    return " ".join([_OWN, *(f"{verb}={pattern}" for verb, pattern in given)])


def is_own(profile: str) -> bool:
    """The rules are those of the image, which has them already."""
    return profile.split(" ", maxsplit=1)[0] == _OWN


def excluded(path: str, kind: MemberKind, chosen: Rules) -> bool:
    """Whether dpkg would leave a path out (its filters.c).

    A directory or link stays if something below it may be included again.
    """
    if not chosen:
        return False
    name = "/" + path
    skip = False
    for verb, pattern in chosen:
        if _compiled(pattern).match(name):
            skip = verb == "exclude"
    if skip and kind in (MemberKind.DIRECTORY, MemberKind.SYMLINK):
        for verb, pattern in chosen:
            fixed = re.split(r"[*?\[\\]", pattern, maxsplit=1)[0].rstrip("/")
            if verb == "include" and name.startswith(fixed):
                return False
    return skip


def configuration(chosen: Rules) -> bytes:
    """dpkg's configuration file of the rules."""
    head = "# Left out of this image by Trainload, and kept out when dpkg installs more.\n"
    return (head + "".join(f"path-{verb}={pattern}\n" for verb, pattern in chosen)).encode()


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(pattern))

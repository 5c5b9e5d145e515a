"""What of the folder Docker must not take, as ``.dockerignore``: the rules of the code layer in its words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trainload.project.listing import GENERATED
from trainload.project.model import CodeListing, Left, Settings
from trainload.project.secrets import HARMLESS, NAMES

MARK = "# Written by trainload export dockerfile: what trainload build leaves out, too."
"""The first line of ours."""
_MOST = 200
"""Paths by name; more of them are a folder of data, which has a pattern of its own."""


def ignore_file(settings: Settings, listing: CodeListing, own: Sequence[str], needed: Sequence[str] = ()) -> str:
    """The file; ``own``: what is written with it and belongs to no image; ``needed``: what the build reads."""
    lines = [MARK]
    include = settings.include.value
    if include != ("**",):
        lines += ["**", *(f"!{_anywhere(pattern)}" for pattern in include)]
    lines += _part("secrets", (_anywhere(pattern) for pattern, _ in NAMES))
    lines += [f"!{_anywhere(pattern)}" for pattern in (*HARMLESS, *settings.secrets.value)]
    # behind what takes files back: the last pattern that fits decides
    lines += _part("made by tools", (_anywhere(pattern) for pattern in GENERATED))
    lines += _part("exclude of the configuration", (_anywhere(pattern) for pattern in settings.exclude.value))
    left = [path.rstrip("/") for path, why, _ in listing.left_out if why is Left.IGNORED]
    secret = [path.rstrip("/") for path, why, _ in listing.left_out if why is Left.SECRET]
    lines += _part("ignored by git, and the like", map(_exactly, left[:_MOST]))
    lines += _part("secrets that were found", map(_exactly, secret[:_MOST]))
    lines += _part("of the build itself", [*own, *(f"!{one}" for one in needed)])
    return "\n".join(lines) + "\n"


def _part(title: str, patterns: Iterable[str]) -> list[str]:
    found = list(dict.fromkeys(patterns))
    return ["", f"# {title}", *found] if found else []


def _anywhere(pattern: str) -> str:
    """A pattern of git in Docker's words: one without a slash holds in every folder (Docker anchors all)."""
    plain = pattern.rstrip("/")
    if "/" in plain:
        return plain.lstrip("/")
    return plain if plain.startswith("**") else f"**/{plain}"


def _exactly(path: str) -> str:
    return "".join(f"\\{char}" if char in "*?[]\\!#" else char for char in path)

"""The alternatives that packages install in plain words, as ``update-alternatives`` would set them (its man page).

``update-alternatives --install LINK NAME PATH PRIORITY [--slave LINK NAME PATH]…`` lines of a postinst are read
as text. Lines a shell would have to work out, with ``$`` or a backquote, are not.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from trainload.layers.debian.root import Root

_CALL = re.compile(r"^[^#\n]*?\bupdate-alternatives\b((?:\\\n|[^\n;&|])*)", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z0-9_.+@-]+")


@dataclass(frozen=True, slots=True)
class Slave:
    link: str
    name: str
    path: str


@dataclass(frozen=True, slots=True)
class Alternative:
    """One candidate for a name."""

    link: str
    name: str
    path: str
    priority: int
    slaves: tuple[Slave, ...] = ()


def parse(script: str) -> tuple[list[Alternative], bool]:
    """The literal alternatives of a postinst, and whether there are others it would install."""
    found: list[Alternative] = []
    others = False
    for match in _CALL.finditer(script):
        call = match[1].replace("\\\n", " ")
        if "--install" not in call:
            continue
        alternative = None if re.search(r"[$`]", call) else _alternative(call)
        if alternative is None:
            others = True
        else:
            found.append(alternative)
    return found, others


def install(root: Root, alternatives: Iterable[Alternative]) -> None:
    """Choose the best candidate of each name that is there, link it, and note all of them for dpkg.

    What a base image has chosen already stays.
    """
    groups: dict[str, list[Alternative]] = {}
    for alternative in alternatives:
        if root.has(alternative.path):
            groups.setdefault(alternative.name, []).append(alternative)
    for name in sorted(groups):
        if root.has(f"var/lib/dpkg/alternatives/{name}"):
            continue
        group = sorted(groups[name], key=lambda each: each.path)
        best = max(group, key=lambda each: each.priority)  # of equals the first
        _link(root, best.link, name, best.path)
        slaves = {slave.name: slave for each in group for slave in each.slaves}
        for slave in best.slaves:
            if root.has(slave.path):
                _link(root, slave.link, slave.name, slave.path)
        root.write(f"var/lib/dpkg/alternatives/{name}", _state(group, [slaves[key] for key in sorted(slaves)]))


def _alternative(call: str) -> Alternative | None:
    try:
        words = shlex.split(call)
        at = words.index("--install")
        link, name, path, priority = words[at + 1 : at + 5]
        slaves = []
        rest = words[at + 5 :]
        while rest and rest[0] == "--slave":
            slaves.append(Slave(*rest[1:4]))
            rest = rest[4:]
        alternative = Alternative(link, name, path, int(priority), tuple(slaves))
    except (ValueError, TypeError):
        return None
    everything: list[Alternative | Slave] = [alternative, *slaves]
    paths = [part for each in everything for part in (each.link, each.path)]
    sane = all(part.startswith("/") and ".." not in part.split("/") for part in paths)
    return alternative if sane and all(_NAME.fullmatch(each.name) for each in everything) else None


def _link(root: Root, link: str, name: str, path: str) -> None:
    root.link(f"etc/alternatives/{name}", path)
    root.link(link, f"/etc/alternatives/{name}")


def _state(group: list[Alternative], slaves: list[Slave]) -> bytes:
    """dpkg's state file (update-alternatives(1) § FILES)."""
    lines = ["auto", group[0].link]
    for slave in slaves:
        lines += [slave.name, slave.link]
    lines.append("")
    for each in group:
        paths = {slave.name: slave.path for slave in each.slaves}
        lines += [each.path, str(each.priority), *(paths.get(slave.name, "") for slave in slaves)]
    return "\n".join([*lines, "", ""]).encode()

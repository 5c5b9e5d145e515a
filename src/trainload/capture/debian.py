"""Distribution packages among the changes: dpkg's lists, its status, and what apt installed on its own.

A package's list is made when it is installed and goes with it, so the changed paths tell what happened without the
image's own status (dpkg-query(1) § FILES); ``extended_states`` tells what nobody asked for (apt-mark(8)).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from trainload.capture.model import SystemPackage
from trainload.run.changed import Changed, How

STATUS, STATES = "var/lib/dpkg/status", "var/lib/apt/extended_states"
_LIST = re.compile(r"var/lib/dpkg/info/(?P<name>[a-z0-9][a-z0-9+.-]+)(?::[a-z0-9-]+)?\.list")
_PACKAGE = re.compile(r"^Package:[ \t]*(\S+)", re.MULTILINE)
_INSTALLED = re.compile(r"^Status:[ \t]*\S+ ok installed[ \t]*$", re.MULTILINE)
_AUTO = re.compile(r"^Auto-Installed:[ \t]*1[ \t]*$", re.MULTILINE)


def wanted(changes: Iterable[Changed]) -> Iterator[str]:
    """Paths that must be read."""
    found = [change.path for change in changes if change.how is not How.DELETED and _LIST.fullmatch(change.path)]
    if found:
        yield from (STATUS, STATES, *found)


def packages(changes: Iterable[Changed], texts: Mapping[str, bytes]) -> tuple[SystemPackage, ...]:
    """What was installed, upgraded or removed, sorted; ``texts``: what :func:`wanted` asked for."""
    installed = _names(texts.get(STATUS, b""), _INSTALLED)
    auto = _names(texts.get(STATES, b""), _AUTO)
    found: dict[str, SystemPackage] = {}
    for change in changes:
        match = _LIST.fullmatch(change.path)
        if match is None or (change.how is not How.DELETED and match["name"] not in installed):
            continue
        found[match["name"]] = SystemPackage(match["name"], change.how, match["name"] not in auto)
    return tuple(sorted(found.values()))


def files(texts: Mapping[str, bytes]) -> frozenset[str]:
    """Paths that the lists among ``texts`` name; what a merged ``/usr`` moved is found where it is."""
    found: set[str] = set()
    for path, data in texts.items():
        if _LIST.fullmatch(path):
            for line in data.decode("utf-8", "surrogateescape").split("\n"):
                name = line.lstrip("/")
                found |= {name, f"usr/{name}"} if name.startswith(("bin/", "sbin/", "lib")) else {name}
    return frozenset(found)


def _names(data: bytes, form: re.Pattern[str]) -> frozenset[str]:
    stanzas = data.decode("utf-8", "replace").split("\n\n")
    return frozenset(match[1] for stanza in stanzas if form.search(stanza) and (match := _PACKAGE.search(stanza)))

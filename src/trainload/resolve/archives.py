"""Where a distribution's archive is: mirrors by wish, by this machine's configuration, by public lists.

Nothing here is trusted: an index counts by its signature and a package by its hash, so the worst a wrong
address can do is to cost a moment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, urlsplit

from trainload.errors import ConfigError, LockError, Place, Text
from trainload.lock.distribution.mirrors import PUBLIC
from trainload.lock.distribution.suites import ARCHIVES
from trainload.lock.model import ArchivePath
from trainload.resolve import apt
from trainload.values import dataclass, field

_KNOWN_TO_TOOLS = (
    "usr/sbin/debootstrap",
    "usr/share/debootstrap/scripts/gutsy",  # what debootstrap's Ubuntu scripts are links to
    "usr/share/debootstrap/scripts/jammy",
    "usr/share/debootstrap/scripts/noble",
    "usr/share/python-apt/templates/Debian.info",
    "usr/share/python-apt/templates/Ubuntu.info",
)
_ADDRESS = re.compile(
    r"https?://(?!old-)[A-Za-z0-9.-]+/(debian|debian-security|ubuntu|ubuntu-ports)/?(?=[\s\"']|$)"
)


@dataclass(frozen=True, slots=True)
class Root:
    """An archive's address."""

    url: str
    """Without a slash at its end."""
    check_valid_until: bool = True
    """False when apt on this machine is told not to mind (snapshots, THREATS D12)."""


@dataclass(frozen=True, slots=True)
class Archives:
    """Addresses by archive, in the order to try."""

    roots: Mapping[str, tuple[Root, ...]] = field(default_factory=dict)

    def of(self, archive: str) -> tuple[Root, ...]:
        """Raises :class:`LockError` when no address is known."""
        if not self.roots.get(archive):
            raise LockError(
                Text("no mirror of the {archive} archive is known", archive=archive),
                place=Place("tool.trainload.mirrors.apt"),
                hints=[Text("set one in [tool.trainload.mirrors], or in TRAINLOAD_MIRRORS_APT")],
            )
        return self.roots[archive]

    def urls(self, location: ArchivePath) -> tuple[str, ...]:
        """Where a file of an archive can be fetched, the best first; its hash decides, not the host."""
        return tuple(f"{root.url}/{quote(location.path)}" for root in self.of(location.archive))

    def prefer(self, archive: str, root: Root) -> Archives:
        """The same addresses with ``root`` first: what answered once is asked again."""
        others = tuple(known for known in self.roots.get(archive, ()) if known.url != root.url)
        return Archives({**self.roots, archive: (root, *others)})


def find_archives(
    mirrors: Sequence[str] = (),
    *,
    system: Path = Path("/"),
    public: Mapping[str, tuple[str, ...]] = PUBLIC,
) -> Archives:
    """Every address known for each archive.

    ``mirrors``: the user's, which come first; ``{distribution}`` in one stands for the archive's name
    (``debian``, ``debian-security``, ``ubuntu``, ``ubuntu-ports``). ``system``: whose apt is asked.
    Raises :class:`ConfigError` for a mirror that is no address.
    """
    found: dict[str, list[Root]] = {archive: [] for archive in ARCHIVES}
    for mirror in mirrors:
        for archive, url in _wished(mirror):
            _add(found[archive], Root(url))
    configured = apt.configured(system)
    for source in configured:
        _add(found[source.archive], Root(source.url, source.check_valid_until))
    for source in configured:
        for archive, url in _siblings(source.archive, source.url):
            _add(found[archive], Root(url, source.check_valid_until))
    known = list(_known_to_tools(system))
    for archive, url in [*known, *(sibling for one in known for sibling in _siblings(*one))]:
        _add(found[archive], Root(url))
    for archive in ARCHIVES:
        for url in public.get(archive, ()):
            _add(found[archive], Root(url))
    return Archives({archive: tuple(roots) for archive, roots in found.items()})


def _add(roots: list[Root], root: Root) -> None:
    if all(known.url != root.url for known in roots):
        roots.append(root)


def _wished(mirror: str) -> Iterable[tuple[str, str]]:
    url = mirror.strip().rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            Text("{mirror} is not the address of an archive", mirror=mirror),
            place=Place("tool.trainload.mirrors.apt"),
            want="https://mirror.example/{distribution}",
        )
    if "{distribution}" in url:
        return [(archive, url.replace("{distribution}", archive)) for archive in ARCHIVES]
    name = parts.path.rpartition("/")[2]
    if name in ARCHIVES:
        return [(name, url), *_siblings(name, url)]
    return [(archive, f"{url}/{archive}") for archive in ARCHIVES]


def _siblings(archive: str, url: str) -> Iterable[tuple[str, str]]:
    """Mirrors keep a distribution's archives side by side: ``…/debian`` and ``…/debian-security``."""
    if not url.endswith(f"/{archive}"):
        return []
    distribution = archive.partition("-")[0]
    return [
        (other, url.removesuffix(archive) + other)
        for other in ARCHIVES
        if other != archive and other.partition("-")[0] == distribution
    ]


def _known_to_tools(system: Path) -> Iterable[tuple[str, str]]:
    """What distribution tools on this machine take by default (debootstrap, python-apt)."""
    for name in _KNOWN_TO_TOOLS:
        try:
            text = (system / name).read_text("utf-8", "replace")
        except OSError:
            continue
        for match in _ADDRESS.finditer(text):
            yield match[1], match[0].rstrip("/")

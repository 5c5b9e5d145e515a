"""From ``apt:bookworm`` and a list of packages to exact bytes, for every target architecture at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from trainload.errors import LockError, Text
from trainload.lock.distribution import profiles, suites
from trainload.lock.distribution.choose import choose
from trainload.lock.distribution.index import Index, Records, Stanza
from trainload.lock.distribution.installed import choose_over, installed
from trainload.lock.distribution.profiles import Contents
from trainload.lock.distribution.recommends import choose_like_apt, upgraded
from trainload.lock.distribution.suites import Pocket, Suite
from trainload.lock.model import ArchivePath, DistributionBase, DistributionPackage, File, ReleaseFile, Url
from trainload.resolve.indexes import Moved, Opened, Services, open_pocket, records, remember
from trainload.resolve.thirdparty import USUAL, Setup, address_of, load
from trainload.values import dataclass, replace

_MAY_LACK = Contents(()).optional
_T = TypeVar("_T")
_AT_ONCE = 4  # small against what a mirror allows per client


@dataclass(frozen=True, slots=True)
class Extent:
    """What goes in beside what is asked for."""

    essential: bool = False
    """Every Essential package, which maintainer scripts use without saying so."""
    python: bool = True
    """The distribution's own Python."""


WHOLE = Extent()


def resolve_distribution(
    suite: str,
    *,
    profile: str,
    system: Sequence[str],
    architectures: Sequence[str],
    services: Services,
    extent: Extent = WHOLE,
) -> DistributionBase:
    """The base ``suite`` (``bookworm`` or ``apt:bookworm``) with ``profile`` and the ``system`` packages on top.

    ``architectures`` are OCI's words (``amd64``, ``arm64``), which are Debian's too. Raises
    :class:`ConfigError` for an unknown suite or profile, :class:`SignatureError`, :class:`FetchError`, and
    :class:`LockError` when the packages cannot be had together.
    """
    release = suites.suite(suite)
    contents = profiles.profile(profile)
    if extent.essential:
        contents = replace(contents, essential=True)
    if not extent.python:
        contents = contents.without_python()
    opened, files = _load(release, architectures, services)
    chosen: dict[str, tuple[Stanza, ...]] = {}
    requested: dict[str, None] = {}
    for architecture in architectures:
        index = Index(files.pop(architecture))
        wishes = _wishes(index, contents, system)
        requested.update(dict.fromkeys(wishes))
        chosen[architecture] = choose(index, architecture, wishes, ignored=contents.ignored)
    remember(opened, services)
    return DistributionBase(
        distribution=release.distribution,
        suite=release.name,
        profile=profile,
        requested=tuple(requested),
        system=tuple(system),
        essential=extent.essential,
        releases=tuple(sorted(one.locked for one in opened)),
        packages={a: tuple(map(locked, stanzas)) for a, stanzas in sorted(chosen.items())},
        python=_same({_python(stanzas) for stanzas in chosen.values()}, "python3") if extent.python else "",
        glibc=_same({_glibc(stanzas) for stanzas in chosen.values()}, "libc6"),
    )


def resolve_on_top(
    suite: str,
    wishes: Sequence[str],
    status: Mapping[str, str],
    services: Services,
    *,
    like_apt: bool | None = None,
    setup: Setup = USUAL,
) -> tuple[Mapping[str, tuple[DistributionPackage, ...]], tuple[ReleaseFile, ...]]:
    """What to place so that base images of ``suite`` have the ``wishes``: packages by architecture, and indexes.

    ``status``: architecture → dpkg's status of the image. ``like_apt``: exactly what ``apt-get install`` does, with
    recommended packages or without, or an error; None: what is installed is enough. ``setup``: what apt there has
    beside the usual. Raises as :func:`resolve_distribution` does.
    """

    def chosen(index: Index, architecture: str) -> Sequence[Stanza]:
        there = [wish for wish in wishes if wish not in _MAY_LACK or index.versions(wish)]
        base = installed(status[architecture], architecture)
        if like_apt is None:
            return choose_over(index, architecture, there, base)
        return choose_like_apt(index, architecture, there, base, recommends=like_apt)

    return _on_top(suite, sorted(status), services, setup, chosen)


def resolve_upgrade(
    suite: str, status: Mapping[str, str], services: Services, *, recommends: bool | None, setup: Setup = USUAL
) -> Mapping[str, tuple[DistributionPackage, ...]]:
    """The newest of all that is installed (``apt-get upgrade``), as :func:`resolve_on_top`.

    ``recommends``: new packages may come (``dist-upgrade``), with what they recommend or without; None: none may.
    """

    def chosen(index: Index, architecture: str) -> Sequence[Stanza]:
        base = installed(status[architecture], architecture)
        return upgraded(index, architecture, base, recommends=bool(recommends), new=recommends is not None)

    return _on_top(suite, sorted(status), services, setup, chosen)[0]


def _on_top(
    suite: str,
    architectures: Sequence[str],
    services: Services,
    setup: Setup,
    chosen: Callable[[Index, str], Sequence[Stanza]],
) -> tuple[Mapping[str, tuple[DistributionPackage, ...]], tuple[ReleaseFile, ...]]:
    release = suites.suite(suite)
    release = replace(release, components=tuple(dict.fromkeys((*release.components, *setup.components))))
    opened, files = _load(release, architectures, services)
    packages = {}
    for architecture in architectures:
        own = load(setup, architecture, services)
        priorities = own.priorities(setup, opened) if setup.archives or setup.pins else None
        index = Index([*own.before, *files.pop(architecture), *own.after], priorities)
        packages[architecture] = tuple(map(locked, chosen(index, architecture)))
    return packages, tuple(sorted(one.locked for one in opened))


@dataclass(frozen=True, slots=True)
class Offered:
    """All that an apt with some setup can choose from."""

    index: Index
    files: tuple[Records, ...]
    told: Mapping[tuple[str, str], Mapping[str, str]]
    """Archive and suite → the fields of its signed index."""


def offered(suite: str, architecture: str, services: Services, setup: Setup) -> Offered:
    """What ``apt-get update`` would have fetched. Raises as :func:`resolve_distribution` does."""
    release = suites.suite(suite)
    release = replace(release, components=tuple(dict.fromkeys((*release.components, *setup.components))))
    opened, files = _load(release, (architecture,), services)
    own = load(setup, architecture, services)
    priorities = own.priorities(setup, opened) if setup.archives or setup.pins else None
    found = (*own.before, *files[architecture], *own.after)
    told = {at: said.release for at, said in own.told.items()}
    told |= {(one.pocket.archive, one.pocket.suite): one.release.fields for one in opened}
    return Offered(Index(found, priorities), found, told)


def open_index(suite: str, architecture: str, services: Services) -> Index:
    """All packages of ``suite`` for one architecture. Raises as :func:`resolve_distribution` does."""
    _, files = _load(suites.suite(suite), (architecture,), services)
    return Index(files[architecture])


_Files = dict[str, list[Records]]


def _load(suite: Suite, architectures: Sequence[str], services: Services) -> tuple[list[Opened], _Files]:
    """Every index of ``suite``, of one snapshot: the verified ones, and their records by architecture."""
    pockets = sorted({pocket for a in architectures for pocket in suite.pockets_for(a)}, key=str)
    opened = _open_all(pockets, suite, services)
    try:
        files = _read_all(opened, suite, architectures, services)
    except Moved:
        # The archive was renewed between its signed index and the files it names: begin anew, once, with all
        # indexes, so that no two snapshots of a suite are mixed (THREATS D14).
        opened = _open_all(pockets, suite, services)
        files = _read_all(opened, suite, architectures, services)
    return list(opened.values()), files


def _open_all(pockets: Sequence[Pocket], suite: Suite, services: Services) -> dict[Pocket, Opened]:
    trust = services.trust(suite.distribution)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        opened = pool.map(lambda pocket: open_pocket(pocket, trust, services), pockets)
        return dict(zip(pockets, opened, strict=True))


def _read_all(
    opened: dict[Pocket, Opened], suite: Suite, architectures: Sequence[str], services: Services
) -> _Files:
    """Records by architecture, in the order of a sources.list; two files at once, since unpacking takes memory."""
    wanted = [
        (architecture, opened[pocket], component)
        for architecture in architectures
        for pocket in suite.pockets_for(architecture)
        for component in suite.components
    ]
    found: _Files = {architecture: [] for architecture in architectures}
    with ThreadPoolExecutor(2) as pool:
        read = pool.map(lambda one: records(one[1], one[2], one[0], services), wanted)
        for (architecture, _, _), files in zip(wanted, read, strict=True):
            found[architecture].extend(files)
    return found


def _wishes(index: Index, contents: Contents, system: Sequence[str]) -> tuple[str, ...]:
    """The profile's packages, then the user's, in their order; a user's version wins over the profile's."""
    named = {re.split("[:=/]", wish, maxsplit=1)[0] for wish in system}
    profile = contents.wishes(frozenset(index.names()), tuple(index.essential()))
    return (*(name for name in profile if name not in named), *system)


def locked(stanza: Stanza) -> DistributionPackage:
    """``stanza`` as a lock has it."""
    path, own = stanza["Filename"], address_of(stanza)
    file = File(
        name=path.rpartition("/")[2],
        sha256=stanza["SHA256"],
        size=int(stanza["Size"]),
        location=ArchivePath(stanza.archive, path) if own is None else Url(own),
    )
    installed = int(stanza["Installed-Size"] or 0) * 1024
    return DistributionPackage(stanza.name, stanza.version, stanza.architecture, file, installed)


def _python(stanzas: Sequence[Stanza]) -> str:
    """The minor version that ``python3`` depends on."""
    for stanza in stanzas:
        if stanza.name == "python3":
            for group in stanza.depends:
                if match := re.fullmatch(r"python(3\.[0-9]+)", group[0].name):
                    return match[1]
    raise LockError("the distribution's python3 does not say which Python it is")


def _glibc(stanzas: Sequence[Stanza]) -> tuple[int, int]:
    for stanza in stanzas:
        if stanza.name == "libc6" and (match := re.match(r"(?:\d+:)?(\d+)\.(\d+)", stanza.version)):
            return int(match[1]), int(match[2])
    raise LockError("the distribution's libc6 does not say which glibc it is")


def _same(values: set[_T], package: str) -> _T:
    if len(values) != 1:
        raise LockError(
            Text("{package} is not of the same version on all architectures", package=package),
            got=", ".join(sorted(map(str, values))),
            hints=["the mirrors of the architectures are at different points in time; try again later"],
        )
    return values.pop()

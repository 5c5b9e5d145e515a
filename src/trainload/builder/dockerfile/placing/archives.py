"""What the apt of an image is set up for: whether it would take packages from where we take them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from trainload.builder.dockerfile.ground import Ground
from trainload.builder.dockerfile.placing.sources import Source, keys, sources
from trainload.digest import Digest
from trainload.dockerfile.understand.parts import Beyond
from trainload.errors import Text
from trainload.layers.debian.exclude import SLIM, as_profile
from trainload.lock.distribution.pins import Pin, parse
from trainload.lock.distribution.suites import SUITES, Suite
from trainload.resolve.thirdparty import OwnArchive, Setup
from trainload.values import dataclass

_RECOMMENDS = re.compile(r'^\s*APT::Install-Recommends\s+"?(\w+)"?\s*;', re.MULTILINE | re.IGNORECASE)
_SETTINGS = re.compile(r"Default-Release|Install-Suggests\s+\"?(?:1|true|yes)|Architectures\s*\{", re.IGNORECASE)
_EXCLUDED = re.compile(r"^\s*path-(exclude|include)[ =]\s*(\S+)", re.MULTILINE)
_IDLE = frozenset({"languages", "pdiffs", "by-hash", "targets", "description"})
"""Options of a source that only say how it is fetched."""
_DOWNGRADES = 1000  # apt_preferences(5): from there on, an older version replaces a newer one


@dataclass(frozen=True, slots=True)
class Known:
    """What an image's apt would choose from."""

    suite: Suite
    setup: Setup

    def digest(self) -> list[object]:
        """What decides a choice beside the usual, for the question of a lock; empty for the usual."""
        archives = [
            [one.address, one.suite, one.components, Digest.sha256(one.certificates).hex, one.is_first]
            for one in self.setup.archives
        ]
        pins = [[pin.packages, pin.kind, pin.data, pin.priority] for pin in self.setup.pins]
        return [part for part in (archives, pins, list(self.setup.components)) if part]


def known(ground: Ground, architecture: str) -> Known:
    """The distribution and the archives beside its own. Raises :class:`Beyond` for what is not understood."""
    facts = ground.facts
    suite = SUITES.get(facts.suite)
    if suite is None or not facts.status or facts.distribution != suite.distribution:
        raise Beyond(Text("the distribution {name}, whose packages are not placed", name=facts.suite or "?"))
    if not any(ground.find(f"{folder}/apt-get") for folder in ("usr/bin", "bin")):
        raise Beyond(Text("the image has no {program}", program="apt-get"))
    told = [source for source in sources(ground) if source.suite != f"{suite.name}-backports"]  # not automatic
    usual, own = _apart(told, suite)
    pins = _pins(ground)
    missing = {pocket.suite for pocket in suite.pockets} - {source.suite for source in usual}
    if missing or not all(set(suite.components) <= set(source.components) for source in usual):
        raise Beyond(Text("an apt that does not know all of {suite}", suite=suite.name))
    places = {pocket.suite: pocket for pocket in suite.pockets_for(architecture)}
    hosts = {
        (places[source.suite].archive, source.suite): urlsplit(source.address).hostname or "" for source in usual
    }
    more = {component for source in usual for component in source.components} - set(suite.components)
    start = told.index(usual[0])
    archives = tuple(
        found
        for source in own
        if (found := _own(source, ground, architecture, is_first=told.index(source) < start)) is not None
    )
    return Known(suite, Setup(archives, pins, hosts, tuple(sorted(more))))


def check_added(archive: str, ground: Ground) -> None:
    """``add-apt-repository`` changes nothing. Raises :class:`Beyond` where it would."""
    if all(ground.find(f"{folder}/add-apt-repository") is None for folder in ("usr/bin", "bin")):
        raise Beyond(Text("the image has no {program}", program="add-apt-repository"))
    suite = SUITES.get(ground.facts.suite)
    told = sources(ground) if suite is not None else ()
    if suite is not None and archive.startswith("ppa:"):
        end = f"/{archive.removeprefix('ppa:')}/ubuntu"
        there = any(
            source.address.endswith(end) and source.suite == suite.name and source.components == ("main",)
            for source in told
        )
    else:
        usual = _apart(told, suite)[0] if suite is not None and suite.distribution == "ubuntu" else []
        there = bool(usual) and all(archive in source.components for source in usual)
    if not there:
        raise Beyond(Text("the archive {archive}, which is not configured", archive=archive))


def _apart(told: Sequence[Source], suite: Suite) -> tuple[list[Source], list[Source]]:
    """(the distribution's own, others). A personal archive is called as the distribution's, but has no updates."""
    archives = {pocket.archive for pocket in suite.pockets} | set(suite.ports.values())
    wanted = {pocket.suite for pocket in suite.pockets}
    whole = {source.address for source in told if source.suite in wanted and source.suite != suite.name}
    usual: list[Source] = []
    own: list[Source] = []
    for source in told:
        named = urlsplit(source.address).path.rpartition("/")[2] in archives
        is_usual = named and source.suite in wanted and source.address in whole
        (usual if is_usual else own).append(source)
    return usual, own


def _own(source: Source, ground: Ground, architecture: str, *, is_first: bool) -> OwnArchive | None:
    """None: it has nothing for this architecture."""
    what = Text("the archive {archive} that the image's apt knows", archive=f"{source.address} {source.suite}")
    options = dict(source.options)
    asked = options.pop("architectures", "").split()
    options.pop("signed-by", None)
    fit = re.fullmatch(r"https?://[A-Za-z0-9.:-]+(?:/[A-Za-z0-9._~+%-]+)*", source.address)
    if fit is None or set(options) - _IDLE or ".." in source.address or len(set(asked)) > 1:
        raise Beyond(what)
    if source.suite.endswith("/") == bool(source.components) or not re.fullmatch(r"[\w.~+/-]+", source.suite):
        raise Beyond(what)
    if any(ground.folder(folder) for folder in ("etc/apt/auth.conf.d",)) or ground.find("etc/apt/auth.conf"):
        raise Beyond(what)
    if asked and asked != [architecture]:
        return None
    return OwnArchive(source.address, source.suite, source.components, keys(source, ground), is_first)


def _pins(ground: Ground) -> tuple[Pin, ...]:
    folder = "etc/apt/preferences.d"
    files = [name for name in ground.folder(folder) if re.fullmatch(r"[A-Za-z0-9_-]+|[A-Za-z0-9_.-]+\.pref", name)]
    found: list[Pin] = []
    for file in ("etc/apt/preferences", *(f"{folder}/{name}" for name in files)):
        try:
            found += parse((ground.read(file) or b"").decode("utf-8", "replace"))
        except ValueError as error:
            raise Beyond(Text("{path} has {line}", path=f"/{file}", line=error)) from None
    if any(pin.priority >= _DOWNGRADES for pin in found):
        raise Beyond(Text("{file} of the image changes what is installed", file=f"/{folder}"))
    return tuple(found)


def recommends(ground: Ground, asked: bool | None) -> bool:  # noqa: FBT001 - what the line says
    """Whether recommended packages come too. Raises :class:`Beyond` for settings that change more."""
    found = True
    for name in ground.folder("etc/apt/apt.conf.d"):
        text = (ground.read(f"etc/apt/apt.conf.d/{name}") or b"").decode("utf-8", "replace")
        text = re.sub(r"^\s*(?://|#).*$", "", text, flags=re.MULTILINE)
        if _SETTINGS.search(text):
            raise Beyond(Text("{file} of the image changes what is installed", file=f"/etc/apt/apt.conf.d/{name}"))
        for match in _RECOMMENDS.finditer(text):
            found = match[1].lower() in ("1", "true", "yes", "on")
    return found if asked is None else asked


def profile(ground: Ground) -> str:
    """Which files dpkg leaves out, as a profile of ours or of the image's own rules."""
    rules: list[tuple[str, str]] = []
    for name in ground.folder("etc/dpkg/dpkg.cfg.d"):
        text = (ground.read(f"etc/dpkg/dpkg.cfg.d/{name}") or b"").decode("utf-8", "replace")
        rules += [(match[1], match[2]) for match in _EXCLUDED.finditer(text)]
    if not rules:
        return "dev"
    if set(rules) == set(SLIM):
        return "slim"
    return as_profile(tuple(rules))

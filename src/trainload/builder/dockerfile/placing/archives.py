"""What the apt of an image is set up for: whether it would take packages from where we take them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from trainload.builder.dockerfile.ground import Ground
from trainload.dockerfile.understand.words import Beyond
from trainload.errors import Text
from trainload.layers.debian.exclude import SLIM
from trainload.lock.distribution.suites import SUITES, Suite

_RECOMMENDS = re.compile(r'^\s*APT::Install-Recommends\s+"?(\w+)"?\s*;', re.MULTILINE | re.IGNORECASE)
_SETTINGS = re.compile(r"Default-Release|Install-Suggests\s+\"?(?:1|true|yes)|Architectures\s*\{", re.IGNORECASE)
_EXCLUDED = re.compile(r"^\s*path-(exclude|include)[ =]\s*(\S+)", re.MULTILINE)
_LINE = re.compile(r"deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+(.*)")


def suite_of(ground: Ground) -> Suite:
    """The distribution, whose archives are the only ones the image's apt knows. Raises :class:`Beyond`."""
    facts = ground.facts
    suite = SUITES.get(facts.suite)
    if suite is None or not facts.status or facts.distribution != suite.distribution:
        raise Beyond(Text("the distribution {name}, whose packages are not placed", name=facts.suite or "?"))
    if not any(ground.find(f"{folder}/apt-get") for folder in ("usr/bin", "bin")):
        raise Beyond(Text("the image has no {program}", program="apt-get"))
    for folder in ("etc/apt/preferences.d",):
        if ground.folder(folder):
            raise Beyond(Text("{file} of the image changes what is installed", file=f"/{folder}"))
    if (ground.read("etc/apt/preferences") or b"").strip():
        raise Beyond(Text("{file} of the image changes what is installed", file="/etc/apt/preferences"))
    wanted = {pocket.suite for pocket in suite.pockets}
    found = set()
    for address, name, components in _sources(ground):
        archive = urlsplit(address).path.rstrip("/").rpartition("/")[2]
        known = archive in {pocket.archive for pocket in suite.pockets} | set(suite.ports.values())
        if name == f"{suite.name}-backports" and known:
            continue  # is not automatic: nothing comes from there unasked
        if not known or name not in wanted:
            raise Beyond(Text("the archive {archive} that the image's apt knows", archive=f"{address} {name}"))
        found.add(name)
        if not set(suite.components) <= set(components):
            raise Beyond(Text("an apt that does not know all of {suite}", suite=suite.name))
    if found != wanted:
        raise Beyond(Text("an apt that does not know all of {suite}", suite=suite.name))
    return suite


def recommends(ground: Ground, asked: bool) -> bool:  # noqa: FBT001 - what the line says
    """Whether recommended packages come too. Raises :class:`Beyond` for settings that change more."""
    found = True
    for name in ground.folder("etc/apt/apt.conf.d"):
        text = (ground.read(f"etc/apt/apt.conf.d/{name}") or b"").decode("utf-8", "replace")
        text = re.sub(r"^\s*(?://|#).*$", "", text, flags=re.MULTILINE)
        if _SETTINGS.search(text):
            raise Beyond(Text("{file} of the image changes what is installed", file=f"/etc/apt/apt.conf.d/{name}"))
        for match in _RECOMMENDS.finditer(text):
            found = match[1].lower() in ("1", "true", "yes", "on")
    return found and asked


def profile(ground: Ground) -> str:
    """Which files dpkg leaves out, as one of our profiles. Raises :class:`Beyond` for rules of another kind."""
    rules: list[tuple[str, str]] = []
    for name in ground.folder("etc/dpkg/dpkg.cfg.d"):
        text = (ground.read(f"etc/dpkg/dpkg.cfg.d/{name}") or b"").decode("utf-8", "replace")
        rules += [(match[1], match[2]) for match in _EXCLUDED.finditer(text)]
    if not rules:
        return "dev"
    if set(rules) == set(SLIM):
        return "slim"
    raise Beyond(Text("{file} of the image changes what is installed", file="/etc/dpkg/dpkg.cfg.d"))


def _sources(ground: Ground) -> Iterator[tuple[str, str, list[str]]]:
    """(address, suite, components) of every source (sources.list(5))."""
    files = [f"etc/apt/sources.list.d/{name}" for name in ground.folder("etc/apt/sources.list.d")]
    for file in ("etc/apt/sources.list", *files):
        text = re.sub(r"#.*", "", (ground.read(file) or b"").decode("utf-8", "replace"))
        if file.endswith(".sources"):
            yield from _stanzas(text)
        elif file.endswith(".list"):
            for line in filter(None, map(str.strip, text.splitlines())):
                match = _LINE.fullmatch(line)
                if match is not None:
                    yield match[1], match[2], match[3].split()
                elif not line.startswith("deb-src"):
                    raise Beyond(Text("{path} has {line}", path=f"/{file}", line=line))


def _stanzas(text: str) -> Iterator[tuple[str, str, list[str]]]:
    for stanza in re.split(r"\n\s*\n", text):
        fields = {
            key.strip().lower(): value.split()
            for key, colon, value in (line.partition(":") for line in stanza.splitlines())
            if colon
        }
        if not fields or "deb" not in fields.get("types", []) or fields.get("enabled") == ["no"]:
            continue
        for address in fields.get("uris", []):
            for suite in fields.get("suites", []):
                yield address, suite, fields.get("components", [])

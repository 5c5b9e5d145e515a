"""``apt-get`` and ``apt`` (apt-get(8)): what is asked for, without what only changes how it is told or fetched."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

from trainload.dockerfile.steps import (
    AddArchive,
    InstallDistribution,
    Nothing,
    PlacedStep,
    UpdateDistribution,
    UpgradeDistribution,
)
from trainload.dockerfile.understand.options import Options, Table, read
from trainload.dockerfile.understand.parts import Beyond
from trainload.errors import Text

PROGRAMS = frozenset({"apt-get", "apt"})
VARIABLES = frozenset({"DEBIAN_FRONTEND", "DEBIAN_PRIORITY", "DEBCONF_NONINTERACTIVE_SEEN", "DEBCONF_NOWARNINGS"})
"""Which only say how debconf asks: nobody answers in a build (debconf(7))."""

_TABLE = Table(
    flags={
        "-y": "yes", "--yes": "yes", "--assume-yes": "yes", "-q": "quiet", "--quiet": "quiet",
        "--no-install-recommends": "no-recommends", "--install-recommends": "recommends",
        "--no-install-suggests": "plain", "--no-show-progress": "plain", "-V": "plain",
        "-m": "plain", "--fix-missing": "plain", "-f": "plain", "--fix-broken": "plain",
        "--allow-downgrades": "plain", "--allow-change-held-packages": "plain", "--with-new-pkgs": "new",
        "--allow-releaseinfo-change": "plain", "--show-progress": "plain", "--verbose-versions": "plain",
    },
    valued={"-o": "option", "--option": "option"},
)  # fmt: skip
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]*[a-z0-9+](?:=[A-Za-z0-9.+:~-]+\*?|/[a-z][a-z0-9-]*)?")
_FILE = re.compile(r"\.?/[A-Za-z0-9_./+-]+\.deb")
_ARCHIVE = re.compile(r"ppa:[a-z0-9][a-z0-9.+-]*/[a-z0-9][a-z0-9.+-]*|universe|multiverse|restricted")
_HARMLESS = re.compile(r"(?:Acquire::|Dpkg::Use-Pty=|Dpkg::Progress-Fancy|APT::Color)[A-Za-z0-9:._-]*(?:=.*)?")
_RECOMMENDS = re.compile(r"APT::Install-Recommends=(?:\"?(?P<no>false|0|no)\"?|\"?(?P<yes>true|1|yes)\"?)", re.I)
_CONFIGURATION = re.compile(r"Dpkg::Options::=\"?(--force-conf(?:old|def|new))\"?")
_NO_SUGGESTS = re.compile(r"APT::Install-Suggests=\"?(?:false|0|no)\"?", re.I)


def read_apt(words: Sequence[str], workdir: str) -> tuple[PlacedStep, ...]:
    """Raises :class:`Beyond`."""
    program, *rest = words
    options = read(program, _quieter(rest), _TABLE)
    options.values["option"] = [option.removeprefix("=") for option in options.all("option")]  # -o=A::B=c
    recommends = _recommends(options)
    verb, *names = options.rest or [""]
    match verb:
        case "update" if not names:
            return (UpdateDistribution(),)
        case "clean" | "autoclean" | "auto-clean" if not names:
            return (Nothing(f"{program} {verb}"),)
        case "install":
            return _install(program, names, options, workdir, recommends=recommends)
        case "upgrade" | "dist-upgrade" | "full-upgrade" if not names:
            if "yes" not in options.flags:
                raise Beyond(Text("{command} without -y asks", command=f"{program} {verb}"))
            whole = verb != "upgrade" or program == "apt" or "new" in options.flags
            return (UpgradeDistribution(whole, _configuration(options)),)
    raise Beyond(Text("{command}", command=f"{program} {verb}".strip()))


def read_archive(words: Sequence[str]) -> tuple[PlacedStep, ...]:
    """``add-apt-repository`` of PPAs and of Ubuntu's components, whose place is known. Raises :class:`Beyond`."""
    table = Table({"-y": "yes", "--yes": "yes", "-n": "no-update", "--no-update": "no-update"}, {"-P": "ppa"})
    options = read(words[0], words[1:], table)
    if len(options.rest) != 1 or options.values or not _ARCHIVE.fullmatch(options.rest[0]):
        raise Beyond(Text("{command}", command=" ".join(words)))
    step = AddArchive(options.rest[0])
    return (step,) if "no-update" in options.flags else (step, UpdateDistribution())


def _quieter(words: Sequence[str]) -> list[str]:
    """``-qq`` and ``-q=2`` are ``-q`` said more often, and imply ``-y`` (apt-get(8))."""
    found, level = [], 0
    for word in words:
        number = re.fullmatch(r"(?:-q|--quiet)=([0-9])", word)
        if number:
            level += int(number[1])
            continue
        found.append(word)
        if word == "--quiet" or re.fullmatch("-[A-Za-z]+", word):
            level += 1 if word == "--quiet" else word.partition("o")[0].count("q")
    return [*found, *(["-y"] if level > 1 else [])]


def _install(
    program: str, names: Sequence[str], options: Options, workdir: str, *, recommends: bool | None
) -> tuple[PlacedStep, ...]:
    if "yes" not in options.flags:
        raise Beyond(Text("{command} without -y asks", command=f"{program} install"))
    files = tuple(posixpath.normpath(posixpath.join(workdir, name)) for name in names if _FILE.fullmatch(name))
    names = [name for name in names if not _FILE.fullmatch(name)]
    for name in names:
        if not _PACKAGE.fullmatch(name):
            raise Beyond(Text("the package {name}", name=name))
    step = InstallDistribution(tuple(names), recommends, _configuration(options), files)
    return (step,) if names or files else (Nothing(f"{program} install"),)


def _configuration(options: Options) -> tuple[str, ...]:
    found = [_CONFIGURATION.fullmatch(option) for option in options.all("option")]
    return tuple(match[1] for match in found if match is not None)


def _recommends(options: Options) -> bool | None:
    """None: the line does not say."""
    found = True if "recommends" in options.flags else False if "no-recommends" in options.flags else None
    for option in options.all("option"):
        match = _RECOMMENDS.fullmatch(option)
        if match is not None:
            found = match["yes"] is not None
        elif not any(known.fullmatch(option) for known in (_HARMLESS, _NO_SUGGESTS, _CONFIGURATION)):
            raise Beyond(Text("the option {option} of {command}", option=option, command="apt"))
    told = [option for option in options.all("option") if _RECOMMENDS.fullmatch(option)]
    if len({"no-recommends", "recommends"} & options.flags) + len(told) > 1:
        raise Beyond(Text("the option {option} of {command}", option="--install-recommends", command="apt"))
    return found

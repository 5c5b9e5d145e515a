"""Which of several archives apt takes a package from: priorities (apt_preferences(5))."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence

from trainload.values import dataclass, field

DEFAULT = 500
_NAMES = re.compile(r"[a-z0-9*?+.-]+")
_FIELDS = {"a": "suite", "n": "codename", "o": "origin", "l": "label", "v": "version"}


@dataclass(frozen=True, slots=True)
class Told:
    """What an archive says of itself in its signed index, and where it is."""

    host: str = ""
    release: Mapping[str, str] = field(default_factory=dict)
    """Fields by their names in small letters."""

    @property
    def priority(self) -> int:
        """Without any pin."""
        if self.release.get("notautomatic") != "yes":
            return DEFAULT
        return 100 if self.release.get("butautomaticupgrades") == "yes" else 1


@dataclass(frozen=True, slots=True)
class Pin:
    """A stanza of the preferences."""

    packages: tuple[str, ...]
    """Names and patterns; ``*`` alone: of an archive."""
    kind: str
    """``release``, ``origin`` or ``version``."""
    data: str
    priority: int

    @property
    def is_general(self) -> bool:
        return self.packages == ("*",)

    def speaks_of(self, name: str) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.packages)

    def fits(self, told: Told, version: str) -> bool:
        if self.kind == "version":
            return fnmatch.fnmatchcase(version, self.data)
        if self.kind == "origin":
            return fnmatch.fnmatchcase(told.host, self.data)
        parts = [part.strip().partition("=") for part in self.data.split(",")]
        return all(
            fnmatch.fnmatchcase(told.release.get(_FIELDS[name.strip()], ""), value.strip())
            for name, _, value in parts
        )


def parse(text: str) -> tuple[Pin, ...]:
    """The pins of a file of preferences. Raises :class:`ValueError` with the line that is of another kind."""
    found = []
    for stanza in re.split(r"\n[ \t]*\n", re.sub(r"^#.*\n?", "", text, flags=re.MULTILINE)):
        rows = [line.partition(":") for line in stanza.splitlines() if line.strip()]
        fields = {name.strip().lower(): value.strip() for name, _, value in rows}
        if not fields or set(fields) == {"explanation"}:
            continue
        if any(line[:1] in " \t" for line in stanza.splitlines() if line):
            raise ValueError(stanza.splitlines()[0])
        found.append(_pin(fields))
    return tuple(found)


def _pin(fields: Mapping[str, str]) -> Pin:
    packages = tuple(fields.get("package", "").split())
    kind, _, data = fields.get("pin", "").partition(" ")
    data = data.strip().strip('"')
    if not packages or not all(_NAMES.fullmatch(name) for name in packages):
        raise ValueError(f"Package: {fields.get('package', '')}")
    fits = {
        "version": bool(data),
        "origin": bool(data),
        "release": all(
            part.strip().partition("=")[0].strip() in _FIELDS and "=" in part and '"' not in part
            for part in data.split(",")
        ),
    }
    if not fits.get(kind, False) or ("*" in packages and (len(packages) > 1 or kind == "version")):
        raise ValueError(f"Pin: {fields.get('pin', '')}")
    priority = fields.get("pin-priority", "")
    if not re.fullmatch(r"-?[0-9]{1,4}", priority) or int(priority) == 0:
        raise ValueError(f"Pin-Priority: {priority}")
    return Pin(packages, kind, data, int(priority))


@dataclass(frozen=True, slots=True)
class Priorities:
    """The priority of each version: the first pin that speaks of it by name, else the first of its archive."""

    pins: Sequence[Pin]
    told: Callable[[str, str], Told]
    """(archive, suite) → what it says of itself."""

    def of(self, name: str, version: str, archive: str, suite: str) -> int:
        told = self.told(archive, suite)
        for pin in self.pins:
            if not pin.is_general and pin.speaks_of(name) and pin.fits(told, version):
                return pin.priority
        for pin in self.pins:
            if pin.is_general and pin.fits(told, version):
                return pin.priority
        return told.priority

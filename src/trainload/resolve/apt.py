"""What apt on this machine is configured to do: its archives (sources.list(5)) and Valid-Until (apt.conf(5)).

Only addresses and that one switch are taken; ``Signed-By`` and ``Trusted`` are not: we pin our own keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from trainload.values import dataclass

_SUITES = {
    "debian": r"(?:bullseye|bookworm|trixie|forky|duke|sid|unstable|testing|stable|oldstable)",
    "ubuntu": r"(?:focal|jammy|noble|plucky|questing|resolute)",
}
_POCKETS = r"(?:-(?:updates|security|backports|proposed|proposed-updates)|/updates)?"


@dataclass(frozen=True, slots=True)
class Source:
    """One configured archive."""

    archive: str
    """``debian``, ``debian-security``, ``ubuntu`` or ``ubuntu-ports``."""
    url: str
    check_valid_until: bool


def configured(root: Path) -> tuple[Source, ...]:
    """The Debian and Ubuntu archives of the system below ``root``, in its order; unreadable files are skipped."""
    folder = root / "etc/apt"
    check = _check_valid_until(folder)
    found: list[Source] = []
    for path in [folder / "sources.list", *_children(folder / "sources.list.d")]:
        text = _text(path)
        entries = _deb822(text) if path.suffix == ".sources" else _one_line(text) if path.suffix == ".list" else ()
        for entry, suite, components, own in entries:
            for url in _addresses(entry, root):
                archive = _archive(url, suite, components)
                source = Source(archive, url.rstrip("/"), check if own is None else own) if archive else None
                if source and source not in found:
                    found.append(source)
    return tuple(found)


_Entry = tuple[str, str, tuple[str, ...], bool | None]


def _one_line(text: str) -> Iterator[_Entry]:
    for line in text.splitlines():
        match = re.fullmatch(r"\s*deb\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)\s*([^#]*)(?:#.*)?", line)
        if match:
            option = re.search(r"check-valid-until=(\S+)", match[1] or "", re.IGNORECASE)
            yield match[2], match[3], tuple(match[4].split()), _yes(option[1]) if option else None


def _deb822(text: str) -> Iterator[_Entry]:
    text = re.sub(r"(?m)^#.*\n?", "", text)
    for stanza in re.split(r"\n\s*\n", text):
        fields = {
            name.lower(): value
            for name, value in re.findall(r"(?m)^([A-Za-z0-9-]+):[ \t]*(.*(?:\n[ \t].*)*)", stanza)
        }
        if "deb" not in fields.get("types", "").split() or not _yes(fields.get("enabled", "yes")):
            continue
        own = _yes(fields["check-valid-until"]) if "check-valid-until" in fields else None
        for url in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield url, suite, tuple(fields.get("components", "").split()), own


def _addresses(url: str, root: Path) -> list[str]:
    """``url``, or what stands in the file of a ``mirror+file:`` address (apt-transport-mirror(1))."""
    method, _, path = url.partition(":")
    if method != "mirror+file":
        return [url]
    lines = _text(root / path.lstrip("/")).splitlines()
    return [line.split()[0] for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _archive(url: str, suite: str, components: tuple[str, ...]) -> str | None:
    """Which archive an entry means; None for third parties. A wrong guess is harmless: nobody else has the keys."""
    if "main" not in components or not url.startswith(("http://", "https://")):
        return None
    if re.fullmatch(_SUITES["ubuntu"] + _POCKETS, suite):
        return "ubuntu-ports" if "ports" in url else "ubuntu"
    if re.fullmatch(_SUITES["debian"] + _POCKETS, suite):
        return "debian-security" if suite.endswith(("-security", "/updates")) else "debian"
    return None


def _check_valid_until(folder: Path) -> bool:
    """``Acquire::Check-Valid-Until``, the last one said; true by default."""
    check = True
    for path in [*_children(folder / "apt.conf.d"), folder / "apt.conf"]:
        if path.suffix not in ("", ".conf"):
            continue
        text = re.sub(r"/\*.*?\*/", "", _text(path), flags=re.DOTALL)
        text = re.sub(r"(?m)(?:^|(?<=\s))(?://|#).*$", "", text)
        for match in re.finditer(r"(?i)(::|[{;\s])Check-Valid-Until\s+\"?([a-z0-9]+)\"?\s*;", text):
            before = text[: match.start()]
            if match[1] == "::" or re.search(r"(?i)Acquire\s*\{[^{}]*(?:\{[^{}]*\}[^{}]*)*$", before):
                check = _yes(match[2])
    return check


def _yes(value: str) -> bool:
    return value.strip().lower() in ("yes", "true", "1", "on", "with", "enable")


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return []


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""

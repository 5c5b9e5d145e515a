"""dpkg's database of the placed packages, so that dpkg, apt and scanners know them (dpkg-query(1) § FILES)."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from trainload.layers.debian.index import Indexed, conffiles
from trainload.layers.debian.root import Root

_FOLDER = "var/lib/dpkg"
STATUS = f"{_FOLDER}/status"
_ORDER = (
    "Package", "Essential", "Protected", "Status", "Priority", "Section", "Installed-Size", "Origin", "Maintainer",
    "Bugs", "Architecture", "Multi-Arch", "Source", "Version", "Revision", "Replaces", "Provides", "Depends",
    "Pre-Depends", "Recommends", "Suggests", "Breaks", "Conflicts", "Enhances", "Conffiles", "Description",
)  # fmt: skip
"""Order in which dpkg writes fields (its parse.c, fieldinfos); the others follow as they come."""
_PATH = re.compile(r"/\S*")


@dataclass(slots=True)
class _Triggers:
    """Who is interested in what, as lines of dpkg's files."""

    files: list[str] = field(default_factory=list)
    interests: dict[str, list[str]] = field(default_factory=dict)


def install(
    root: Root, packages: Sequence[Indexed], lost: Mapping[int, Collection[str]], diversions: bytes
) -> None:
    """Write the database into ``root``; ``lost``: paths that another package took over, by package."""
    triggers = _each(root, packages, lost)
    root.write(f"{_FOLDER}/status", b"".join(map(stanza, packages)))
    for name in ("available", "statoverride", "triggers/Unincorp", "triggers/Lock"):
        root.write(f"{_FOLDER}/{name}", b"", mode=0o644 if "/" not in name or name.endswith("Unincorp") else 0o600)
    root.write(f"{_FOLDER}/diversions", diversions)
    root.write(f"{_FOLDER}/info/format", b"1\n")
    root.write(f"{_FOLDER}/triggers/File", "".join(triggers.files).encode())
    for trigger, names in sorted(triggers.interests.items()):
        root.write(f"{_FOLDER}/triggers/{trigger}", "".join(f"{name}\n" for name in names).encode())
    for folder in ("updates", "parts", "alternatives"):
        root.folder(f"{_FOLDER}/{folder}")


def extend(root: Root, packages: Sequence[Indexed], lost: Mapping[int, Collection[str]], diversions: bytes) -> None:
    """As :func:`install` into the database of a base image, whose texts ``root`` has."""
    triggers = _each(root, packages, lost)
    names = {package.name for package in packages}
    old = (root.text(STATUS) or b"").split(b"\n\n")
    kept = [text.strip(b"\n") + b"\n\n" for text in old if text.strip() and _package(text) not in names]
    root.replace(STATUS, b"".join([*kept, *map(stanza, packages)]))
    _append(root, "diversions", diversions.decode().splitlines(keepends=True), lines=3)
    _append(root, "triggers/File", triggers.files)
    for trigger, interested in sorted(triggers.interests.items()):
        _append(root, f"triggers/{trigger}", [f"{name}\n" for name in interested])


def _append(root: Root, name: str, added: Sequence[str], *, lines: int = 1) -> None:
    """Add entries of so many ``lines`` that are not there yet."""
    path = f"{_FOLDER}/{name}"
    text = root.text(path) or b""
    entries = ["".join(added[at : at + lines]).encode() for at in range(0, len(added), lines)]
    new = [entry for entry in entries if entry not in text]
    if new:
        root.replace(path, b"".join([text, *new]))


def names(status: bytes) -> frozenset[str]:
    """The packages that a status file has, in whatever state."""
    return frozenset(filter(None, map(_package, status.split(b"\n\n"))))


def _package(text: bytes) -> str:
    match = re.search(rb"^Package: *(\S+)", text, re.MULTILINE)
    return match[1].decode("utf-8", "replace") if match else ""


def _each(root: Root, packages: Sequence[Indexed], lost: Mapping[int, Collection[str]]) -> _Triggers:
    """dpkg's files about each package; returns what they are interested in."""
    found = _Triggers()
    for number, package in enumerate(packages):
        _info(root, package, frozenset(lost.get(number, ())))
        for trigger, wait in _triggers(package):
            name = _instance(package) + ("" if wait else "/noawait")
            if _PATH.fullmatch(trigger):
                found.files.append(f"{trigger} {name}\n")
            else:
                found.interests.setdefault(trigger, []).append(name)
    return found


def stanza(package: Indexed) -> bytes:
    """The package's entry in ``status``: its control fields, installed, with the configuration files' hashes."""
    fields = {name.lower(): (name, value) for name, value in package.deb.control.fields.items()}
    fields["status"] = ("Status", "install ok installed")
    found = conffiles(package.deb)
    if found:
        lines = [f" /{path} {package.md5[path]}" for path in found if path in package.md5]
        fields["conffiles"] = ("Conffiles", "\n" + "\n".join(lines))
    first = [name.lower() for name in _ORDER if name.lower() in fields]
    rest = [name for name in fields if name not in first]
    lines = []
    for key in (*first, *rest):
        name, value = fields[key]
        spelled = next((known for known in _ORDER if known.lower() == key), name)
        lines.append(f"{spelled}:{'' if value.startswith(chr(10)) else ' '}{value}\n")
    return ("".join(lines) + "\n").encode()


def _instance(package: Indexed) -> str:
    """How dpkg names a package in its file names: with the architecture if several may be there."""
    control = package.deb.control
    same = control.get("Multi-Arch") == "same"
    return f"{control.package}:{control.architecture}" if same else control.package


def _info(root: Root, package: Indexed, lost: frozenset[str]) -> None:
    """dpkg's files about a package; what was left out is not listed, so that ``dpkg --verify`` misses nothing."""
    start = f"{_FOLDER}/info/{_instance(package)}"
    gone = lost | package.skipped
    paths = ["/." if not path else f"/{path}" for path in package.listed if path not in gone]
    root.replace(f"{start}.list", "".join(f"{path}\n" for path in paths).encode("utf-8", "surrogateescape"))
    for name, member in package.deb.members.items():
        if name != "control":
            content = _without(member.content, gone) if name == "md5sums" else member.content
            root.replace(f"{start}.{name}", content, mode=member.mode & 0o755)
    if "md5sums" not in package.deb.members:
        skip = gone | frozenset(conffiles(package.deb))
        sums = "".join(f"{digest}  {path}\n" for path, digest in package.md5.items() if path not in skip)
        root.replace(f"{start}.md5sums", sums.encode("utf-8", "surrogateescape"))


def _without(md5sums: bytes, gone: Collection[str]) -> bytes:
    names = {path.encode("utf-8", "surrogateescape") for path in gone}
    return b"".join(line for line in md5sums.splitlines(keepends=True) if line[34:].rstrip(b"\n") not in names)


def _triggers(package: Indexed) -> list[tuple[str, bool]]:
    """(trigger, whether others wait for it) this package is interested in (deb-triggers(5))."""
    member = package.deb.members.get("triggers")
    found = []
    for line in (member.content if member else b"").decode("utf-8", "replace").splitlines():
        words = line.partition("#")[0].split()
        if (
            len(words) == 2
            and words[0].startswith("interest")
            and re.fullmatch(r"/?[A-Za-z0-9][\w./+-]*", words[1])
        ):
            found.append((words[1], words[0] != "interest-noawait"))
    return found

"""Two images of the same Dockerfile: their configs, every path of their trees, what dpkg and pip know."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LEFT = re.compile(
    r"var/(log|cache|tmp)/.* | var/lib/apt/lists.* | tmp/.* | run.* | (.*/)?__pycache__(/.*)? | .*\.pyc"
    r"| (root|home/[^/]+)/\.cache(/.*)? | etc/(passwd|group|shadow|gshadow|subuid|subgid)- | etc/\.pwd\.lock"
    r"| etc/ld\.so\.cache | .*\.dist-info/(RECORD|INSTALLER|REQUESTED) | etc/(hosts|resolv\.conf|hostname)"
    r"| (proc|sys|dev)(/.*)? | etc/mtab | \.dockerenv"
    r"| var/lib/dpkg/(status|available|lock.*|triggers/.*|status-old|diversions.*|info/.*) "
    r"| (.*/)?conda-meta/([^/]+\.json|history) | opt/conda/(.*/)?CACHEDIR\.TAG"
    r"| var/lib/apt/extended_states.* | var/lib/systemd.* | (etc|var/lib/dbus)/machine-id",
    re.VERBOSE,
)
"""Paths that may differ: logs, caches, backups, byte-compiled files, who installed it, the random number that a
script of dbus makes. What dpkg knows is compared by its own reading of it; the rest belongs to the engine."""
CONFIG = (
    "Cmd", "Entrypoint", "Env", "ExposedPorts", "Healthcheck", "Labels", "OnBuild", "Shell", "StopSignal", "User",
    "Volumes", "WorkingDir",
)  # fmt: skip
Row = tuple[Any, ...]
Files = dict[str, Row]


@dataclass(frozen=True)
class Contents:
    config: Mapping[str, Any]
    files: Files
    """Path → kind, mode, user, group, link's target, sha256 of the content."""
    texts: Mapping[str, bytes]
    """Of small files that are read as more than bytes."""

    def installed(self) -> tuple[list[str], list[str]]:
        """(Python distributions, packages of dpkg), each with its version."""
        python = sorted(path for path in self.files if path.endswith(".dist-info/METADATA"))
        status = self.texts.get("var/lib/dpkg/status", b"").decode()
        stanzas = [dict(re.findall(r"^(Package|Version|Status): (.+)$", one, re.M)) for one in status.split("\n\n")]
        return python, sorted(
            f"{one['Package']} {one['Version']} {one['Status']}" for one in stanzas if one.get("Package")
        )


def read_layout(layout: Path, digest: str) -> Contents:
    """An image of an OCI layout."""

    def blob(one: str) -> Path:
        return layout / "blobs" / "sha256" / one.removeprefix("sha256:")

    manifest = json.loads(blob(digest).read_bytes())
    config = json.loads(blob(manifest["config"]["digest"]).read_bytes())["config"]
    return _contents(config, [blob(layer["digest"]) for layer in manifest["layers"]])


def read_saved(folder: Path) -> Contents:
    """What ``docker save`` wrote, unpacked."""
    (found,) = json.loads((folder / "manifest.json").read_text())
    config = json.loads((folder / found["Config"]).read_text())["config"]
    return _contents(config, [folder / name for name in found["Layers"]])


def _contents(config: Mapping[str, Any], layers: list[Path]) -> Contents:
    files: Files = {}
    texts: dict[str, bytes] = {}
    for layer in layers:
        with tarfile.open(layer) as archive:
            _apply(archive, files, texts)
    return Contents(config, files, texts)


def _apply(archive: tarfile.TarFile, files: Files, texts: dict[str, bytes]) -> None:
    for member in archive:
        path = member.name.strip("/").removeprefix("./")
        above, _, name = path.rpartition("/")
        if name.startswith(".wh."):
            hidden = above if name == ".wh..wh..opq" else f"{above}/{name[4:]}".lstrip("/")
            itself = name != ".wh..wh..opq"
            for one in [p for p in files if p.startswith(f"{hidden}/") or (itself and p == hidden)]:
                del files[one]
            continue
        if path in ("", "."):
            continue
        if not member.isdir() and path in files and files[path][0] == tarfile.DIRTYPE:
            for one in [p for p in files if p.startswith(f"{path}/")]:  # what was below goes with the folder
                del files[one]
        if member.islnk():
            files[path] = files[member.linkname.strip("/").removeprefix("./")]
            continue
        content = ""
        if member.isreg():
            data = archive.extractfile(member)
            assert data is not None
            whole = data.read()
            content = hashlib.sha256(whole).hexdigest()
            if path.startswith(("etc/", "var/lib/dpkg/status")) or "/bin/" in f"/{path}":
                texts[path] = whole
        files[path] = (member.type, member.mode & 0o7777, member.uid, member.gid, member.linkname, content)


def differing(ours: Contents, theirs: Contents) -> dict[str, tuple[Any, Any]]:
    """Paths that are not the same on both sides, apart from what may differ."""
    found = {}
    for path in sorted({*ours.files, *theirs.files}):
        one, other = ours.files.get(path), theirs.files.get(path)
        if one == other or LEFT.fullmatch(path):
            continue
        if path in ("etc/shadow", "etc/gshadow") and _undated(ours, path) == _undated(theirs, path):
            continue  # the day of the build
        scripts = [side.texts.get(path, b"")[:2] == b"#!" for side in (ours, theirs)]
        if one and other and "/bin/" in f"/{path}" and one[:5] == other[:5] and all(scripts):
            continue  # launchers: they are called
        found[path] = one, other
    return found


def config_differences(ours: Contents, theirs: Contents) -> Iterator[tuple[str, Any, Any]]:
    for key in CONFIG:
        one, other = (side.config.get(key) or None for side in (ours, theirs))
        if key == "Labels":  # buildah signs
            other = {name: value for name, value in (other or {}).items() if name != "io.buildah.version"} or None
        if key == "Env":
            one, other = sorted(one or ()), sorted(other or ())
        if one != other:
            yield key, one, other


def _undated(side: Contents, path: str) -> list[str]:
    text = side.texts.get(path, b"").decode()
    return [re.sub(r"^([^:]*:[^:]*):[0-9]*:", r"\1::", line) for line in text.splitlines()]
